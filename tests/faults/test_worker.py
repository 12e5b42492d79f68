"""The ordinary path: real workers, no scheduler, so no recovery that could hide a mistake."""

from __future__ import annotations

import os
import signal
import time
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone
from redis import Redis
from rq import Worker

from handlers import EnqueueJobCommand, ScheduleJobCommand, command_bus, job_scheduler
from handlers.models import AttemptError, JobHistory, JobPayload, JobRecord
from handlers.rq_transport.names import queue_key
from tests.app.jobs import AsyncNote, Greet, Hostile, Note, Sleep
from tests.app.many import Hold
from tests.faults.conftest import Start
from tests.faults.records import Notes, broken_trails, moves, record, states, trail, wait_state
from tests.processes import wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]
every_way = pytest.mark.usefixtures("way")


@every_way
def test_worker_runs_every_kind_of_handler_and_command(start_worker: Start, notes: Notes) -> None:
    ids = [
        job_scheduler.enqueue(Note("class")),
        job_scheduler.enqueue(AsyncNote("async")),
        job_scheduler.enqueue(Sleep(0, "function")),
        job_scheduler.enqueue(Greet("Ann")),
        job_scheduler.enqueue(EnqueueJobCommand(Note("by a job"))),
        int(command_bus.send(Greet("Bob"))),
        int(command_bus.send(EnqueueJobCommand(Note("sent")))),
    ]
    start_worker()
    wait_state("succeeded", *ids)
    notes.wait("by a job")
    wait_for("no job is left", lambda: states(JobRecord.objects.values_list("pk", flat=True)) == {"succeeded"})
    expected = ["async", "by a job", "class", "end function", "hello Ann", "hello Bob", "sent"]
    assert sorted(line for line in notes.lines() if not line.startswith("start")) == expected
    for job_id in ids:  # on a busy machine one may be handed back before it has begun
        assert moves(job_id)[-2:] == ["processing", "succeeded"], trail(job_id)
        assert record(job_id).attempt == 1, trail(job_id)
        assert record(job_id).attempt == 1


def test_scheduled_jobs_run_when_they_are_due_and_recovery_has_nothing_to_do(
    start_worker: Start, start_scheduler: Start, notes: Notes
) -> None:
    at = timezone.now() + timedelta(seconds=3)
    ids = [
        job_scheduler.schedule(Note("scheduled"), at),
        int(command_bus.send(ScheduleJobCommand(AsyncNote("by command"), at))),
    ]
    start_worker()
    scheduler = start_scheduler()
    wait_state("succeeded", *ids)
    for job_id in ids:
        assert moves(job_id) == ["enqueued", "processing", "succeeded"]
        claimed = JobHistory.objects.get(job=job_id, to_state="processing").at
        assert at <= claimed
    assert sorted(notes.lines()) == ["by command", "scheduled"]
    assert scheduler.terminate() == 0
    said = scheduler.log.read_text()
    assert "recovered" not in said
    assert "lost or never sent" not in said


@every_way
def test_worker_runs_a_batch_of_500_and_leaves_nothing_behind(start_worker: Start, notes: Notes, redis: Redis) -> None:
    ids = [int(job_id) for job_id in job_scheduler.enqueue_many([Note(f"{n:03}") for n in range(500)])]
    start_worker()
    wait_state("succeeded", *ids)
    assert sorted(notes.lines()) == [f"{n:03}" for n in range(500)]
    assert broken_trails(ids) == []
    assert set(JobRecord.objects.values_list("attempt", "failures", "crashes")) == {(1, 0, 0)}
    assert JobHistory.objects.filter(to_state="succeeded").count() == 500
    wait_for("the queue server is tidy", lambda: not redis.keys("rq:job:*") and not redis.llen(queue_key("default")))


def test_a_long_job_holds_neither_those_behind_it_nor_outcomes(way: str, start_worker: Start, notes: Notes) -> None:
    jobs = [Note(str(n)) for n in range(300)]
    ids = [int(i) for i in job_scheduler.enqueue_many([*jobs[:200], Hold("long"), *jobs[200:]])]
    long = ids.pop(200)
    start_worker("--processes", "2")
    wait_state("succeeded", *ids)
    assert record(long).state == "processing"
    assert len(notes.lines()) == 301
    assert set(JobRecord.objects.filter(pk__in=ids).values_list("attempt", flat=True)) == {1}
    back = JobHistory.objects.filter(reason="the job before it took long").exists()
    assert way == "batched" or not back, "none can be behind it (and see test_shares.py)"
    assert broken_trails(ids) == []
    notes.let_go()
    wait_state("succeeded", long)


