"""Scheduled jobs whose time has come, and what else there is to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from handlers.failures import reason_text
from handlers.lifecycle import telling
from handlers.lifecycle.moves import dialect
from handlers.lifecycle.telling import Place
from handlers.models import JobPayload, JobRecord, LimitSlot, LimitWaiter, StrandedJob, WatchedMove
from handlers.models.kept import database
from handlers.models.sql import database_now, fetch, from_time, is_postgresql, to_time
from handlers.signals import jobs_moved
from handlers.states import State
from handlers.transport import Message

JOBS, PAYLOADS, STRANDED, WATCHED = (
    model._meta.db_table for model in (JobRecord, JobPayload, StrandedJob, WatchedMove)
)


def promote_due(limit: int = 500) -> list[Message]:
    """Move up to ``limit`` jobs whose ``run_at`` has come to their queues, earliest first. Tokens stay."""
    connection = connections[database()]
    rows = dialect(connection).promote(connection, limit, told=(told := bool(jobs_moved.receivers)))
    return _messages(connection, rows, told, State.SCHEDULED, "due", "scheduler")


def release(ids: Sequence[int], reason: str, *, actor: str) -> list[Message]:
    """Move those of ``ids`` that await something to their queues. Tokens stay: no message has carried them yet."""
    connection = connections[database()]
    why = reason_text(reason)
    rows = dialect(connection).release(connection, ids, why, actor, told=(told := bool(jobs_moved.receivers)))
    return _messages(connection, rows, told, State.AWAITING, why, actor)


def _messages(
    connection: BaseDatabaseWrapper, rows: Sequence[tuple[Any, ...]], told: bool, source: State, reason: str, actor: str
) -> list[Message]:
    if told:
        places = [Place(job_id, job_type, queue, attempt, at) for job_id, _, queue, _, job_type, attempt, at in rows]
        telling.moved(connection, places, source, State.ENQUEUED, reason, actor)
    return [Message(job_id, token, queue, priority=priority) for job_id, token, queue, priority, *_ in rows]


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
    waits_over: bool = False  # whether a signal has not come in time


def agenda() -> Agenda:
    """What there is to do by the database's clock: one statement, since every idle scheduler asks once a second."""
    connection = connections[database()]
    now_sql, params = "clock_timestamp()", []
    if not is_postgresql(connection):
        now_sql, params = "%s", [to_time(connection, database_now(connection))] * 4
    ((run_at, lapsed, waiting, stranded, expired, unfollowed, lined_up, slots, waits_over, now),) = fetch(
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
            EXISTS (SELECT 1 FROM {JOBS} WHERE state = 'waiting' AND run_at <= {now_sql}),
            {now_sql}
        """,
        params,
    )
    due, clock = from_time(run_at), from_time(now)
    assert clock is not None
    due_in = None if due is None else max((due - clock).total_seconds(), 0.0)
    return Agenda(
        due_in, bool(lapsed), bool(waiting), bool(stranded), bool(expired), clock, bool(unfollowed), bool(lined_up),
        bool(slots), bool(waits_over),
    )  # fmt: skip
