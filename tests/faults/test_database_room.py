"""A worker with more threads than its database has connections for runs with fewer, and says so."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection

from handlers import job_scheduler
from handlers.models import JobRecord
from tests.app.pooling import Ask
from tests.conftest import database_url
from tests.faults.conftest import Start
from tests.faults.records import wait_state

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis, pytest.mark.postgresql]

ROLE = "limited"


@pytest.fixture
def limited_role() -> Iterator[str]:
    """A role that may have twelve connections, and may do here what the test may."""
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE ROLE {ROLE} LOGIN CONNECTION LIMIT 12 IN ROLE {connection.settings_dict['USER']}")
        yield ROLE
        cursor.execute(f"DROP OWNED BY {ROLE}")
        cursor.execute(f"DROP ROLE {ROLE}")


def run_jobs_on_threads(start_worker: Start, *args: str) -> list[str]:
    """Run jobs that use the database, as many at once as the worker will; what its log says of threads."""
    worker = start_worker(*args)
    wait_state("succeeded", *job_scheduler.enqueue_many([Ask(number, "ask") for number in range(1, 201)]))
    assert set(JobRecord.objects.values_list("attempt", "failures", "crashes")) == {(1, 0, 0)}
    assert worker.terminate() == 0
    log = worker.log.read_text()
    assert "Traceback" not in log
    return [line for line in log.splitlines() if "threads may need" in line]


def test_a_roles_limit_is_kept(start_worker: Start, child_env: dict[str, str], limited_role: str) -> None:
    child_env["DATABASE_URL"] = database_url(connection.settings_dict | {"USER": limited_role})
    (line,) = run_jobs_on_threads(start_worker, "--processes", "2", "--threads", "40")
    told = (
        "40 threads may need 44 database connections in each of 2 processes, which can have 5 (CONNECTION LIMIT of role"
        " limited: 12): it runs 1. Raise that limit, or set --threads (JOBS['THREADS']) or --processes lower"
    )
    assert line.endswith(told)


def test_the_servers_limit_is_kept(start_worker: Start) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SHOW max_connections")
        most = int(cursor.fetchone()[0])
        cursor.execute("SHOW superuser_reserved_connections")
        most -= int(cursor.fetchone()[0])
    (line,) = run_jobs_on_threads(start_worker, "--processes", "2", "--threads", "500")
    assert f"(max_connections less what is reserved: {most}): it runs {(most - 1) // 2 - 4}. Raise" in line


def test_a_pools_limit_is_kept(start_worker: Start, child_env: dict[str, str]) -> None:
    child_env["DATABASE_URL"] += "?pool=true"
    (line,) = run_jobs_on_threads(start_worker, "--processes", "1", "--threads", "40")
    assert "which can have 4 (the pool of DATABASES['default'] holds 4): it runs 1. Raise" in line


def test_nothing_is_said_of_threads_that_there_is_room_for(start_worker: Start) -> None:
    assert run_jobs_on_threads(start_worker, "--processes", "2", "--threads", "20") == []
