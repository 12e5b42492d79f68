"""Django's pool of PostgreSQL connections: each process has one of its own, and gets back what it gave."""

from __future__ import annotations

from itertools import cycle

import pytest
from django.contrib.auth.models import Group
from django.db import connection

from handlers import Event, event_bus, job_scheduler
from handlers.models import Delivery, JobRecord, SagaRecord
from tests import pgbouncer
from tests.app.atomic import Row
from tests.app.pooling import HOWS, Ask
from tests.app.sagas import Counted, Opened
from tests.conftest import database_url
from tests.faults.conftest import Start
from tests.faults.records import Notes, wait_state
from tests.processes import wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis, pytest.mark.postgresql]

JOBS = 400


@pytest.fixture(autouse=True)
def _pool(child_env: dict[str, str]) -> None:
    """Processes have a pool of four connections."""
    child_env["DATABASE_URL"] += "?pool=true"


def enqueue(count: int, *hows: str) -> list[int]:
    """Jobs that ask in each of these ways in turn."""
    jobs = [Ask(number, how) for number, how in zip(range(1, count + 1), cycle(hows), strict=False)]
    return [int(job_id) for job_id in job_scheduler.enqueue_many(jobs)]


def assert_each_was_told_the_right(notes: Notes, count: int) -> None:
    """Every job ran once, and got its own answers."""
    assert sorted(map(int, notes.lines())) == list(range(1, count + 1))
    assert set(JobRecord.objects.values_list("attempt", "failures", "crashes")) == {(1, 0, 0)}


def test_two_processes_under_load_mix_nothing_and_run_dry_of_nothing(start: Start, notes: Notes) -> None:
    worker, scheduler = start("worker", "--processes", "2"), start("scheduler")
    wait_state("succeeded", *enqueue(JOBS, *HOWS))
    assert_each_was_told_the_right(notes, JOBS)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT backend_start, state, query FROM pg_stat_activity"
            " WHERE datname = current_database() AND backend_type = 'client backend'"  # no autovacuum
        )
        found = cursor.fetchall()
    # The test's, a pool in each worker process, the supervisor's, the scheduler's.
    assert len(found) <= 1 + 2 * 4 + 1 + 1, found
    assert worker.terminate() == scheduler.terminate() == 0
    for process in (worker, scheduler):
        assert "Traceback" not in process.log.read_text()


def test_a_pool_heals_after_its_connections_were_ended(start_worker: Start, notes: Notes) -> None:
    start_worker("--processes", "2")
    done = enqueue(20, "ask", "threads")
    wait_state("succeeded", *done)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    notes.path.unlink()
    wait_state("succeeded", *enqueue(100, "ask"))
    assert_each_was_told_the_right(notes, 100)


def test_a_stock_rqworker_shares_no_pool_with_the_processes_that_it_forks(start: Start, notes: Notes) -> None:
    jobs = enqueue(20, "ask", "threads", "fork", "fork idle")
    stock = start(
        "rqworker", "default", "--burst", "--serializer", "json", "--worker-class", "tests.app.pooling.Asking"
    )
    assert stock.ended() == 0
    wait_state("succeeded", *jobs)
    assert_each_was_told_the_right(notes, 20)


def test_a_pool_may_lie_before_a_pooler(start_worker: Start, notes: Notes, child_env: dict[str, str]) -> None:
    program = pgbouncer.find() or pgbouncer.install() or pytest.skip("no PgBouncer: apt install pgbouncer")
    with pgbouncer.running(program, connection.settings_dict, pool=4) as through:
        child_env["DATABASE_URL"] = f"{database_url(through)}?pool=true"
        worker = start_worker("--processes", "2")
        wait_state("succeeded", *enqueue(80, *HOWS))
        assert_each_was_told_the_right(notes, 80)
        events: list[Event] = [Opened(number) for number in range(10)]
        events += [Counted(number, which) for which in range(10) for number in range(10)]
        event_bus.publish_many(events)  # a turn of many sagas is one transaction, with locks until its end
        wait_state("succeeded", *Delivery.objects.values_list("job_id", flat=True))
        wait_state("succeeded", *job_scheduler.enqueue_many([Row(number) for number in range(60)]))
        assert Group.objects.filter(name__startswith="row ").count() == 60  # runs that share commits
        assert [each.data for each in SagaRecord.objects.all()] == [{"events": 10, "last": 9}] * 10
        assert worker.terminate() == 0


def test_a_handed_out_connection_comes_back_however_it_is_left(start_worker: Start, notes: Notes) -> None:
    start_worker("--processes", "1")
    for how in ("atomic", "closed", "threads", "coroutines"):
        wait_state("succeeded", *enqueue(10, how))
    wait_for("all are told", lambda: len(notes.lines()) == 40)
