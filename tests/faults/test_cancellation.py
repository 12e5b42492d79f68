"""Runs that are asked to stop, and runs that cannot be asked."""

from __future__ import annotations

from datetime import timedelta

import pytest

from handlers import job_scheduler
from handlers.models import AttemptError
from tests.app.jobs import Busy, Impatient, Note, Patient, Sleep, Stubborn
from tests.app.many import Hold
from tests.faults.conftest import Start
from tests.faults.records import Notes, moves, record, trail, wait_state
from tests.processes import wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]


@pytest.mark.usefixtures("way")
def test_a_handler_that_answers_its_timeout_fails_and_keeps_its_process(start_worker: Start, notes: Notes) -> None:
    first, job, last = map(int, job_scheduler.enqueue_many([Sleep(0, "a"), Impatient("it"), Sleep(0, "z")]))
    start_worker("--processes", "1")
    wait_state("failed", job)
    wait_state("succeeded", first, last)
    assert "cancelled it timeout" in notes.lines()
    row = record(job)
    assert (row.failures, row.crashes, row.attempt) == (1, 0, 1)
    assert AttemptError.objects.get(job=job).exception.endswith("JobTimeout")
    before, after = notes.starting("start")
    assert before.split()[-1] == after.split()[-1]


@pytest.mark.once  # it waits until the process is killed
def test_a_handler_that_ignores_its_timeout_costs_one_process(start_worker: Start, notes: Notes) -> None:
    first, job, last = map(int, job_scheduler.enqueue_many([Sleep(0, "a"), Stubborn(), Sleep(0, "z")]))
    worker = start_worker("--processes", "1")
    wait_state("failed", job)
    wait_state("succeeded", first, last)
    row = record(job)
    assert (row.failures, row.crashes, row.attempt) == (1, 0, 1)
    assert AttemptError.objects.get(job=job).exception.endswith("JobTimeout")
    assert moves(job) == ["processing", "failed"]
    before, after = notes.starting("start")
    assert before.split()[-1] != after.split()[-1]
    line = f"handlers.jobs: job {job} (app.Stubborn) failed for good with attempt 1: JobTimeout"
    wait_for("the supervisor says so", lambda: line in worker.log.read_text())


@pytest.mark.once  # it waits for heartbeats
def test_a_busy_interpreter_does_not_lose_its_lease(start_worker: Start) -> None:
    job = int(job_scheduler.enqueue(Busy(60)))  # for ever, without letting another thread run
    start_worker("--processes", "1")
    wait_state("processing", job)

    def renewed_twice() -> bool:
        row = record(job)
        assert row.lease_expires_at is not None
        assert row.started_at is not None
        return row.lease_expires_at - row.started_at > timedelta(seconds=15 + 5)

    wait_for("the lease is renewed", renewed_twice)
    assert moves(job) == ["processing"]


@pytest.mark.usefixtures("way")
def test_deleting_a_running_job_tells_its_handler_and_stays(start_worker: Start, notes: Notes) -> None:
    job = int(job_scheduler.enqueue(Patient("it")))
    start_worker("--processes", "1")
    notes.wait("start it")
    assert job_scheduler.delete(job)
    notes.wait("cancelled it deleted")
    wait_state("succeeded", job_scheduler.enqueue(Note("next")))
    assert record(job).state == "deleted"
    assert moves(job) == ["processing", "deleted"]
    assert not AttemptError.objects.filter(job=job).exists()


@pytest.mark.usefixtures("way")
def test_the_outcome_of_a_deleted_run_overwrites_nothing(start_worker: Start, notes: Notes) -> None:
    job = int(job_scheduler.enqueue(Hold("it", swallow=True)))
    start_worker("--processes", "1")
    notes.wait("start it")
    assert job_scheduler.delete(job)
    notes.let_go("it")
    notes.wait("end it")
    wait_state("succeeded", job_scheduler.enqueue(Note("next")))
    assert trail(job)[-1][:2] == ("processing", "deleted")
    assert record(job).state == "deleted"
