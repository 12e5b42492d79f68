"""Which queue is next, how many jobs of it, and which of them go last. No database, no clock."""

from __future__ import annotations

import pytest
from django.conf import settings
from django.test import override_settings

from handlers.exceptions import InvalidJob
from handlers.lifecycle import Claim
from handlers.rq_transport.shares import MOST_SECONDS, Shares, read_queues
from handlers.rq_transport.sizes import Sizes
from handlers.rq_transport.slow_types import SlowTypes


def served(shares: Shares, cost: dict[str, float], seconds: float) -> dict[str, float]:
    """How long each queue that always has jobs is served, of so many seconds."""
    had = dict.fromkeys(cost, 0.0)
    while sum(had.values()) < seconds:
        queue = next(name for name in shares.queues if name in cost)
        shares.charge(queue, cost[queue])
        had[queue] += cost[queue]
    return had


def test_queues_share_the_time_however_long_their_jobs_are() -> None:
    had = served(Shares(["a", "b", "c"], weights={}), {"a": 0.5, "b": 0.02, "c": 0.1}, 60)
    assert had == pytest.approx(dict.fromkeys("abc", 20), abs=0.6)


def test_weights_share_the_time_in_their_proportion_however_long_jobs_are() -> None:
    had = served(Shares(["a", "b", "c"], weights={"a": 3, "c": 2}), {"a": 0.02, "b": 0.1, "c": 0.3}, 120)
    assert had == pytest.approx({"a": 60, "b": 20, "c": 40}, abs=2)


def test_queues_are_read_with_their_weights() -> None:
    assert read_queues("critical*3, default , ,mail * 12") == (
        ["critical", "default", "mail"],
        {"critical": 3, "mail": 12},
    )
    assert read_queues("b,a") == (["b", "a"], None)
    assert read_queues("") == ([], None)


@pytest.mark.parametrize("text", ["a*0", "a*", "a*-1", "a*x", "a*1.5", "a*101", "a*3*2", "a*\u0663"])
def test_a_weight_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidJob, match=r"queues: 'a\*.*': a weight is a whole number from 1 to 100, as in a\*3"):
        read_queues(f"b,{text}")


def test_queues_alike_are_served_in_turn() -> None:
    shares, order = Shares(["a", "b", "c"], weights={}), []
    for _ in range(6):
        order.append(shares.queues[0])
        shares.charge(order[-1], 0.02)
    assert order == ["a", "b", "c", "a", "b", "c"]


def test_queue_of_very_long_jobs_stands_back_for_a_moment_only() -> None:
    shares = Shares(["reports", "mail"], weights={})
    shares.charge("reports", 3600)
    assert served(shares, {"mail": 0.02, "reports": 3600}, 10)["mail"] == pytest.approx(MOST_SECONDS, abs=0.03)


def test_queue_without_jobs_saves_no_time_up() -> None:
    shares = Shares(["busy", "rare"], weights={})
    for _ in range(1_000):
        shares.charge("busy", 0.5)
    assert served(shares, {"busy": 0.5, "rare": 0.5}, 10) == {"busy": 5.0, "rare": 5.0}


def test_queues_in_order_keep_it() -> None:
    shares = Shares(["b", "a"], weights=None)
    for _ in range(3):
        shares.charge("b", 5)
    assert shares.queues == ["b", "a"]


def test_size_is_each_queue_s_own() -> None:
    sizes = Sizes()
    for _ in range(9):
        sizes.learn("short", 0.00001)
    sizes.learn("long", 0.5)
    with override_settings(JOBS=settings.JOBS | {"BATCH": 256}):
        assert (sizes.of("short"), sizes.of("long"), sizes.of("new")) == (256, 1, 1)


def test_size_follows_jobs_that_become_slow_and_quick_again() -> None:
    sizes = Sizes()
    found = []
    for mean in (0.001, 0.001, 0.001, 0.002, 0.02, 0.001, 0.001):
        sizes.learn("q", mean)
        found.append(sizes.of("q"))
    assert found == [2, 4, 8, 12, 1, 2, 4]


def claims(*types: str) -> list[Claim]:
    return [Claim(n, "", name, "q", 1, 0, 0, b"null") for n, name in enumerate(types)]


def order(slow: SlowTypes, *types: str) -> str:
    return "".join(claim.job_type for claim in slow.last(claims(*types)))


@pytest.mark.usefixtures("usual_times")
def test_slow_types_go_last_and_the_others_keep_their_order() -> None:
    slow = SlowTypes()
    assert order(slow, *"sntbn") == "sntbn", "nothing is known yet"
    slow.ran("s", 0.5)
    slow.ran("b", 2.0)
    slow.ran("n", 0.001)
    slow.end(claims("s", "b", "n"))
    assert order(slow, *"sntbns") == "ntnsbs"


@pytest.mark.usefixtures("usual_times")
def test_type_that_ran_quickly_is_slow_no_more() -> None:
    slow = SlowTypes()
    slow.ran("s", 0.5)
    slow.end(claims("s"))
    slow.ran("s", 0.001)
    slow.end(claims("s"))
    assert order(slow, *"sn") == "sn"


@pytest.mark.usefixtures("usual_times")
def test_one_long_run_among_many_short_ones_makes_no_slow_type() -> None:
    slow = SlowTypes()
    for seconds in (0.001, 0.05, 0.001):
        slow.ran("n", seconds)
    slow.end(claims(*"nnn"))
    assert order(slow, *"nm") == "nm"
