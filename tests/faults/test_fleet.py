"""What real workers and schedulers say about themselves, and paused job types."""

from __future__ import annotations

import pytest

from handlers import fleet, job_scheduler
from handlers.models import WorkerProcess
from tests.app.coroutines import Wait
from tests.app.jobs import Greet, Note, Sleep
from tests.faults.conftest import Start
from tests.faults.records import Notes, states, wait_state
from tests.processes import wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis, pytest.mark.once]


def test_worker_shows_its_job_and_leaves_when_it_is_asked_to_finish(start_worker: Start, notes: Notes) -> None:
    job_id = job_scheduler.enqueue(Sleep(8, "long"))
    worker = start_worker("--processes", "1")
    wait_for("the row names the job", lambda: WorkerProcess.objects.filter(job_id=int(job_id)).exists())
    row = WorkerProcess.objects.get()
    assert (row.kind, row.name in {process.name for process in fleet.live_workers()}) == ("worker", True)
    assert fleet.unservable_types() == []
    assert job_scheduler.stop_worker(row.name, by="ann") is True
    assert job_scheduler.stop_worker(row.name, by="ann") is False
    wait_state("succeeded", int(job_id))  # it finished, it was not cut short
    wait_for("the row is gone", lambda: not WorkerProcess.objects.exists())
    assert worker.ended() == 0


def test_worker_shows_all_that_runs_and_its_slots(start_worker: Start) -> None:
    ids = [
        *job_scheduler.enqueue_many([Wait(30) for _ in range(22)]),
        *job_scheduler.enqueue_many([Sleep(30) for _ in range(2)]),
    ]
    start_worker("--processes", "1", "--threads", "3", "--max-async", "30")
    wait_state("processing", *ids)
    wait_for("the row counts all", lambda: WorkerProcess.objects.filter(running_async=22, running_sync=2).exists())
    row = WorkerProcess.objects.get()
    assert (row.max_async, row.threads, fleet.running(row)) == (30, 3, 24)
    named = fleet.runs(row)
    assert len(named) == fleet.NAMED_RUNS
    assert {run.job_id for run in named} <= set(ids)
    assert (row.job_id, row.job_since) == named[0], "for a console of the release before"
    assert sorted(named, key=lambda run: run.since or row.started_at) == named


def test_paused_type_waits_and_runs_once_it_is_resumed(
    start_worker: Start, start_scheduler: Start, notes: Notes
) -> None:
    job_scheduler.pause_type("app.Note", by="ann", reason="why")
    paused = [int(job_scheduler.enqueue(Note(str(n)))) for n in range(3)]
    other = int(job_scheduler.enqueue(Greet("Ann")))
    start_worker()
    start_scheduler()
    wait_state("succeeded", other)
    wait_for("the scheduler's row is there", lambda: [row for row in fleet.live_processes() if row.kind == "scheduler"])
    assert states(paused) == {"enqueued"}
    job_scheduler.resume_type("app.Note", by="ann")
    wait_state("succeeded", *paused)
