"""The life cycle's SQL for SQLite, which writes one table in a statement: each transition is one short transaction."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from django.db import OperationalError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from handlers.lifecycle import columns
from handlers.lifecycle.counting import Tally
from handlers.models import AttemptError, AttemptLog, JobHistory, JobPayload, JobRecord
from handlers.models.count import Outcome
from handlers.models.sql import as_rows, database_now, from_time, insert, rows_cte, to_time
from handlers.states import State

JOBS, PAYLOADS = JobRecord._meta.db_table, JobPayload._meta.db_table
# As columns has them, with what is known once the job has moved.
BESIDE = {"job_id": "id", "data": "json", "job_type": "text", "queue": "text", "parent_id": "id", "correlation": "text"}
CHANGES = (
    "source", "state", "attempt_by", "failures_by", "crashes_by", "new_round", "alone", "run_at", "error",
    "fingerprint",
)  # fmt: skip
STEP = columns.STEP | {"at": "time", "attempt": "int", "actor": "text"}
ERROR = columns.ERROR | {"at": "time", "attempt": "int"}
LOG = columns.LOG | {"attempt": "int"}
TURN_SECONDS = 0.001


def create(connection: BaseDatabaseWrapper, rows: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
    """Insert jobs (columns.CREATE); their id, token and run_at."""
    now = database_now(connection)
    tally, stamp = Tally(now), to_time(connection, now)
    rows = [(*row[:4], _due(row[4], row[5], now), *row[5:]) for row in rows]
    params = [as_rows(connection, rows), stamp, stamp]
    with _writing(connection):
        with connection.cursor() as cursor:
            cursor.execute(_create_sql(), params)
            ids = {token: job_id for job_id, token in cursor.fetchall()}
        beside = []
        for _, token, job_type, queue, _, _, _, data, parent_id, correlation in rows:
            beside.append((ids[token], data, job_type, queue, parent_id, correlation))
            tally.add(queue, job_type, Outcome.CREATED)
        insert(connection, JobPayload, BESIDE, beside)
        tally.save(connection)
    return [(ids[row[1]], row[1], row[4]) for row in rows]


@cache
def _create_sql() -> str:
    # The ORM's field defaults are Python's, so each column without a value of its own is named here.
    return f"""
        WITH {rows_cte("v", columns.CREATE, postgresql=False)}
        INSERT INTO {JOBS} (state, token, job_type, queue, run_at, created_by, created_at, enqueued_at,
                            attempt, failures, crashes, alone, worker, error, fingerprint)
        SELECT state, token, job_type, queue, run_at, created_by, %s,
               CASE WHEN state = 'enqueued' THEN %s END, 0, 0, 0, FALSE, '', '', ''
        FROM v WHERE TRUE
        RETURNING id, token
    """


def claim(
    connection: BaseDatabaseWrapper, wanted: Sequence[tuple[int, str]], *, worker: str, lease: timedelta, single: bool
) -> list[tuple[Any, ...]]:
    """Claim those of ``wanted`` that may run; the fields of each Claim, the payload as JSON text."""
    asked = as_rows(connection, wanted)
    with _writing(connection), connection.cursor() as cursor:
        now = database_now(connection)  # once it is our turn: the lease begins then
        stamp, expires = to_time(connection, now), to_time(connection, now + lease)
        cursor.execute(_claim_sql(single=single), [asked, stamp, stamp, stamp, expires, worker])
        rows = cursor.fetchall()
        if not rows:
            return []
        cursor.execute(_payload_sql(), [as_rows(connection, [row[:1] for row in rows])])
        beside = {job_id: (data, correlation) for job_id, data, correlation in cursor}
        history, tally = [], Tally(now)
        for job_id, _, job_type, queue, attempt, _, _, enqueued_at in rows:
            since = from_time(enqueued_at)
            latency = max((now - since).total_seconds(), 0.0) if since else 0.0
            data = json.dumps({"worker": worker, "latency_seconds": round(latency, 6)})
            history.append((job_id, State.ENQUEUED, State.PROCESSING, "claimed", data, stamp, attempt, worker[:150]))
            tally.add(queue, job_type, Outcome.STARTED, seconds=latency)
        insert(connection, JobHistory, STEP, history)
        tally.save(connection)
    return [(*row[:7], *beside.get(row[0], (None, ""))) for row in rows]


@cache
def _claim_sql(*, single: bool) -> str:
    company = "" if single else "AND NOT j.alone"
    return f"""
        WITH {rows_cte("v", columns.CLAIM, postgresql=False)}, picked AS (
            SELECT j.id FROM v JOIN {JOBS} j ON j.id = v.id AND j.token = v.token
            WHERE j.state = 'enqueued' {company} AND NOT EXISTS (
                SELECT 1 FROM jobs_queueswitch s WHERE s.name = j.queue AND (s.until IS NULL OR s.until > %s)
            ) AND NOT EXISTS (
                SELECT 1 FROM jobs_typeswitch t WHERE t.name = j.job_type AND (t.until IS NULL OR t.until > %s)
            )
        )
        UPDATE {JOBS} SET state = 'processing', attempt = attempt + 1, started_at = %s, finished_at = NULL,
            lease_expires_at = %s, worker = %s
        WHERE id IN (SELECT id FROM picked)
        RETURNING id, token, job_type, queue, attempt, failures, crashes, enqueued_at
    """


@cache
def _payload_sql() -> str:
    ids = rows_cte("v", {"id": "id"}, postgresql=False)
    return f"WITH {ids} SELECT job_id, data, correlation FROM v JOIN {PAYLOADS} ON job_id = v.id"


def move(
    connection: BaseDatabaseWrapper, rows: Sequence[Sequence[Any]], beside: columns.Beside
) -> list[tuple[Any, ...]]:
    """Move those of ``rows`` (columns.MOVE) whose guards hold; their id, queue and run_at."""
    now = database_now(connection)
    stamp = to_time(connection, now)
    moves = [dict(zip(columns.MOVE, row, strict=True)) for row in rows]
    # Jobs that change alike, as most of a batch do, are one statement, whose rows are their ids and tokens only.
    alike: defaultdict[tuple[Any, ...], list[tuple[Any, ...]]] = defaultdict(list)
    for move in moves:
        move["run_at"] = _due(move["run_at"], move["delay"], now)
        alike[tuple(move[name] for name in CHANGES)].append((move["id"], move["token"], move["new_token"]))
    changes = [dict(zip(CHANGES, change, strict=True)) for change in alike]
    for change, which in zip(changes, alike.values(), strict=True):
        change |= {"run_at": to_time(connection, change["run_at"]), "now": stamp, "rows": as_rows(connection, which)}
    moved: dict[int, Sequence[Any]] = {}
    with _writing(connection):
        with connection.cursor() as cursor:
            for change in changes:
                cursor.execute(_move_sql(), change)
                moved |= {job_id: facts for job_id, *facts in cursor.fetchall()}
        for model, kinds, some, more in (
            (JobHistory, STEP, map(_encoded, beside.steps), lambda attempt: (stamp, attempt, beside.actor)),
            (AttemptError, ERROR, beside.errors, lambda attempt: (stamp, attempt)),
            (AttemptLog, LOG, beside.logs, lambda attempt: (attempt,)),
        ):
            if written := [(*row, *more(moved[row[0]][0])) for row in some if row[0] in moved]:
                insert(connection, model, kinds, written)
        moves = [move for move in moves if move["id"] in moved]
        tally = Tally(now)
        for move in moves:
            if move["outcome"] is not None:
                _, queue, job_type = moved[move["id"]]
                fingerprint = move["fingerprint"] or ""
                tally.add(queue, job_type, move["outcome"], fingerprint=fingerprint, seconds=move["seconds"])
        tally.save(connection)
    return [(move["id"], moved[move["id"]][1], move["run_at"]) for move in moves]


@cache
def _move_sql() -> str:
    v = rows_cte("v", {"id": "id", "token": "text", "new_token": "text"}, postgresql=False).replace("%s", "%(rows)s")
    return f"""
        WITH {v}
        UPDATE {JOBS} SET
            state = %(state)s,
            token = v.new_token,
            attempt = attempt + %(attempt_by)s,
            failures = CASE WHEN %(new_round)s THEN 0 ELSE failures + %(failures_by)s END,
            crashes = CASE WHEN %(new_round)s THEN 0 ELSE crashes + %(crashes_by)s END,
            alone = CASE WHEN %(new_round)s THEN %(alone)s ELSE {JOBS}.alone OR %(alone)s END,
            run_at = CASE %(state)s WHEN 'scheduled' THEN %(run_at)s WHEN 'deleted' THEN {JOBS}.run_at END,
            enqueued_at = CASE WHEN %(state)s = 'enqueued' THEN %(now)s ELSE enqueued_at END,
            started_at = CASE WHEN %(state)s IN ('enqueued', 'scheduled') THEN NULL ELSE started_at END,
            finished_at = CASE WHEN %(state)s IN ('succeeded', 'failed', 'deleted') THEN %(now)s END,
            lease_expires_at = NULL,
            worker = CASE WHEN %(state)s IN ('enqueued', 'scheduled') THEN '' ELSE worker END,
            error = COALESCE(%(error)s, {JOBS}.error),
            fingerprint = COALESCE(%(fingerprint)s, {JOBS}.fingerprint)
        FROM v
        WHERE {JOBS}.id = v.id AND {JOBS}.token = v.token AND {JOBS}.state = %(source)s
        RETURNING {JOBS}.id, {JOBS}.attempt, {JOBS}.queue, {JOBS}.job_type
    """


@contextmanager
def _writing(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """A transaction that may write.

    SQLite waits for another writer by sleeping, up to a tenth of a second at a time, and so loses its turn to whoever
    comes meanwhile. Our transactions take milliseconds: asking every half of one shares the turns.
    """
    with ExitStack() as stack:
        if connection.in_atomic_block:
            stack.enter_context(transaction.atomic(using=connection.alias))
        else:
            _begin(connection, stack)
        yield


def _begin(connection: BaseDatabaseWrapper, stack: ExitStack) -> None:
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout")
        patience = cursor.fetchone()[0]  # ms
        until = time.monotonic() + patience / 1000
        cursor.execute("PRAGMA busy_timeout = 0")
        try:
            while True:
                try:
                    stack.enter_context(transaction.atomic(using=connection.alias))
                except OperationalError as error:
                    if "locked" not in str(error) or time.monotonic() >= until:
                        raise
                    connection.errors_occurred = False  # nothing is wrong with it
                    time.sleep(TURN_SECONDS)
                else:
                    return
        finally:
            cursor.execute(f"PRAGMA busy_timeout = {patience:d}")


def _encoded(step: Sequence[Any]) -> tuple[Any, ...]:
    *facts, data = step
    return *facts, json.dumps(data) if data else None


def _due(run_at: datetime | None, delay: float | None, now: datetime) -> datetime | None:
    return run_at if delay is None else now + timedelta(seconds=delay)
