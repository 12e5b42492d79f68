"""Scheduled jobs whose time has come, and what else there is to do."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import connections

from handlers.lifecycle.moves import database, dialect
from handlers.models import JobCountDelta, JobRecord
from handlers.models.sql import database_now, fetch, from_time, is_postgresql, to_time
from handlers.transport import Message

JOBS, DELTAS = JobRecord._meta.db_table, JobCountDelta._meta.db_table


def promote_due(limit: int = 500) -> list[Message]:
    """Move up to ``limit`` jobs whose ``run_at`` has come to their queues, earliest first. Tokens stay."""
    connection = connections[database()]
    return [Message(*row) for row in dialect(connection).promote(connection, limit)]


@dataclass(frozen=True, slots=True)
class Agenda:
    """What a scheduler has to look after."""

    due_in: float | None  # seconds until the next scheduled job is due, not below 0; None when there is none
    lapsed: bool  # whether a lease is over
    waiting: bool  # whether any job is on a queue
    uncounted: bool  # whether there are counts to be summed


def agenda() -> Agenda:
    """What there is to do by the database's clock: one statement, since every idle scheduler asks once a second."""
    connection = connections[database()]
    clock, params = "clock_timestamp()", []
    if not is_postgresql(connection):
        clock, params = "%s", [to_time(connection, database_now(connection))] * 2
    ((run_at, lapsed, waiting, uncounted, now),) = fetch(
        connection,
        f"""
        SELECT (SELECT run_at FROM {JOBS} WHERE state = 'scheduled' ORDER BY run_at, id LIMIT 1),
            EXISTS (SELECT 1 FROM {JOBS} WHERE state = 'processing' AND lease_expires_at < {clock}),
            EXISTS (SELECT 1 FROM {JOBS} WHERE state = 'enqueued'),
            EXISTS (SELECT 1 FROM {DELTAS}),
            {clock}
        """,
        params,
    )
    due, now = from_time(run_at), from_time(now)
    due_in = None if due is None or now is None else max((due - now).total_seconds(), 0.0)
    return Agenda(due_in, bool(lapsed), bool(waiting), bool(uncounted))
