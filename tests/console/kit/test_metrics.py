"""What the console's numbers say, from counts alone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from dashboard.kit import metrics
from handlers.folding import COLUMNS, KEY, periods
from handlers.models import FailureGroup, JobCount
from handlers.models.count import Outcome

pytestmark = pytest.mark.django_db

MINUTE = timedelta(minutes=1)
NOON = datetime(2026, 3, 4, 12, 0, 30, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Noon and a half minute, so that no test depends on the hour it runs in."""
    monkeypatch.setattr(timezone, "now", lambda: NOON)


def count(age: timedelta, outcome: Outcome, number: int = 1, **fields: Any) -> None:
    """Counts as the fold writes them: of a queue and type, and the total; or of a failure group."""
    minute = (NOON - age).replace(second=0, microsecond=0)
    keys: Sequence[dict[str, Any]] = [{"queue": "default", "job_type": "app.Note"} | fields]
    if "fingerprint" not in fields:
        keys = [*keys, {k: v for k, v in fields.items() if k not in ("queue", "job_type")}]
    for period, at in periods(minute):
        for key in keys:
            JobCount.objects.update_or_create(
                period=period,
                at=at,
                outcome=outcome,
                **{name: key.get(name, "") for name in KEY if name in ("queue", "job_type", "fingerprint")},
                defaults={"count": number}
                | {name: key[name] for name in COLUMNS if name.startswith("b") and name in key},
            )


@pytest.mark.parametrize(("span", "points", "step"), [("1h", 60, 1), ("24h", 93, 15), ("7d", 84, 120)])
def test_throughput_is_evenly_spaced_and_filled_with_zeros(span: str, points: int, step: int) -> None:
    count(timedelta(), Outcome.SUCCEEDED, 3)
    count(timedelta(), Outcome.RETRIED, 2)
    found = metrics.throughput(span)
    assert len(found) == points
    assert {b.at - a.at for a, b in pairwise(found)} == {step * MINUTE}
    assert (found[-1].succeeded, found[-1].failed, found[-1].retried) == (3, 0, 2)
    assert sum(point.succeeded for point in found[:-1]) == 0
    assert found[-1].at <= NOON < found[-1].at + step * MINUTE


def test_throughput_adds_up_the_minutes_of_a_point() -> None:
    count(16 * MINUTE, Outcome.FAILED)
    count(17 * MINUTE, Outcome.FAILED, 4)
    assert metrics.throughput("24h")[-3].failed == 5


@pytest.mark.parametrize(
    ("span", "began"), [("1h", 59 * MINUTE), ("24h", timedelta(hours=23)), ("7d", timedelta(hours=167))]
)
def test_all_numbers_of_a_span_are_of_the_same_time(span: str, began: timedelta) -> None:
    """At its beginning, the minute before, and now."""
    for age in (began, began + MINUTE, timedelta()):
        count(age, Outcome.RETRIED, 1)
        count(age, Outcome.SUCCEEDED, 1, b10=1)
        count(age, Outcome.RETRIED, 1, queue="", fingerprint="abc", job_type="app.Note")
    points = metrics.throughput(span)
    group = metrics.group_counts(["abc"])["abc"]
    assert sum(point.retried for point in points) == 2
    assert {"1h": group.hour, "24h": group.day, "7d": group.week}[span] == 2
    assert metrics.percentiles(span).count == 2
    if span == "24h":
        assert (group.day_again, sum(group.sparkline)) == (2, 2)
        for types in (None, ["app.Note"], ["app.Note", "app.Other"]):  # each is read in its own way
            assert {name: stats.runs for name, stats in metrics.type_stats(types).items()} == {"app.Note": 4}


def test_percentiles_come_from_the_buckets() -> None:
    count(5 * MINUTE, Outcome.SUCCEEDED, 4, b10=4)
    for found in (metrics.percentiles("1h"), metrics.percentiles("7d", job_type="app.Note")):
        assert found.p50 == pytest.approx(1.5)
        assert found.count == 4
    assert metrics.percentiles("1h", outcome="started") == metrics.Percentiles(None, None, None, 0)


def test_queue_rates_tell_in_from_out() -> None:
    count(2 * MINUTE, Outcome.CREATED, 10)
    count(2 * MINUTE, Outcome.SUCCEEDED, 5)
    count(9 * MINUTE, Outcome.SUCCEEDED, 500)  # too long ago
    assert metrics.queue_rates() == {"default": (2.0, 1.0)}


def test_type_stats_count_every_failed_attempt() -> None:
    hour = timedelta(hours=1)
    count(hour, Outcome.SUCCEEDED, 6, b10=6)
    count(hour, Outcome.FAILED, 1)
    count(hour, Outcome.RETRIED, 2)
    (name, stats), *others = metrics.type_stats().items()
    assert not others
    assert (name, stats.runs, stats.failures) == ("app.Note", 9, 3)
    assert stats.p50 == pytest.approx(1.5)


def test_group_counts_by_hour_day_and_week() -> None:
    for age, number in ((10 * MINUTE, 1), (timedelta(hours=3), 2), (timedelta(days=3), 4), (timedelta(hours=167), 8)):
        count(
            age,
            Outcome.RETRIED if number == 2 else Outcome.FAILED,
            number,
            queue="",
            fingerprint="abc",
            job_type=f"app.Note{number}",
        )
    count(timedelta(days=7), Outcome.FAILED, 16, queue="", fingerprint="abc")
    found = metrics.group_counts(["abc", "none"])
    assert found["abc"][:4] == (1, 3, 2, 15)
    assert found["abc"].sparkline == [0] * 20 + [2, 0, 1, 0]
    assert found["abc"].types == ["app.Note8", "app.Note4", "app.Note2", "app.Note1"]
    assert found["none"] == metrics.GroupCounts(0, 0, 0, 0, [0] * 24, [])


def test_new_groups_are_those_first_seen_since() -> None:
    for name, age in (("old", 48), ("new", 2)):
        FailureGroup.objects.create(pk=name, first_at=NOON - timedelta(hours=age), last_at=NOON)
    assert [group.pk for group in metrics.new_groups(NOON - timedelta(days=1))] == ["new"]


def test_each_answer_takes_two_statements_at_most(django_assert_max_num_queries: DjangoAssertNumQueries) -> None:
    for ask in (
        lambda: metrics.throughput("24h"),
        lambda: metrics.percentiles("7d"),
        metrics.queue_rates,
        metrics.type_stats,
        lambda: metrics.group_counts(["a", "b"]),
        lambda: metrics.new_groups(NOON),
    ):
        with django_assert_max_num_queries(2):
            ask()
