"""This project as contenders of the peer benchmark, whose harness loads the file through PEERS_EXTRA.

The names that nothing here defines are the harness's. Client and workers run in the interpreter that JOBSITE_PYTHON
names, else in the project's ``.venv``; settings are the project's defaults.
"""
# ruff: noqa: F821
# mypy: ignore-errors

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PYTHON = os.environ.get("JOBSITE_PYTHON") or str(ROOT / ".venv" / "bin" / "python")
WHERE = Path(os.environ.get("PEERS_DATA") or HERE.parent / "peers-data")  # the harness's


def manage(*args: str) -> list[str]:
    """A command line of the project's."""
    return [PYTHON, str(ROOT / "manage.py"), *args]


def surroundings(database_url: str) -> dict[str, str]:
    """What the processes find in their environment."""
    return {
        "PYTHONPATH": f"{HERE}:{HERE / 'apps'}:{ROOT}",
        "DJANGO_SETTINGS_MODULE": "jobsite.settings",
        "JOBSITE_APPS": "tests.bench.peers_app",
        "JOBSITE_DATA": str(WHERE / "jobsite"),
        "DATABASE_URL": database_url,
    }


class Jobsite(Contender):
    """Workers under their supervisor, and the scheduler, whose business recovery is."""

    group, settings, python = "durable", "worker --processes 2, scheduler; defaults", PYTHON
    setup = [manage("migrate", "-v0")]
    finished = "select count(*) from jobs_jobrecord where state='succeeded'"
    known = "select count(*) from jobs_jobrecord"
    n, job_type, flags = 100_000, "Record", ()

    def worker(self):
        return [manage("worker", "--processes", "2", *self.flags), manage("scheduler")]

    def connect(self):
        import django

        django.setup()
        from django.db import connection

        from handlers import job_scheduler
        from tests.bench.peers_app import jobs

        connection.ensure_connection()  # as the raw contenders do here
        self.jobs, self.Record = job_scheduler, getattr(jobs, self.job_type)

    def send(self, i, t0, hold=0.0):
        self.jobs.enqueue(self.Record(i, t0, hold))

    def send_at(self, i, due):
        self.jobs.schedule(self.Record(i, due), when(due))

    def send_many(self, jobs):
        self.jobs.enqueue_many([self.Record(i, t0) for i, t0 in jobs])


class Waiting(Jobsite):
    """Jobs that wait, many at once in each process."""

    settings, metrics = "async handler, worker --processes 2 --max-async 200, scheduler", WAITING
    waiting_n, job_type, flags = 20_000, "RecordAsync", ("--max-async", "200")


class ThreadsWaiting(Jobsite):
    """The same, sync handlers."""

    settings, metrics = "sync handler, worker --processes 2 --threads 200, scheduler", WAITING
    waiting_n, flags = 12_000, ("--threads", "200")


class Workers(Jobsite):
    """Workers and supervisor alone, for their memory."""

    settings, metrics = "worker --processes 2; defaults", ("rss",)

    def worker(self):
        return [manage("worker", "--processes", "2")]


def on_postgresql(name: str) -> dict[str, str]:
    port = os.environ.get("PEERS_PG_PORT", "5450")
    return surroundings(f"postgres://peers@127.0.0.1:{port}/peers_{name.replace('-', '_')}")


def on_sqlite(name: str) -> dict[str, str]:
    return surroundings(f"sqlite:///{WHERE / 'run' / name / 'db.sqlite3'}")


contender("jobsite-pg", Jobsite, db="pg", env=on_postgresql("jobsite-pg"))
contender("jobsite-pg-workers", Workers, db="pg", env=on_postgresql("jobsite-pg-workers"))
contender("jobsite-sqlite", Jobsite, db="sqlite", env=on_sqlite("jobsite-sqlite"))
contender("jobsite-pg-waiting", Waiting, db="pg", env=on_postgresql("jobsite-pg-waiting"))
contender("jobsite-sqlite-waiting", Waiting, db="sqlite", env=on_sqlite("jobsite-sqlite-waiting"))
contender("jobsite-pg-threads-waiting", ThreadsWaiting, db="pg", env=on_postgresql("jobsite-pg-threads-waiting"))
