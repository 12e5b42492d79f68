"""Async handlers' database connections are tidied and heal like those of others, whatever thread they are in."""

from __future__ import annotations

import pytest
from django.db import connection

from handlers import job_scheduler
from handlers.models import JobRecord
from tests.app.coroutines import (
    ASYNC,
    SYNC,
    AsyncAct,
    AsyncCount,
    AsyncStubborn,
    CountForked,
    CountUnawaited,
    SyncAct,
    Wait,
)  # fmt: skip
from tests.app.jobs import Note
from tests.faults.conftest import Start
from tests.faults.records import Notes, record, wait_state
from tests.processes import wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]


@pytest.fixture(autouse=True)
def _one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each job is recorded before the next one begins."""
    monkeypatch.setenv("TEST_BATCH", "1")


@pytest.mark.parametrize("act", ["atomic", "manual", "begin", "closed"])
def test_what_is_left_in_any_thread_swallows_no_later_write(start_worker: Start, notes: Notes, act: str) -> None:
    start_worker("--processes", "1")
    places = [*((AsyncAct, where) for where in ASYNC), *((SyncAct, where) for where in SYNC)]
    for written, (kind, where) in enumerate(places, 1):
        wait_state("succeeded", job_scheduler.enqueue(kind(where, act)))
        wait_state("succeeded", job_scheduler.enqueue(kind(where, "write")))
        notes.wait("written", times=written)
    wait_state("succeeded", *JobRecord.objects.values_list("pk", flat=True))
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'")
            assert cursor.fetchone() == (0,)
    assert set(JobRecord.objects.values_list("attempt", "crashes")) == {(1, 0)}


@pytest.mark.postgresql
def test_connections_heal_between_two_jobs(start_worker: Start) -> None:
    worker = start_worker("--processes", "1")
    for _ in range(3):
        wait_state("succeeded", job_scheduler.enqueue(AsyncCount()))
        wait_for("the outcome is recorded, and nothing else under way", lambda: not _busy())
        assert _end_connections() > 0
    wait_state("succeeded", job_scheduler.enqueue(AsyncCount()))
    assert set(JobRecord.objects.values_list("attempt", "failures", "crashes")) == {(1, 0, 0)}
    assert len(worker.children()) == 1


@pytest.mark.postgresql
@pytest.mark.parametrize("where", ["run", "run pool"])
def test_connections_in_threads_of_asgiref_heal_with_the_job_that_finds_them_broken(
    start_worker: Start, where: str
) -> None:
    start_worker("--processes", "1")
    for _ in range(2):
        wait_state("succeeded", job_scheduler.enqueue(SyncAct(where, "count")))
        assert _end_connections() > 0
        wait_ended(job_scheduler.enqueue(SyncAct(where, "count")))
    wait_state("succeeded", job_scheduler.enqueue(SyncAct(where, "count")))


@pytest.mark.postgresql
def test_connections_do_not_add_up(start_worker: Start) -> None:
    start_worker("--processes", "1")
    wait_state("succeeded", job_scheduler.enqueue(Note("warm")))
    jobs = [AsyncAct(where, "count") for where in ASYNC] + [SyncAct(where, "count") for where in SYNC]
    wait_state("succeeded", *job_scheduler.enqueue_many(jobs * 5))

    def count() -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
            return int(cursor.fetchone()[0])

    # The test's own, the supervisor's, the worker's main thread's and its keeper's, and asgiref's. Those of processes
    # of the tests before may end a moment later.
    wait_for("so few connections", lambda: count() <= 5)


def test_a_coroutine_that_uses_the_orm_as_if_it_were_none_fails_by_itself(
    start_worker: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TEST_BATCH")
    wrong = job_scheduler.enqueue_many([CountUnawaited(in_transaction=True), CountUnawaited(in_transaction=False)])
    right = job_scheduler.enqueue_many([Wait(0.2), AsyncCount(), AsyncAct("sensitive", "count"), Note("sync")])
    worker = start_worker("--processes", "1")
    wait_state("failed", *wrong)
    for job in wrong:
        why = "SynchronousOnlyOperation: You cannot call this from an async context - use a thread or sync_to_async."
        assert record(job).error == why
    wait_state("succeeded", *right, job_scheduler.enqueue(AsyncCount()))
    assert set(JobRecord.objects.values_list("attempt", "crashes")) == {(1, 0)}
    assert worker.log.read_text().count(" started, PID ") == 1


def test_a_forked_child_runs_coroutines_of_its_own(start_worker: Start, notes: Notes) -> None:
    start_worker("--processes", "1")
    wait_state("succeeded", job_scheduler.enqueue(CountForked()))
    assert notes.lines() == ["found 1", "found 1", "child: 7", "found 1"]


def test_a_hard_timeout_under_a_stock_rqworker_breaks_a_coroutine_off(
    start: Start, notes: Notes, child_env: dict[str, str]
) -> None:
    child_env["TEST_JOBS"] = '{"TIMEOUT_GRACE_SECONDS": 0.5}'
    job = job_scheduler.enqueue(AsyncStubborn())
    stock = start("rqworker", "default", "--burst", "--serializer", "json", "--worker-class", "rq.SimpleWorker")
    wait_state("failed", job)
    assert record(job).error == "JobTimeout: ran longer than its timeout of 0.5 s"
    assert notes.lines() == ["broken off"]
    assert stock.ended() == 0


def wait_ended(job: int) -> None:
    """Wait until it has succeeded or failed."""
    wait_for("it ended", lambda: record(job).state in {"succeeded", "failed"})


def _busy() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'"
        )
        return bool(cursor.fetchone()[0])


def _end_connections() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        count: int = cursor.fetchone()[0]
    return count
