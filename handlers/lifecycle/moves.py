"""The one guarded move: a batch of jobs, each from an expected state and token, with its history rows."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import ModuleType
from typing import Any, NamedTuple

from django.db import connections, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from handlers.current import LogLine
from handlers.failures import Failure, clean
from handlers.lifecycle import postgresql, sqlite
from handlers.lifecycle.columns import Beside
from handlers.lifecycle.counting import outcome_of
from handlers.models import JobRecord
from handlers.models.sql import chunks, is_postgresql
from handlers.states import State, is_allowed
from handlers.transport import Message

CHUNK = 1_000
QUEUED = (State.ENQUEUED, State.SCHEDULED)


def database() -> str:
    """The alias of the database that jobs are written to."""
    return router.db_for_write(JobRecord)


def new_token() -> str:
    """A fresh token: 16 hex digits."""
    return os.urandom(8).hex()


class Step(NamedTuple):
    """One history row to be: where the job goes, why, and facts as JSON-able data."""

    target: State
    reason: str = ""
    data: Mapping[str, Any] | None = None


class Move(NamedTuple):
    """What shall happen to one job, if it still is in ``source`` with ``token``."""

    job_id: int
    token: str
    source: State
    steps: tuple[Step, ...]
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


def apply(moves: Sequence[Move], *, actor: str, using: str | None = None) -> Applied:
    """Carry out ``moves``, all in one transaction; those whose guard no longer holds are left out of the answer."""
    applied = Applied()
    if not moves:
        return applied
    alias = using or database()
    for move in moves:
        _check(move)
    # Sorted, so that two batches that overlap lock their rows in the same order.
    ordered = sorted(moves, key=lambda move: move.job_id)
    with transaction.atomic(using=alias) if len(ordered) > CHUNK else nullcontext():
        for chunk in chunks(ordered, CHUNK):
            _apply_chunk(connections[alias], chunk, actor, applied)
    return applied


def dialect(connection: BaseDatabaseWrapper) -> ModuleType:
    """The module with the SQL for the database of ``connection``."""
    return postgresql if is_postgresql(connection) else sqlite


def _check(move: Move) -> None:
    source = move.source
    for step in move.steps:
        if not is_allowed(source, step.target):
            raise AssertionError(f"job {move.job_id} cannot move from {source} to {step.target}")
        source = step.target


def _apply_chunk(connection: BaseDatabaseWrapper, moves: Sequence[Move], actor: str, applied: Applied) -> None:
    tokens = {move.job_id: new_token() if move.target in QUEUED else move.token for move in moves}
    moved = dialect(connection).move(
        connection,
        [_row(move, tokens[move.job_id]) for move in moves],
        Beside(
            actor=clean(actor, 150),
            steps=[row for move in moves for row in _steps(move)],
            errors=[_error(move.job_id, move.failure) for move in moves if move.failure],
            logs=[(move.job_id, json.dumps(move.logs)) for move in moves if move.logs],
        ),
    )
    by_id = {move.job_id: move for move in moves}
    for job_id, queue, run_at in moved:
        move = by_id[job_id]
        applied.moved.add(job_id)
        if move.target in QUEUED:
            applied.messages.append(Message(job_id, tokens[job_id], queue, run_at))
        if move.source in QUEUED:
            applied.stale.append(Message(job_id, move.token, queue))


def _row(move: Move, token: str) -> tuple[Any, ...]:
    failure = move.failure
    return (
        move.job_id, move.token, token, move.source, move.target, move.attempt_by, move.failures_by, move.crashes_by,
        move.new_round, move.alone, move.run_at, None if move.delay is None else move.delay.total_seconds(),
        failure.line if failure else None, failure.fingerprint if failure else None,
        outcome_of(move.source, [step.target for step in move.steps]),
        (move.steps[0].data or {}).get("duration_seconds"),
    )  # fmt: skip


def _steps(move: Move) -> Iterator[tuple[Any, ...]]:
    source = move.source
    for step in move.steps:
        yield move.job_id, source, step.target, clean(step.reason, 500), step.data or None
        source = step.target


def _error(job_id: int, failure: Failure) -> tuple[Any, ...]:
    exception = failure.exception[:200]
    return job_id, exception, failure.message, failure.traceback, failure.fingerprint, failure.frame
