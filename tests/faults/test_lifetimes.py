"""How long worker processes live: replaced when they go or have worked enough, gone when a burst is over."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection, transaction
from django.utils import timezone
from redis import Redis
from rq import Worker
from rq.command import send_shutdown_command
from rq.suspension import resume, suspend

from handlers import fleet, job_scheduler
from handlers.models import JobRecord, WorkerProcess
from handlers.models.sql import is_postgresql
from tests.app.jobs import Crash, Impatient, Note, Patient, Sleep
from tests.app.lifetimes import Grow, Link, Spread
from tests.app.many import Hold, Stay
from tests.faults.conftest import Start
from tests.faults.outages import say
from tests.faults.records import Notes, moves, record, states, wait_state
from tests.processes import Managed, wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]


def listed(redis: Redis, count: int) -> list[Any]:
    """RQ's own list, once so many workers are in it, idle or not."""

    def found() -> list[Any]:
        return Worker.all(connection=redis)

    wait_for(f"{count} are up", lambda: len(found()) == count)
    return found()


def pids(notes: Notes, prefix: str) -> list[str]:
    """Where the jobs that wrote these notes ran."""
    return [line.split()[-1] for line in notes.starting(prefix)]


# --- replaced


@pytest.mark.once
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_process_that_is_stopped_by_a_signal_ends_gracefully_and_is_replaced(
    start_worker: Start, notes: Notes, redis: Redis, number: int
) -> None:
    worker = start_worker("--processes", "1")
    listed(redis, 1)
    job = int(job_scheduler.enqueue(Patient("it")))
    notes.wait("start it")
    (first,) = worker.children()
    first.send_signal(number)
    notes.wait("cancelled it stopping")
    notes.wait("start it", times=2)
    (second,) = worker.children()
    assert second != first
    assert (record(job).failures, record(job).crashes) == (0, 0)
    assert moves(job) == ["processing", "enqueued", "processing"]
    assert "ERROR" not in worker.log.read_text()
    assert worker.terminate() == 0, "but a signal to the supervisor is for all, and nobody is replaced"
    assert worker.log.read_text().count("started, PID") == 2


@pytest.mark.once
def test_rqs_shutdown_command_is_for_good(start_worker: Start, redis: Redis) -> None:
    worker = start_worker("--processes", "2")
    wait_for("both hear commands", lambda: worker.log.read_text().count("Listening on") == 2)
    one, other = listed(redis, 2)
    send_shutdown_command(redis, one.name)
    wait_for("one has left", lambda: len(worker.children()) == 1)
    send_shutdown_command(redis, other.name)
    assert worker.ended() == 0
    assert worker.log.read_text().count("started, PID") == 2


@pytest.mark.once
def test_max_jobs_replaces_a_process_between_two_jobs(start_worker: Start, notes: Notes, redis: Redis) -> None:
    jobs = job_scheduler.enqueue_many([Sleep(0, f"job {n}") for n in range(11)])
    last = job_scheduler.enqueue(Sleep(0.3, "last"))
    worker = start_worker("--processes", "1", "--max-jobs", "4")
    wait_state("succeeded", *jobs, last)
    ran = pids(notes, "start")
    assert len({*ran[:4]}) == len({*ran[4:8]}) == len({*ran[8:]}) == 1
    assert len(set(ran)) == 3
    assert {(*moves(job)[-2:], record(job).attempt) for job in [*jobs, last]} == {("processing", "succeeded", 1)}
    wait_for("the console shows who is there now", lambda: [row.pid for row in fleet.live_processes()] == [
        child.pid for child in worker.children() if str(child.pid) not in ran
    ])  # fmt: skip
    assert "ERROR" not in worker.log.read_text()
    assert worker.terminate() == 0
    assert not WorkerProcess.objects.exists()


@pytest.mark.once
@pytest.mark.usefixtures("quick")
def test_max_memory_replaces_a_process_once_its_job_has_ended(start_worker: Start, notes: Notes) -> None:
    jobs = job_scheduler.enqueue_many([Sleep(0, "before"), Sleep(0, "again"), Grow(300), Sleep(0, "after")])
    start_worker("--processes", "1", "--max-memory", "300")
    wait_state("succeeded", *jobs)
    before, again, grown, after = pids(notes, "start")
    assert before == again == grown != after
    assert "end grow" in notes.lines()


@pytest.mark.once
@pytest.mark.parametrize("option", ["--processes", "--max-jobs", "--max-memory"])
def test_worker_refuses_a_limit_of_nothing(option: str) -> None:
    with pytest.raises(CommandError, match=f"^{option}: must be 1 or more, not 0$"):
        call_command("worker", option, "0")


@pytest.mark.once
@pytest.mark.parametrize(("option", "most"), [("--threads", "1,000"), ("--max-async", "10,000")])
@pytest.mark.parametrize("number", ["0", "-1", "10001"])
def test_worker_refuses_an_absurd_number_at_once(option: str, most: str, number: str) -> None:
    with pytest.raises(CommandError, match=f"^{option}: must be from 1 to {most}, not {number}$"):
        call_command("worker", f"{option}={number}")


