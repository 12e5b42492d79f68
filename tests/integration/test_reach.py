"""Selections that reach some jobs only: whatever is asked for, and however the jobs are found."""

from __future__ import annotations

from itertools import product

import pytest

from handlers.selection import WHOLE, Part, Reach, Selection
from handlers.states import State
from tests.console.factories import make_job

pytestmark = pytest.mark.django_db

MAIL, SHOP = "mail", "shop"
NOTE, COUNT = "app.Note", "app.Counter"


@pytest.fixture
def jobs() -> dict[tuple[str, str, str], int]:
    """The id of one job of each of two types, on each of two queues, in each of three states."""
    every = product((NOTE, COUNT), (MAIL, SHOP), (State.FAILED, State.SUCCEEDED, State.ENQUEUED))
    return {
        (kind, queue, state): make_job(
            state, job_type=kind, queue=queue, fingerprint="feed", correlation="order", tags=["red"], payload={"n": 7}
        ).pk
        for kind, queue, state in every
    }


REACHES = {
    "all": WHOLE,
    "queue": Reach.of([Part((), (MAIL,))]),
    "type": Reach.of([Part((NOTE,), ())]),
    "one": Reach.of([Part((NOTE,), (MAIL,))]),
    "two": Reach.of([Part((NOTE,), (MAIL,)), Part((COUNT,), (SHOP,))]),
    "crossing": Reach.of([Part((), (MAIL,)), Part((COUNT,), ())]),
    "other": Reach.of([Part((), ("elsewhere",))]),
    "none": Reach.of([]),
}
SEARCHES = (
    "", "state:failed", "state:failed,succeeded", f"type:{NOTE}", "queue:mail", f"type:{NOTE} queue:shop", "tag:red",
    "correlation:order", "args.n:7", "args:7", "error:refused", "refused", "group:feed", "since:1d", "type:app",
    f"group:feed type:{COUNT} refused", "state:succeeded queue:shop", "priority:0",
)  # fmt: skip


@pytest.mark.parametrize("reach", REACHES.values(), ids=REACHES)
def test_a_selection_has_no_job_beyond_its_reach(jobs: dict[tuple[str, str, str], int], reach: Reach) -> None:
    for text in SEARCHES:
        whole = Selection.parse(text)
        fitting = {row.pk for row in whole.rows()}
        wanted = {pk for (kind, queue, _state), pk in jobs.items() if pk in fitting and reach.covers(kind, queue)}
        kept = whole.kept_within(reach)
        again = Selection.from_json(kept.to_json())
        for selection in (kept, again, kept.kept_within(reach), kept.pinned()):
            assert {row.pk for row in selection.rows()} == wanted, text
            assert [row.pk for row in selection.page(50)] == sorted(wanted, reverse=True), text
            assert [row.pk for row in selection.page(50, after=0)] == sorted(wanted), text
            assert {row.pk for row in selection.look(50).rows} == wanted, text
        assert again == kept
        assert kept.is_within(reach), text
        assert wanted == fitting or not whole.is_within(reach), text


def test_pages_of_several_parts_go_on_where_they_ended(jobs: dict[tuple[str, str, str], int]) -> None:
    kept = Selection().kept_within(REACHES["two"])
    first = kept.page(2)
    rest = kept.page(50, before=first[-1].pk)
    assert [row.pk for row in [*first, *rest]] == [row.pk for row in kept.page(50)]


def test_what_is_beyond_reach_is_not_even_named() -> None:
    asked = Selection(types=(NOTE, COUNT), queues=(MAIL, SHOP))
    kept = asked.kept_within(REACHES["one"])
    assert (kept.types, kept.queues) == ((NOTE,), (MAIL,))
    nowhere = asked.kept_within(REACHES["other"])
    assert (nowhere.types, nowhere.queues) == ((), ())


def test_reaches_meet_and_join() -> None:
    queue, one, two = REACHES["queue"], REACHES["one"], REACHES["two"]
    assert queue & one == one
    assert two & queue == one
    assert WHOLE & two == two == two & WHOLE
    assert Reach.of([Part((NOTE,), (MAIL,)), Part((), (MAIL,))]) == queue
    assert Reach.of([Part((NOTE,), ()), Part()]) == WHOLE
    assert (one & REACHES["other"]).parts == ()
    assert queue.has_all_of_queue(MAIL)
    assert not one.has_all_of_queue(MAIL)
    assert REACHES["type"].has_all_of_type(NOTE)
    assert not one.has_all_of_type(NOTE)
