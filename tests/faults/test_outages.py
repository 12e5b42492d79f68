"""The database or the queue server goes away and comes back, and no job is lost."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection, transaction
from django.utils import timezone
from redis import Redis
from rq import Worker

from handlers import job_scheduler
from handlers.models import JobRecord
from tests import servers
from tests.app.jobs import AsyncNote, Note, Sleep
from tests.app.many import Hold
from tests.faults.conftest import Start
from tests.faults.outages import away, guest_url
from tests.faults.records import Notes, broken_trails, record, states, trail, wait_state
from tests.processes import wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]

if connection.vendor == "postgresql":

    def test_killed_database_connections_heal(start_worker: Start, start_scheduler: Start, notes: Notes) -> None:
        scheduled = int(job_scheduler.schedule(Note("scheduled"), timezone.now() + timedelta(seconds=4)))
        start_worker("--processes", "2")
        start_scheduler()
        for round_number in range(3):
            running = int(job_scheduler.enqueue(Sleep(0.7, f"round {round_number}")))
            notes.wait(f"start round {round_number}")
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
                assert cursor.fetchone()[0] > 0
            wait_state("succeeded", running)
            assert record(running).attempt == 1
        wait_state("succeeded", scheduled, *job_scheduler.enqueue_many([Note(str(n)) for n in range(50)]))

else:

    def test_a_locked_database_is_waited_for(start_worker: Start, notes: Notes) -> None:
        running = int(job_scheduler.enqueue(Sleep(0.2, "it")))
        start_worker("--processes", "2")
        notes.wait("start it")
        with transaction.atomic():  # the write lock, from its beginning on
            notes.wait("end it")
            since = timezone.now()
            wait_for("some time has passed", lambda: timezone.now() - since > timedelta(seconds=1))
        wait_state("succeeded", running)
        assert record(running).attempt == 1
        wait_state("succeeded", job_scheduler.enqueue(Note("next")))


@pytest.mark.parametrize("until", [pytest.param("its supervisor", marks=pytest.mark.once), "recovery"])
def test_a_run_that_ended_while_the_database_was_away_is_counted_and_no_crash(
    start_worker: Start, start_scheduler: Start, notes: Notes, child_env: dict[str, str], until: str
) -> None:
    child_env["TEST_JOBS"] = '{"LEASE_SECONDS": 2, "SHUTDOWN_GRACE_SECONDS": 1}'
    job = int(job_scheduler.enqueue(Hold("it", swallow=True)))
    with guest_url() as child_env["DATABASE_URL"]:
        worker = start_worker("--processes", "1")
        notes.wait("start it")
        with away():
            notes.let_go("it")
            notes.wait("end it")
            worker.process.terminate()
            if until == "recovery":
                assert worker.ended() == 0
            else:
                wait_for("the supervisor cannot bring it back", lambda: "cannot bring back" in worker.log.read_text())
        if until == "recovery":
            assert record(job).state == "processing"
            worker = start_scheduler()
        wait_state("enqueued", job)
        row = record(job)
        assert (row.attempt, row.crashes, row.failures) == (1, 0, 0)
        assert trail(job)[-1][2] == "its worker was lost before the outcome was recorded"
        worker.end()


def test_everything_runs_although_the_queue_server_was_flushed(
    start_worker: Start, start_scheduler: Start, notes: Notes, redis: Redis
) -> None:
    ids = [int(i) for i in job_scheduler.enqueue_many(Note(f"quick {n}") for n in range(5))]
    start_worker("--processes", "2")
    start_scheduler()
    wait_state("succeeded", *ids)  # before the others come, which have the workers then
    ids += [int(i) for i in job_scheduler.enqueue_many([Hold("held")] * 25)]
    ids.append(int(job_scheduler.schedule(Note("scheduled"), timezone.now() + timedelta(seconds=4))))
    notes.wait("start held", times=2)
    redis.flushall()
    ids.append(int(job_scheduler.enqueue(AsyncNote("after"))))
    assert states(ids) > {"enqueued"}
    notes.let_go()
    wait_state("succeeded", *ids)
    assert set(JobRecord.objects.values_list("attempt", "failures", "crashes")) == {(1, 0, 0)}
    assert broken_trails(ids[:30]) == []


@pytest.mark.once  # it is Redis that is away
def test_redis_away_at_the_start_and_restarted_empty(
    start_worker: Start, start_scheduler: Start, notes: Notes, private_valkey: Path
) -> None:
    worker, scheduler = start_worker("--processes", "1"), start_scheduler()
    wait_for("the worker says so", lambda: "waiting for the queue server" in worker.log.read_text())
    wait_for("the scheduler says so", lambda: "Redis is away" in scheduler.log.read_text())
    early = int(job_scheduler.enqueue(Note("early")))
    with servers.valkey(private_valkey) as url:
        wait_state("succeeded", early)
        assert worker.log.read_text().count("waiting for the queue server") == 1
        # One runs through the outage, the others stand on a queue that is lost.
        long = int(job_scheduler.enqueue(Sleep(2, "long")))
        notes.wait("start long")
        lost = [int(i) for i in job_scheduler.enqueue_many([Note(str(n)) for n in range(10)])]
        with Redis.from_url(url) as client:
            client.flushall()
    later = int(job_scheduler.enqueue(Note("later")))
    assert states([later]) == {"enqueued"}
    with servers.valkey(private_valkey) as url:
        wait_state("succeeded", long, later, *lost)
        assert set(JobRecord.objects.values_list("attempt", "failures", "crashes")) == {(1, 0, 0)}
        with Redis.from_url(url) as client:
            wait_for("the worker is listed again", lambda: len(Worker.all(connection=client)) == 1)
        assert worker.terminate() == 0
    assert scheduler.terminate() == 0
