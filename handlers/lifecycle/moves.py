"""The one guarded move: a batch of jobs, each from an expected state and token, with its history rows."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import connections, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from handlers.current import LogLine
from handlers.failures import Failure, clean
from handlers.lifecycle.counting import Tally, outcome_of
from handlers.models import AttemptError, AttemptLog, JobHistory, JobPayload, JobRecord
from handlers.models.sql import chunks, database_now, insert, is_postgresql, rows_cte, to_time
from handlers.states import State, is_allowed
from handlers.transport import Message

JOBS, PAYLOADS = JobRecord._meta.db_table, JobPayload._meta.db_table
QUEUED = (State.ENQUEUED, State.SCHEDULED)


def database() -> str:
    """The alias of the database that jobs are written to."""
    return router.db_for_write(JobRecord)


def new_token() -> str:
    """A fresh token: 16 hex digits."""
    return secrets.token_hex(8)


@dataclass(frozen=True, slots=True)
class Step:
    """One history row to be: where the job goes, why, and facts as JSON-able data."""

    target: State
    reason: str = ""
    data: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """What shall happen to one job, if it still is in ``source`` with ``token``."""

    job_id: int
    token: str
    source: State
    steps: tuple[Step, ...]
    keep_token: bool = False
    attempt_by: int = 0
    failures_by: int = 0
    crashes_by: int = 0
    new_round: bool = False  # failures and crashes start again at 0
    alone: bool = False
    run_at: datetime | None = None
    delay: timedelta | None = None  # from now, by the database's clock; not together with run_at
    failure: Failure | None = None
    logs: tuple[LogLine, ...] | None = None  # what the attempt logged

    @property
    def target(self) -> State:
        """Where the job ends."""
        return self.steps[-1].target


@dataclass(slots=True)
class Applied:
    """Which jobs moved, and what the transport must be told once that is committed."""

    moved: set[int] = field(default_factory=set)
    messages: list[Message] = field(default_factory=list)  # to publish
    stale: list[Message] = field(default_factory=list)  # can no longer change anything


MOVE_COLUMNS = {
    "id": "id", "token": "text", "source": "text", "state": "text", "new_token": "text", "attempt_by": "int",
    "failures_by": "int", "crashes_by": "int", "new_round": "bool", "alone": "bool", "run_at": "time", "error": "text",
    "fingerprint": "text",
}  # fmt: skip


def apply(moves: Sequence[Move], *, actor: str, using: str | None = None) -> Applied:
    """Carry out ``moves``, all in one transaction; those whose guard no longer holds are left out of the answer."""
    applied = Applied()
    if not moves:
        return applied
    alias = using or database()
    connection = connections[alias]
    # Sorted, so that two batches that overlap lock their rows in the same order.
    ordered = sorted(moves, key=lambda move: move.job_id)
    with transaction.atomic(using=alias):
        now = database_now(connection)
        for chunk in chunks(ordered, 1_000):
            _apply_chunk(connection, chunk, now, actor, applied)
    return applied


def _apply_chunk(
    connection: BaseDatabaseWrapper, moves: Sequence[Move], now: datetime, actor: str, applied: Applied
) -> None:
    for move in moves:
        _check(move)
    tokens = {
        move.job_id: new_token() if move.target in QUEUED and not move.keep_token else move.token for move in moves
    }
    due = {move.job_id: now + move.delay if move.delay is not None else move.run_at for move in moves}
    rows = [
        (
            move.job_id, move.token, move.source, move.target, tokens[move.job_id], move.attempt_by, move.failures_by,
            move.crashes_by, move.new_round, move.alone, due[move.job_id], move.failure.line if move.failure else None,
            move.failure.fingerprint if move.failure else None,
        )
        for move in moves
    ]  # fmt: skip
    cte, params = rows_cte(connection, "v", MOVE_COLUMNS, rows)
    # The order of the locks, not only of the rows: an UPDATE alone locks in the order that its plan finds them.
    locks = (
        f", held AS (SELECT j.id FROM {JOBS} j JOIN v ON v.id = j.id ORDER BY j.id FOR UPDATE OF j)"
        if is_postgresql(connection)
        else ""
    )
    join = "FROM v JOIN held ON held.id = v.id" if locks else "FROM v"
    sql = f"""
        WITH {cte}{locks}
        UPDATE {JOBS} SET
            state = v.state,
            token = v.new_token,
            attempt = attempt + v.attempt_by,
            failures = CASE WHEN v.new_round THEN 0 ELSE failures + v.failures_by END,
            crashes = CASE WHEN v.new_round THEN 0 ELSE crashes + v.crashes_by END,
            alone = CASE WHEN v.new_round THEN v.alone ELSE {JOBS}.alone OR v.alone END,
            run_at = CASE WHEN v.state = 'scheduled' THEN v.run_at
                          WHEN v.state = 'deleted' THEN {JOBS}.run_at END,
            enqueued_at = CASE WHEN v.state = 'enqueued' THEN %s ELSE enqueued_at END,
            started_at = CASE WHEN v.state IN ('enqueued', 'scheduled') THEN NULL ELSE started_at END,
            finished_at = CASE WHEN v.state IN ('succeeded', 'failed', 'deleted') THEN %s END,
            lease_expires_at = NULL,
            worker = CASE WHEN v.state IN ('enqueued', 'scheduled') THEN '' ELSE worker END,
            error = COALESCE(v.error, {JOBS}.error),
            fingerprint = COALESCE(v.fingerprint, {JOBS}.fingerprint)
        {join}
        WHERE {JOBS}.id = v.id AND {JOBS}.token = v.token AND {JOBS}.state = v.source
        RETURNING {JOBS}.id, {JOBS}.attempt, {JOBS}.queue, {JOBS}.job_type
    """
    stamp = to_time(connection, now)
    if is_postgresql(connection):
        sql = sql.replace("THEN %s", "THEN %s::timestamptz")
    with connection.cursor() as cursor:
        cursor.execute(sql, [*params, stamp, stamp])
        moved = {job_id: (attempt, queue, job_type) for job_id, attempt, queue, job_type in cursor.fetchall()}
    done = [move for move in moves if move.job_id in moved]
    _record(connection, done, moved, now, actor)
    _count(connection, done, moved, now)
    applied.moved.update(moved)
    applied.messages.extend(
        Message(move.job_id, tokens[move.job_id], moved[move.job_id][1], due[move.job_id])
        for move in done
        if move.target in QUEUED
    )
    applied.stale.extend(
        Message(move.job_id, move.token, moved[move.job_id][1]) for move in done if move.source in QUEUED
    )


def _check(move: Move) -> None:
    source = move.source
    for step in move.steps:
        if not is_allowed(source, step.target):
            raise AssertionError(f"job {move.job_id} cannot move from {source} to {step.target}")
        source = step.target


HISTORY_COLUMNS = {
    "job_id": "id", "from_state": "text", "to_state": "text", "at": "time", "attempt": "int", "reason": "text",
    "actor": "text", "data": "json",
}  # fmt: skip
ERROR_COLUMNS = {
    "job_id": "id", "attempt": "int", "at": "time", "exception": "text", "message": "text", "traceback": "text",
    "fingerprint": "text", "frame": "text",
}  # fmt: skip
LOG_COLUMNS = {"job_id": "id", "attempt": "int", "lines": "json"}


def _record(
    connection: BaseDatabaseWrapper,
    moves: Sequence[Move],
    moved: Mapping[int, tuple[int, str, str]],
    now: datetime,
    actor: str,
) -> None:
    history, errors = [], []
    for move in moves:
        attempt, source = moved[move.job_id][0], move.source
        for step in move.steps:
            data = json.dumps(step.data) if step.data else None
            history.append(
                (move.job_id, source, step.target, now, attempt, clean(step.reason, 500), clean(actor, 150), data)
            )
            source = step.target
        if move.failure:
            failure = move.failure
            errors.append(
                (
                    move.job_id, attempt, now, failure.exception[:200], failure.message, failure.traceback,
                    failure.fingerprint, failure.frame,
                )
            )  # fmt: skip
    if history:
        insert(connection, JobHistory, HISTORY_COLUMNS, history)
    if errors:
        insert(connection, AttemptError, ERROR_COLUMNS, errors)
    if logs := [(move.job_id, moved[move.job_id][0], json.dumps(move.logs)) for move in moves if move.logs]:
        insert(connection, AttemptLog, LOG_COLUMNS, logs)


def _count(
    connection: BaseDatabaseWrapper, moves: Sequence[Move], moved: Mapping[int, tuple[int, str, str]], now: datetime
) -> None:
    tally = Tally(now)
    for move in moves:
        outcome = outcome_of(move.source, [step.target for step in move.steps], due=move.keep_token)
        if outcome is not None:
            _, queue, job_type = moved[move.job_id]
            tally.add(
                queue,
                job_type,
                outcome,
                fingerprint=move.failure.fingerprint if move.failure else "",
                seconds=(move.steps[0].data or {}).get("duration_seconds"),
            )
    tally.save(connection)
