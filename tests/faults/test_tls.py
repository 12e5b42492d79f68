"""TLS to PostgreSQL and to Redis, with an authority of the site's own, and neither server takes anything else."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from django.db import connection
from redis import Redis
from redis.exceptions import RedisError

from handlers import job_scheduler
from tests import pgbouncer, tls
from tests.app.jobs import Note
from tests.conftest import database_url
from tests.faults.records import Notes, wait_state
from tests.processes import Managed

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgresql]


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short enough for unix sockets, and open to whom the servers run as."""
    made = Path(tempfile.mkdtemp(prefix="jobsite-tls-"))
    yield made
    shutil.rmtree(made)


def test_jobs_run_over_tls_alone(child_env: dict[str, str], notes: Notes, folder: Path, tmp_path: Path) -> None:
    program = pgbouncer.find() or pgbouncer.install() or pytest.skip("no PgBouncer: apt install pgbouncer")
    made = tls.make_certificate(folder)
    with (
        tls.redis(folder, made) as redis_url,
        pgbouncer.running(program, connection.settings_dict, pool=20, tls=(made.key, made.certificate)) as through,
    ):
        if redis_url is None:
            pytest.skip("no Redis with TLS: apt-get download redis-tools")
        plain = database_url(through)
        secure = f"{plain}?sslmode=verify-full&sslrootcert={made.authority}"
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(f"{plain}?sslmode=disable")
        with (
            pytest.raises(RedisError),
            Redis.from_url(redis_url.partition("?")[0].replace("rediss", "redis")) as client,
        ):
            client.ping()
        with pytest.raises(RedisError), Redis.from_url(redis_url.partition("?")[0]) as client:  # whom it does not know
            client.ping()

        env = child_env | {"DATABASE_URL": secure, "REDIS_URL": redis_url, "TEST_NOTES": str(notes.path)}
        started = [Managed(env, tmp_path, *command) for command in (("scheduler",), ("worker", "--processes", "1"))]
        try:
            at_once = job_scheduler.enqueue(Note("now"))  # published by the scheduler, who misses it
            later = job_scheduler.enqueue(Note("later"), delay=timedelta(seconds=1))
            wait_state("succeeded", at_once, later)
        finally:
            for managed in started:
                managed.end()
                print(managed.log.read_text(errors="replace"))