@pytest.mark.once
def test_worker_of_more_processes_than_any_machine_has_is_refused_before_it_forks_them() -> None:
    with pytest.raises(CommandError, match=r"^--processes: must be from 1 to 1,000, not 1001$"):
        call_command("worker", "--processes=1001")


# --- a burst


def ended(worker: Managed) -> None:
    """The burst is over, by itself and as it should be."""
    assert worker.ended() == 0
    assert not WorkerProcess.objects.exists()


@pytest.mark.once
def test_burst_runs_what_is_there_and_what_that_brings_then_ends(way: str, start_worker: Start, notes: Notes) -> None:
    jobs = job_scheduler.enqueue_many(
        [Spread(4, processes=2), *(Note(str(n)) for n in range(50)), Impatient("it"), Crash()]
    )
    spreading, impatient, crash = jobs[0], jobs[-2], jobs[-1]
    due, later = job_scheduler.enqueue_many([Note("due"), Note("later")])
    for job, hours in ((due, -1), (later, 1)):
        JobRecord.objects.filter(pk=job).update(state="scheduled", run_at=timezone.now() + timedelta(hours=hours))
    ended(start_worker("--processes", "2", "--burst"))
    assert states([impatient, crash]) == {"failed"}
    assert record(int(crash)).crashes == 3
    assert states([later]) == {"scheduled"}
    assert states([spreading]) == {"succeeded"}, "nobody ended while another was about to bring more"
    assert states(JobRecord.objects.exclude(pk__in=[impatient, crash, later]).values_list("pk", flat=True)) == {
        "succeeded"
    }
    assert record(int(spreading)).attempt == 1 or way in {"threads", "async"}, "but beside the one that crashed"
    assert "due" in notes.lines()
    assert len(notes.starting("end spread")) == 4


@pytest.mark.once
def test_nobody_ends_a_burst_while_another_is_between_two_jobs(start_worker: Start, notes: Notes) -> None:
    job_scheduler.enqueue(Link(300))
    worker = start_worker("--processes", "2", "--burst")
    notes.wait("start last")
    assert len(worker.children()) == 2
    notes.let_go()
    ended(worker)


@pytest.mark.parametrize("busy", [True, False], ids=["busy", "idle"])
def test_while_workers_are_suspended_nothing_is_started_and_rq_knows_them_still(
    start_worker: Start, notes: Notes, redis: Redis, busy: bool
) -> None:
    start_worker("--processes", "1")
    [worker] = listed(redis, 1)
    if busy:  # beside a job in its main thread others are started by the thread that looks after it
        job_scheduler.enqueue(Hold("it"))
        notes.wait("start it")
    suspend(redis)
    if busy:
        looks(redis, 1)
    else:
        wait_for("it says so", lambda: redis.hget(worker.key, "state") == b"suspended")
    job = int(job_scheduler.enqueue(Stay("beside")))
    before = redis.hget(worker.key, "last_heartbeat")
    looks(redis, 4)
    assert states([job]) == {"enqueued"}
    wait_for("a heartbeat", lambda: redis.hget(worker.key, "last_heartbeat") != before)
    resume(redis)
    notes.wait("start beside")
    assert redis.hget(worker.key, "state") != b"suspended"
    notes.let_go()
    wait_state("succeeded", job)


def looks(redis: Redis, count: int) -> None:
    """Wait until workers have looked so many times whether they are suspended: nothing else asks so, then."""

    def asked() -> int:
        return int(redis.info("commandstats").get("cmdstat_exists", {"calls": 0})["calls"])

    before = asked()
    wait_for("they looked", lambda: asked() >= before + count)


def test_burst_ends_at_once_and_leaves_what_may_not_run(start_worker: Start, notes: Notes, redis: Redis) -> None:
    job = job_scheduler.enqueue(Note("paused"))
    job_scheduler.pause_queue("default")
    ended(start_worker("--burst", "--processes", "2", "--max-jobs", "1"))
    job_scheduler.resume_queue("default")
    redis.set("rq:suspended", "1")
    suspended = start_worker("--burst", "--processes", "1")
    ended(suspended)
    assert "suspended" in suspended.log.read_text()
    redis.delete("rq:suspended")
    assert (states([job]), notes.lines()) == ({"enqueued"}, [])
    ended(start_worker("--burst", "--queues", "default"))
    assert notes.lines() == ["paused"]


@contextmanager
def nobody_else_can_write() -> Iterator[None]:
    with transaction.atomic():  # on SQLite that is the lock to write
        if is_postgresql(connection):
            say(f"LOCK TABLE {JobRecord._meta.db_table} IN EXCLUSIVE MODE")
        yield


def test_burst_waits_for_a_database_that_takes_nothing_and_may_be_stopped_meanwhile(start_worker: Start) -> None:
    due = int(job_scheduler.schedule(Note("due"), timezone.now() + timedelta(hours=1)))
    JobRecord.objects.filter(pk=due).update(run_at=timezone.now() - timedelta(hours=1))
    with nobody_else_can_write():
        leaving, staying = start_worker("--burst"), start_worker("--burst")
        for worker in (leaving, staying):
            wait_for("it tries again", partial(says, worker, "cannot promote what is due, trying again"))
        assert leaving.terminate() == 0
    ended(staying)
    assert states([due]) == {"succeeded"}


def says(worker: Managed, text: str) -> bool:
    return text in worker.log.read_text()
