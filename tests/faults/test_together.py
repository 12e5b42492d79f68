"""How much of many jobs is done together, and how soon what has ended is recorded, by a clock that the test turns."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from django.db import connections

from handlers import Job, execution, job_scheduler, lifecycle
from handlers.lifecycle import Move
from handlers.rq_transport import batch, outcomes
from handlers.rq_transport.batch import Batch, Keeper
from handlers.rq_transport.marks import Marks
from handlers.rq_transport.outcomes import Outcomes
from handlers.rq_transport.sizes import Sizes
from handlers.rq_transport.slots import Slots
from handlers.rq_transport.worker import BatchWorker
from tests.app.jobs import Nothing
from tests.app.many import Hold, Stay
from tests.faults.records import Notes
from tests.processes import PATIENCE_SECONDS, wait_for
from tests.running import claim, perform, states

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]

LONGEST_SECONDS = 0.05  # that what has ended waits to be recorded
MANY = 24


def many(*jobs: Job) -> list[int]:
    return [int(job_id) for job_id in job_scheduler.enqueue_many(jobs)]


class Settled:
    """How many outcomes were recorded together, and when."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, now: Callable[[], float] = time.monotonic) -> None:
        self.sizes: list[int] = []
        self.times: list[float] = []
        self.some = threading.Event()
        settle = execution.settle

        def note(moves: Sequence[Move], **options: Any) -> set[int]:
            self.sizes.append(len(moves))
            self.times.append(now())
            try:
                return settle(moves, **options)
            finally:
                self.some.set()
                if threading.current_thread() is not threading.main_thread():
                    connections.close_all()  # a keeper lives as long as its process

        monkeypatch.setattr(outcomes, "settle", note)


# --- together


@pytest.mark.parametrize(
    ("job", "marks"),
    [(Stay("it"), {"max_async": MANY}), (Hold("it"), {"threads": MANY}), (Nothing(), {})],
    ids=["async", "threads", "batched"],
)
def test_free_slots_are_filled_by_one_take_and_one_claim_and_their_outcomes_settled_together(
    job: Job, marks: dict[str, int], monkeypatch: pytest.MonkeyPatch, notes: Notes
) -> None:
    monkeypatch.setenv("TEST_NOTES", str(notes.path))
    monkeypatch.setattr(Sizes, "of", lambda self, queue: 256)  # as after some short jobs
    monkeypatch.setattr(Slots, "overdue", lambda self, seconds=0.0: [])  # however slow the machine: none goes back
    claimed: list[int] = []
    claim_now = lifecycle.claim

    def note_claim(messages: Any, **options: Any) -> Any:
        claimed.append(len(messages))
        return claim_now(messages, **options)

    ids, settled = many(*[job] * MANY), Settled(monkeypatch)
    worker = BatchWorker(["default"], name="host.1.together", marks=Marks(64, **marks), weights=None)
    worker.register_birth()
    taken, _ = worker.dequeue_job_and_maintain_ttl(None)
    assert sorted(each.job_id for each in taken) == ids, "all are taken at once"
    monkeypatch.setattr(lifecycle, "claim", note_claim)
    worker.execute_job(taken, None)
    if marks:
        notes.wait("start", times=MANY)
        assert settled.sizes == []
        notes.let_go()
    wait_for("all have ended", lambda: set(states(*ids)) == {"succeeded"})
    assert (claimed, settled.sizes) == ([MANY], [MANY])


# --- soon


class Clock:
    """Time that passes only while this test's thread or its keeper sleeps. Others have the usual one."""

    def __init__(self) -> None:
        self.now = 100.0
        self.of = [threading.current_thread()]

    def monotonic(self) -> float:
        return self.now if threading.current_thread() in self.of else time.monotonic()

    def sleep(self, seconds: float) -> None:
        if threading.current_thread() in self.of:
            self.now += seconds
        else:
            time.sleep(seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, usual_times: None) -> Clock:
    """What a process's keeper and what it looks after take for the time."""
    clock = Clock()
    monkeypatch.setattr(batch, "time", clock)
    monkeypatch.setattr(outcomes, "time", clock)
    return clock


def seconds_waited(settled: Settled, since: float, keeper: Keeper, **watched: Any) -> float:
    """How long what ended at ``since`` waits for its record, if the keeper alone is there to see to that."""
    keeper.start()
    keeper.watch(**watched)
    assert settled.some.wait(PATIENCE_SECONDS), "nobody records it"
    keeper.watch(None, beside=False)
    return settled.times[0] - since


@pytest.mark.parametrize("way", ["beside the main thread", "before a job that runs on"])
@pytest.mark.parametrize("second", [0.0, 0.01, 0.0199, 0.0249])
def test_nothing_that_has_ended_waits_more_than_50_ms_to_be_recorded(
    way: str, second: float, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled = Settled(monkeypatch, clock.monotonic)
    claims = claim(*many(Nothing(), Nothing(), Nothing()))
    moves = [move for each in claims if (move := perform(each))]
    held = Outcomes("host.1.soon", marks=Marks(8), keep_trying=lambda: False)
    keeper = Keeper(held, on_look=lambda: False, on_turn=lambda: None)
    clock.of.append(keeper)
    ended = clock.now
    if way == "beside the main thread":
        held.add_all(moves)
        clock.sleep(second)
        waited = seconds_waited(settled, ended, keeper, batch=None, beside=True)
    else:
        running = Batch(claims, held)
        running.take()
        running.finish(moves[0])
        running.take()
        clock.sleep(second)  # the second job, which ends before it is due
        running.finish(moves[1])
        running.take()  # and the third, which goes on and on
        assert settled.sizes == []
        waited = seconds_waited(settled, ended, keeper, batch=running, beside=False)
    assert waited <= LONGEST_SECONDS
    assert settled.sizes == [len(moves) if way == "beside the main thread" else 2]


def test_what_waits_is_recorded_by_the_main_thread_between_two_jobs_once_it_is_due(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled = Settled(monkeypatch, clock.monotonic)
    ids = many(*[Nothing()] * 6)
    claims = claim(*ids)
    running = Batch(claims, Outcomes("host.1.soon", marks=Marks(16), keep_trying=lambda: False))
    ended = clock.now + 0.01
    for claimed in claims:
        running.take()
        clock.sleep(0.01)
        running.finish(perform(claimed))
    assert settled.sizes == [4]
    assert settled.times[0] - ended <= LONGEST_SECONDS
