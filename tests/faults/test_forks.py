"""What a handler forks is not the worker: it dies of its signals, and leaves its parent's job alone."""

from __future__ import annotations

import json

import pytest

from handlers import job_scheduler
from tests.app.forking import AsyncFork, AsyncForkWaits, Fork
from tests.app.jobs import Note
from tests.faults.conftest import Start
from tests.faults.records import Notes, moves, record, wait_state

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]


@pytest.fixture(autouse=True)
def _one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """No job is handed back because the one before it in its batch took long."""
    monkeypatch.setenv("TEST_BATCH", "1")


# How it is started, and what became of it.
OUTCOMES = {
    **{f"terminated {method}": "-15" for method in ("fork", "spawn", "forkserver")},
    "pool fork": "1",
    "executor fork": "[1, 2]",
    "exited": "7",
    "returned": "0",
    "raised": "1",
    "thread": "[-15]",
    "grandchild": "15",
    "native": "[0, -15]",
    "preexec": "-15",
    "orm": "1, 1",  # one more job, for child and parent
}


@pytest.mark.usefixtures("quick")
def test_what_a_handler_forks_acts_neither_for_its_worker_nor_for_its_job(start_worker: Start, notes: Notes) -> None:
    jobs = job_scheduler.enqueue_many([*map(Fork, OUTCOMES), AsyncFork()])
    worker = start_worker("--processes", "1")
    wait_state("succeeded", *jobs)
    (child,) = worker.children()
    for how, outcome in (OUTCOMES | {"async": "7"}).items():
        assert f"{how}: {outcome}, in {child.pid}" in notes.lines()
    assert {(record(job).attempt, *moves(job)) for job in jobs} == {(1, "processing", "succeeded")}
    notes.wait("by a child")
    wait_state("succeeded", job_scheduler.enqueue(Note("afterwards")))
    assert worker.children() == [child], "the worker is still the same"
    copies = [left for left in child.children() if left.cmdline() == child.cmdline()]
    assert copies == [], "and no copy of it is left (a forkserver may be)"


@pytest.mark.parametrize(("chosen", "loop"), [("auto", "uvloop"), ("asyncio", "asyncio.unix_events")])
def test_a_child_of_a_coroutine_comes_no_further_than_to_where_it_waits(
    chosen: str, loop: str, child_env: dict[str, str], start_worker: Start, notes: Notes
) -> None:
    child_env["TEST_JOBS"] = json.dumps({"EVENT_LOOP": chosen})
    job = job_scheduler.enqueue(AsyncForkWaits())
    start_worker("--processes", "1")
    wait_state("succeeded", job)
    assert sorted(notes.lines()) == ["beside it", f"waits: 0, on {loop}"]


def test_what_a_handler_forks_under_a_stock_rqworker_leaves_its_job_alone(start: Start, notes: Notes) -> None:
    hows = ["terminated fork", "exited", "returned", "raised", "native"]
    jobs = job_scheduler.enqueue_many([*map(Fork, hows), AsyncFork()])
    stock = start("rqworker", "default", "--burst", "--serializer", "json")
    assert stock.ended() == 0
    wait_state("succeeded", *jobs)
    for how in hows:
        assert notes.starting(f"{how}: {OUTCOMES[how]}, in ")
    assert {(record(job).attempt, *moves(job)) for job in jobs} == {(1, "processing", "succeeded")}
