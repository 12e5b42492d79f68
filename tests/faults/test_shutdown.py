"""Workers that are told to stop: what runs is finished or handed back, never failed, and no process stays."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable

import psutil
import pytest
from django.db import transaction
from redis import Redis
from rq import Worker

from handlers import job_scheduler
from handlers.models import JobRecord, WorkerProcess
from handlers.rq_transport.names import queue_key
from tests.app.jobs import Note, Patient, Sleep
from tests.app.many import Hold
from tests.faults.conftest import Start
from tests.faults.records import Notes, moves, record
from tests.processes import Managed, lives, unhurried, wait_for

GRACE = 60.0  # seconds; so long that a stop which waits for it is told from one that does not, on any machine
PROMPT = 5.0

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]


@pytest.fixture(autouse=True)
def grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_JOBS", json.dumps({"SHUTDOWN_GRACE_SECONDS": GRACE}))


def listed(redis: Redis, count: int) -> Callable[[], bool]:
    return lambda: len(Worker.all(connection=redis)) == count


def gone(processes: list[psutil.Process]) -> bool:
    return not any(map(lives, processes))


def stop(worker: Managed, send: Callable[[], None]) -> float:
    """Have ``send`` stop the worker; how long it took. Nothing of it may be left."""
    children = worker.children()
    assert children
    began = time.monotonic()
    send()
    assert worker.ended() == 0
    took = time.monotonic() - began
    assert gone(children)
    return took


def assert_handed_back(job: int, redis: Redis) -> None:
    row = record(job)
    assert (row.state, row.failures, row.crashes) == ("enqueued", 0, 0)
    assert moves(job) == ["processing", "enqueued"]
    assert redis.llen(queue_key("default")) == 1


def test_an_idle_worker_stops_without_waiting_for_the_grace(start_worker: Start, redis: Redis) -> None:
    worker = start_worker("--processes", "2")
    wait_for("both are up", listed(redis, 2))
    assert stop(worker, worker.process.terminate) < unhurried(PROMPT, below=GRACE)


@pytest.mark.usefixtures("way")
def test_a_cooperative_job_is_handed_back_and_runs_elsewhere(start_worker: Start, notes: Notes, redis: Redis) -> None:
    job = int(job_scheduler.enqueue(Patient("it", 10)))
    worker = start_worker()
    notes.wait("start it")
    assert stop(worker, worker.process.terminate) < unhurried(PROMPT, below=GRACE)
    assert "cancelled it stopping" in notes.lines()
    assert_handed_back(job, redis)
    start_worker()
    notes.wait("start it", times=2)


@pytest.mark.usefixtures("batch")
def test_a_quick_job_is_finished_and_those_behind_it_stay(start_worker: Start, notes: Notes, redis: Redis) -> None:
    job, behind = map(int, job_scheduler.enqueue_many([Hold("it", swallow=True), Note("behind")]))
    worker = start_worker("--processes", "1")
    notes.wait("start it")

    def terminate() -> None:
        worker.process.terminate()
        notes.wait("cancelled it stopping")
        notes.let_go("it")

    assert stop(worker, terminate) < unhurried(4, below=GRACE)
    assert record(job).state == "succeeded"
    row = record(behind)
    assert (row.state, row.attempt, row.failures) == ("enqueued", 0, 0)
    assert redis.llen(queue_key("default")) == 1


@pytest.mark.once  # it waits for the grace; a job is handed back on both above
def test_an_uncooperative_job_is_handed_back_after_the_grace(
    start_worker: Start, notes: Notes, redis: Redis, child_env: dict[str, str]
) -> None:
    del child_env["TEST_JOBS"]
    job = int(job_scheduler.enqueue(Sleep(30, "it")))
    worker = start_worker()
    notes.wait("start it")
    assert 9.5 < stop(worker, worker.process.terminate) < 10 + unhurried(3)
    assert_handed_back(job, redis)
    assert not WorkerProcess.objects.exists(), "none is taken for lost"


@pytest.mark.once
@pytest.mark.usefixtures("way")
def test_a_second_signal_ends_the_patience(start_worker: Start, notes: Notes, redis: Redis) -> None:
    job = int(job_scheduler.enqueue(Sleep(30, "it")))
    worker = start_worker("--processes", "2")
    (started,) = notes.wait("start it")
    wait_for("both are up", listed(redis, 2))
    (idle,) = [child for child in worker.children() if str(child.pid) != started.split()[-1]]

    def twice() -> None:
        worker.process.terminate()
        wait_for("the idle one has stopped", lambda: not lives(idle))  # so the first signal was heard: two can be one
        worker.process.terminate()

    assert stop(worker, twice) < unhurried(5, below=GRACE)
    assert_handed_back(job, redis)


@pytest.mark.once
@pytest.mark.usefixtures("way")
def test_ctrl_c_reaches_the_whole_group(start_worker: Start, notes: Notes, redis: Redis) -> None:
    job = int(job_scheduler.enqueue(Patient("it")))
    worker = start_worker()
    notes.wait("start it")
    assert stop(worker, lambda: os.killpg(worker.pid, signal.SIGINT)) < unhurried(3, below=GRACE)
    assert_handed_back(job, redis)


@pytest.mark.once
@pytest.mark.usefixtures("way")
def test_children_leave_when_their_supervisor_is_killed(start_worker: Start, notes: Notes, redis: Redis) -> None:
    job = int(job_scheduler.enqueue(Patient("it")))
    worker = start_worker("--processes", "2")
    notes.wait("start it")
    wait_for("both are up", listed(redis, 2))
    children = worker.children()
    assert len(children) == 2
    worker.process.kill()
    worker.process.wait()
    wait_for("the children are gone", lambda: gone(children))
    assert_handed_back(job, redis)


def test_children_leave_when_their_supervisor_is_killed_at_once(start_worker: Start) -> None:
    worker = start_worker("--processes", "4")
    wait_for("the first has started", lambda: "started, PID" in worker.log.read_text())
    children = worker.children()
    os.kill(worker.pid, signal.SIGKILL)
    worker.process.wait()
    wait_for("the children are gone", lambda: gone(children))


def test_worker_stops_in_time_while_a_transaction_holds_the_row_of_a_lost_job(
    start_worker: Start, notes: Notes
) -> None:
    job = int(job_scheduler.enqueue(Sleep(60, "it")))
    worker = start_worker("--processes", "2")
    (started,) = notes.wait("start it")
    with transaction.atomic():
        # On PostgreSQL the row is locked, on SQLite the whole database.
        JobRecord.objects.select_for_update().get(pk=job)
        psutil.Process(int(started.split()[-1])).kill()
        wait_for("the supervisor cannot bring it back", lambda: "cannot bring back" in worker.log.read_text())
        assert stop(worker, worker.process.terminate) < unhurried(8, below=GRACE)
    assert record(job).state == "processing", "its lease runs out, and recovery brings it back"
