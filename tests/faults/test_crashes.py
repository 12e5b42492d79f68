"""Workers that die in the middle of jobs."""

from __future__ import annotations

import time

import psutil
import pytest

from handlers import job_scheduler
from handlers.models import AttemptError, JobRecord
from tests.app.jobs import Crash, Hoard, Leave, Note, Sleep
from tests.faults.conftest import Start
from tests.faults.records import Notes, broken_trails, moves, record, trail, wait_state
from tests.processes import unhurried, wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]


@pytest.mark.usefixtures("quick")
def test_a_job_that_kills_its_worker_fails_after_three_times_and_costs_no_other(
    way: str, start_worker: Start, notes: Notes
) -> None:
    quick = [Note(f"{n:02}") for n in range(40)]
    ids = [int(i) for i in job_scheduler.enqueue_many([*quick[:20], Crash(), *quick[20:]])]
    crash = ids.pop(20)
    worker = start_worker("--processes", "1")
    wait_state("failed", crash)
    wait_state("succeeded", *ids)
    row = record(crash)
    in_company = [why for *_, why in trail(crash) if why == "its worker was lost while it had several jobs in hand"]
    assert len(in_company) <= (way in {"threads", "async"}), "from then on it ran alone"
    runs = 3 + len(in_company)
    assert (row.crashes, row.failures, row.attempt) == (3, 0, runs)
    assert "worker lost" in row.error
    assert "worker lost" in trail(crash)[-1][2]
    assert AttemptError.objects.get(job=crash).exception == "handlers.WorkerLost"
    assert moves(crash) == ["processing", "enqueued"] * (runs - 1) + ["processing", "failed"]
    assert notes.lines().count("crash") == runs
    assert set(notes.lines()) == {"crash", *(job.text for job in quick)}
    assert set(JobRecord.objects.filter(pk__in=ids).values_list("crashes", "failures")) == {(0, 0)}
    assert broken_trails([crash, *ids]) == []
    line = f"handlers.jobs: job {crash} (app.Crash) failed for good with attempt {runs}: WorkerLost"
    wait_for("the supervisor says so", lambda: worker.log.read_text().count(line) == 1)
    wait_state("succeeded", job_scheduler.enqueue(Note("afterwards")))
    assert worker.process.poll() is None


def test_a_job_that_exits_with_success_is_a_crash_and_does_not_stop_the_worker(
    start_worker: Start, notes: Notes
) -> None:
    job = int(job_scheduler.enqueue(Leave()))
    worker = start_worker("--processes", "2")
    wait_state("failed", job)
    assert (record(job).crashes, notes.lines().count("leave")) == (3, 3)
    wait_state("succeeded", job_scheduler.enqueue(Note("afterwards")))
    wait_for("its process is replaced", lambda: len(worker.children()) == 2)


def test_a_job_that_leaves_no_memory_to_describe_its_error_ends_and_is_counted(
    start_worker: Start, start_scheduler: Start, notes: Notes
) -> None:
    start_scheduler()  # the process that ends may have taken what comes afterwards: recovery brings it back
    quick = [int(i) for i in job_scheduler.enqueue_many([Note(str(n)) for n in range(5)])]
    job = int(job_scheduler.enqueue(Hoard()))
    start_worker("--processes", "1")
    wait_state("failed", job)
    runs, crashes = notes.lines().count("hoard"), record(job).crashes
    assert crashes == runs - 1 or (runs, crashes) == (3, 3), "each run was a crash, or the one that could be described"
    assert record(job).attempt == runs
    wait_state("succeeded", *quick, job_scheduler.enqueue(Note("afterwards")))


@pytest.mark.usefixtures("way")
def test_the_job_of_a_child_that_died_runs_again_at_once_without_a_scheduler(
    start_worker: Start, notes: Notes, child_env: dict[str, str]
) -> None:
    child_env["TEST_JOBS"] = '{"LEASE_SECONDS": 120}'
    job = int(job_scheduler.enqueue(Sleep(25, "it")))
    start_worker("--processes", "1")
    (first,) = notes.wait("start it")
    psutil.Process(int(first.split()[-1])).kill()
    began = time.monotonic()
    _, second = notes.wait("start it", times=2)
    assert time.monotonic() - began < unhurried(3, below=119), "or the lease would have run out"
    assert first != second
    row = record(job)
    assert (row.state, row.attempt, row.crashes, row.failures) == ("processing", 2, 1, 0)


@pytest.mark.once  # it waits for a lease to run out; what recovery then says to the database is tested on both
def test_the_job_of_a_killed_worker_runs_again_within_20_seconds(
    start_worker: Start, start_scheduler: Start, notes: Notes
) -> None:
    job, waiting = map(int, job_scheduler.enqueue_many([Sleep(25, "it"), Note("behind it")]))
    worker = start_worker("--processes", "1")
    notes.wait("start it")
    worker.kill_all()
    killed_at = time.monotonic()
    start_worker("--processes", "1")
    start_scheduler()
    notes.wait("start it", times=2)
    assert time.monotonic() - killed_at < unhurried(20)
    row = record(job)
    assert (row.state, row.attempt, row.crashes, row.failures) == ("processing", 2, 1, 0)
    assert notes.lines().count("behind it") == 1
    assert record(waiting).crashes == 0
    assert broken_trails([job, waiting]) == []
