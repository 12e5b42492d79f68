"""How long each kind of process waits for its database. What a handler asks is limited in none of them."""

from __future__ import annotations

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from handlers import lifecycle, patience
from handlers.conf import jobs_settings
from handlers.models.sessions import has_own_session
from handlers.models.sql import is_postgresql

SUPERVISOR_SECONDS = 2.0  # for an answer, at least: a third of a lease, as often as it renews them
SUPERVISOR_CONNECT_SECONDS = 5
CONNECT_SECONDS = 10
# SQLite: for a lock. Meanwhile no signal is heard, a stop may meet two such waits, and it has 2 s beyond its grace.
SCHEDULER_BUSY_MS = 900


def limit_supervisor() -> None:
    """Its children's timeouts and leases hang on it, so it waits for nothing for long."""
    patience.limit(max(jobs_settings().lease_seconds / 3, SUPERVISOR_SECONDS))
    patience.limit_connecting(lifecycle.database(), SUPERVISOR_CONNECT_SECONDS, shared=False)
    connection_created.connect(_be_brief)


def limit_worker() -> None:
    """In a worker process, which its supervisor forked: it claims and records, and its handlers do what they like."""
    connection_created.disconnect(_be_brief)
    limit_worker_thread()
    patience.limit_connecting(lifecycle.database(), CONNECT_SECONDS, shared=True)


def limit_worker_thread() -> None:
    """What waits longer than a lease lasts is in nobody's interest."""
    patience.limit(jobs_settings().lease_seconds)


def limit_scheduler() -> None:
    """It waits as long as a worker does, and shares its connection with nobody."""
    patience.limit(jobs_settings().lease_seconds)
    patience.limit_connecting(lifecycle.database(), CONNECT_SECONDS, shared=False)
    connection_created.connect(_be_interruptible)


def _be_brief(connection: BaseDatabaseWrapper, **_: object) -> None:
    # Not behind a pooler: what is set there would stay for whoever comes next.
    if is_postgresql(connection) and not has_own_session(connection):
        return
    with connection.cursor() as cursor:
        if is_postgresql(connection):
            cursor.execute("SET lock_timeout = '1s'")
        else:
            cursor.execute("PRAGMA busy_timeout = 1000")


def _be_interruptible(connection: BaseDatabaseWrapper, **_: object) -> None:
    if is_postgresql(connection):
        return
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout")
        if cursor.fetchone()[0] > SCHEDULER_BUSY_MS:
            cursor.execute(f"PRAGMA busy_timeout = {SCHEDULER_BUSY_MS}")