@every_way
def test_worker_survives_hostile_outcomes(start_worker: Start, notes: Notes) -> None:
    fine = ["atomic", "manual", "closed"]
    bad = ["nan", "nul", "surrogate", "huge", "str", "exit", "base", "keyboard", "giveup", "later", "unasked"]
    job_scheduler.enqueue(Sleep(0, "before"))
    # Each stands alone, and among others that are recorded together with it.
    friends = job_scheduler.enqueue_many([Note(str(n)) for n in range(30)])
    ids = dict(zip(fine + bad, job_scheduler.enqueue_many([Hostile(how) for how in fine + bad]), strict=True))
    friends += job_scheduler.enqueue_many([Note(str(n)) for n in range(30)])
    last = job_scheduler.enqueue(Sleep(0, "after"))
    start_worker("--processes", "1")
    wait_state("succeeded", last, *friends, *(ids[how] for how in fine))
    wait_state("failed", *(ids[how] for how in bad))
    before, after = notes.starting("start")
    assert before.split()[-1] == after.split()[-1], "the process did not survive"
    for how in bad:
        row = record(ids[how])
        assert (row.attempt, row.failures, row.crashes) == (1, 1, 0), how
        (error,) = AttemptError.objects.filter(job=row.pk)
        assert "\0" not in error.message + error.traceback
        assert len(error.message) + len(error.traceback) < 300_000, how
        assert trail(row.pk)[-1][:2] == ("processing", "failed")
    assert record(ids["nul"]).error
    assert "SystemExit" in record(ids["exit"]).error
    assert broken_trails([*map(int, ids.values()), *map(int, friends)]) == []


@every_way
def test_poison_jobs_fail_or_wait_with_the_reason_and_others_run(start_worker: Start, notes: Notes) -> None:
    gone, unfit, fine = job_scheduler.enqueue_many([Note("gone"), Note("unfit"), Note("fine")])
    JobRecord.objects.filter(pk=gone).update(job_type="gone.Type")
    JobPayload.objects.filter(pk=unfit).update(data={"words": [1]})
    start_worker()
    wait_state("failed", unfit)
    wait_state("succeeded", fine)
    wait_for("it waits for another worker", lambda: trail(int(gone))[1:])
    assert record(int(gone)).state == "enqueued"
    assert trail(int(gone))[-1][2].startswith("its worker has no handler for it")
    assert trail(int(unfit))[-1][2].startswith("its arguments no longer fit its type: ")
    assert notes.lines() == ["fine"]


@every_way
@pytest.mark.usefixtures("quick")
def test_paused_queue_keeps_its_message_until_it_is_resumed(start_worker: Start, notes: Notes, redis: Redis) -> None:
    job_scheduler.pause_queue("default")
    waiting = job_scheduler.enqueue_many([Note("a"), Note("b")])
    start_worker()
    wait_state("succeeded", job_scheduler.enqueue(AsyncNote("other queue")))
    wait_for("every worker has learnt it", lambda: len(Worker.all(connection=redis)) == 2)
    wait_state("succeeded", *job_scheduler.enqueue_many([AsyncNote("more")] * 20))
    wait_for("both messages are on the queue", lambda: redis.llen(queue_key("default")) == 2)
    assert {record(int(i)).attempt for i in waiting} == {0}
    assert states(map(int, waiting)) == {"enqueued"}
    job_scheduler.resume_queue("default")
    wait_state("succeeded", *waiting)
    assert {"a", "b"} < set(notes.lines())
    assert [moves(int(i)) for i in waiting] == [["processing", "succeeded"]] * 2


def test_rq_tools_see_the_workers_while_they_run(start_worker: Start, redis: Redis) -> None:
    worker = start_worker("--queues", "mail,default", "--processes", "2")
    wait_for("both are listed", lambda: len(Worker.all(connection=redis)) == 2)
    found = Worker.all(connection=redis)
    assert [w.queue_names() for w in found] == [["mail", "default", "system"]] * 2
    assert {w.pid for w in found} == {child.pid for child in worker.children()}
    assert worker.terminate() == 0
    assert Worker.all(connection=redis) == []


def test_health_files_are_touched_while_processes_live(
    start_worker: Start, start_scheduler: Start, notes: Notes, tmp_path: Path
) -> None:
    paths = [tmp_path / "worker-health", tmp_path / "scheduler-health"]
    worker = start_worker("--health-file", str(paths[0]))
    scheduler = start_scheduler("--health-file", str(paths[1]))

    def is_touched(path: Path) -> bool:
        before = path.stat().st_mtime_ns
        return bool(wait_for("a touch", lambda: path.stat().st_mtime_ns != before))

    for path in paths:
        wait_for("it is ready", lambda path=path: path.exists() and path.read_text() == "ready\n")  # type: ignore[misc]
        assert is_touched(path)
    os.kill(worker.pid, signal.SIGSTOP)  # it lives no more
    wait_for("the file grows old", lambda: time.time() - paths[0].stat().st_mtime > 3)
    os.kill(worker.pid, signal.SIGCONT)
    assert is_touched(paths[0])
    assert (worker.terminate(), scheduler.terminate()) == (0, 0)
    assert not any(path.exists() for path in paths)
