"""Scheduled jobs whose time has come, and what else there is to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import connections

from handlers.failures import clean
from handlers.lifecycle.moves import dialect
from handlers.models import JobPayload, JobRecord, LimitSlot, LimitWaiter, StrandedJob, WatchedMove
from handlers.models.kept import database
from handlers.models.sql import database_now, fetch, from_time, is_postgresql, to_time
from handlers.transport import Message

JOBS, PAYLOADS, STRANDED, WATCHED = (
    model._meta.db_table for model in (JobRecord, JobPayload, StrandedJob, WatchedMove)
)


def promote_due(limit: int = 500) -> list[Message]:
    """Move up to ``limit`` jobs whose ``run_at`` has come to their queues, earliest first. Tokens stay."""
    connection = connections[database()]
    rows = dialect(connection).promote(connection, limit)
    return [Message(job_id, token, queue, priority=priority) for job_id, token, queue, priority in rows]


def release(ids: Sequence[int], reason: str, *, actor: str) -> list[Message]:
    """Move those of ``ids`` that await something to their queues. Tokens stay: no message has carried them yet."""
    connection = connections[database()]
    rows = dialect(connection).release(connection, ids, clean(reason, 500), actor)
    return [Message(job_id, token, queue, priority=priority) for job_id, token, queue, priority in rows]


@dataclass(frozen=True, slots=True)
class Agenda:
    """What a scheduler has to look after."""

    due_in: float | None  # seconds until the next scheduled job is due, not below 0; None when there is none
    lapsed: bool  # whether a lease is over
    waiting: bool  # whether any job is on a queue
    stranded: bool  # whether one waits for a worker that can run it
    expired: bool  # whether one was to be started by now, and is in no worker's hands
    now: datetime  # by the database's clock, when it was asked
    unfollowed: bool = False  # whether watched jobs have moved and nothing has followed yet
    lined_up: bool = False  # whether one waits for a slot
    slots: bool = False  # whether one has a slot


def agenda() -> Agenda:
    """What there is to do by the database's clock: one statement, since every idle scheduler asks once a second."""
    connection = connections[database()]
    now_sql, params = "clock_timestamp()", []
    if not is_postgresql(connection):
        now_sql, params = "%s", [to_time(connection, database_now(connection))] * 3
    ((run_at, lapsed, waiting, stranded, expired, unfollowed, lined_up, slots, now),) = fetch(
        connection,
        f"""
        SELECT (SELECT run_at FROM {JOBS} WHERE state = 'scheduled' ORDER BY run_at, id LIMIT 1),
            EXISTS (SELECT 1 FROM {JOBS} WHERE state = 'processing' AND lease_expires_at < {now_sql}),
            EXISTS (SELECT 1 FROM {JOBS} WHERE state = 'enqueued'),
            EXISTS (SELECT 1 FROM {STRANDED}),
            EXISTS (
                SELECT 1 FROM {PAYLOADS} p WHERE expires_at <= {now_sql} AND
                    (SELECT j.state <> 'processing' OR j.attempt <> 1 FROM {JOBS} j WHERE j.id = p.job_id)
            ),
            EXISTS (SELECT 1 FROM {WATCHED}),
            EXISTS (SELECT 1 FROM {LimitWaiter._meta.db_table}),
            EXISTS (SELECT 1 FROM {LimitSlot._meta.db_table}),
            {now_sql}
        """,
        params,
    )
    due, clock = from_time(run_at), from_time(now)
    assert clock is not None
    due_in = None if due is None else max((due - clock).total_seconds(), 0.0)
    return Agenda(
        due_in, bool(lapsed), bool(waiting), bool(stranded), bool(expired), clock, bool(unfollowed), bool(lined_up),
        bool(slots),
    )  # fmt: skip
