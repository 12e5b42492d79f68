"""Jobs come into being: rows in the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from handlers.failures import clean
from handlers.lifecycle.counting import DELTA_COLUMNS, DELTAS, Tally
from handlers.lifecycle.moves import JOBS, PAYLOADS, database, new_token
from handlers.models.count import Outcome
from handlers.models.sql import chunks, database_now, is_postgresql, rows_cte, to_time
from handlers.states import State
from handlers.transport import Message


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to be: its type's name, its encoded payload, its queue, and when it is due, if not at once."""

    job_type: str
    payload: bytes
    queue: str
    run_at: datetime | None = None
    delay: timedelta | None = None  # from now, by the database's clock; not together with run_at
    parent_id: int | None = None  # the job whose handler asks for this one
    correlation: str = ""  # shared by what belongs together


CREATE_COLUMNS = {
    "state": "text", "token": "text", "job_type": "text", "queue": "text", "run_at": "time", "created_by": "text",
    "data": "json", "parent_id": "id", "correlation": "text",
}  # fmt: skip
BESIDE = "data, job_type, queue, parent_id, correlation"


def create(jobs: Sequence[NewJob], *, actor: str = "", using: str | None = None) -> list[Message]:
    """Insert ``jobs`` in the caller's transaction and return their messages, in the same order."""
    alias = using or database()
    connection = connections[alias]
    messages: list[Message] = []
    with transaction.atomic(using=alias, savepoint=False):
        now = database_now(connection)
        for chunk in chunks(jobs, 1_000):
            messages += _create_chunk(connection, chunk, now, actor)
    return messages


def _create_chunk(connection: BaseDatabaseWrapper, jobs: Sequence[NewJob], now: datetime, actor: str) -> list[Message]:
    due = [now + job.delay if job.delay else job.run_at for job in jobs]
    tokens = [new_token() for _ in jobs]
    rows = [
        (
            State.SCHEDULED if run_at else State.ENQUEUED, token, job.job_type, job.queue, run_at, clean(actor, 150),
            job.payload.decode(), job.parent_id, job.correlation,
        )
        for job, token, run_at in zip(jobs, tokens, due, strict=True)
    ]  # fmt: skip
    cte, params = rows_cte(connection, "v", CREATE_COLUMNS, rows)
    cast = "::timestamptz" if is_postgresql(connection) else ""
    stamp = to_time(connection, now)
    tally = Tally(now)
    for job in jobs:
        tally.add(job.queue, job.job_type, Outcome.CREATED)
    # The ORM's field defaults are Python's, so each column without a value of its own is named here.
    into = f"""
        INSERT INTO {JOBS} (state, token, job_type, queue, run_at, created_by, created_at, enqueued_at,
                            attempt, failures, crashes, alone, worker, error, fingerprint)
        SELECT state, token, job_type, queue, run_at, created_by, %s{cast},
               CASE WHEN state = 'enqueued' THEN %s{cast} END, 0, 0, 0, FALSE, '', '', ''
        FROM v
    """
    with connection.cursor() as cursor:
        if is_postgresql(connection):
            # One statement for all, because a single enqueue is one round trip.
            counted, sums = rows_cte(connection, "c", DELTA_COLUMNS, tally.rows())
            names = ", ".join(DELTA_COLUMNS)
            cursor.execute(
                f"""WITH {cte}, {counted},
                    d AS (INSERT INTO {DELTAS} ({names}) SELECT {names} FROM c),
                    j AS ({into} RETURNING id, token),
                    p AS (INSERT INTO {PAYLOADS} (job_id, {BESIDE})
                          SELECT j.id, {BESIDE} FROM j JOIN v USING (token))
                    SELECT id, token FROM j""",
                [*params, *sums, stamp, stamp],
            )
            ids = {token: job_id for job_id, token in cursor.fetchall()}
        else:
            cursor.execute(f"WITH {cte} {into} RETURNING id, token", [*params, stamp, stamp])
            ids = {token: job_id for job_id, token in cursor.fetchall()}
            cursor.executemany(
                f"INSERT INTO {PAYLOADS} (job_id, {BESIDE}) VALUES (%s, %s, %s, %s, %s, %s)",
                [(ids[row[1]], row[6], row[2], row[3], row[7], row[8]) for row in rows],
            )
            tally.save(connection)
    return [Message(ids[token], token, job.queue, run_at) for token, job, run_at in zip(tokens, jobs, due, strict=True)]
