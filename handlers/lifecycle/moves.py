"""The one guarded move: a batch of jobs, each from an expected state and token, with its history rows."""

from __future__ import annotations

import json
import os
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from operator import itemgetter
from types import ModuleType
from typing import Any, NamedTuple

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from handlers.current import LogLine
from handlers.failures import Failure, clean, reason_text
from handlers.lifecycle import postgresql, sqlite, telling, waits, watching
from handlers.lifecycle.columns import MoveBatch, Moved
from handlers.lifecycle.counting import outcome_of
from handlers.models import FailureGroup
from handlers.models.kept import database
from handlers.models.sql import chunks, is_postgresql
from handlers.signals import jobs_moved
from handlers.states import TAKEN_BACK, State, is_allowed
from handlers.transport import Message
from handlers.writing import writing

CHUNK = 1_000
QUEUED = (State.ENQUEUED, State.SCHEDULED)


def new_token() -> str:
    """A fresh token: 16 hex digits."""
    return os.urandom(8).hex()


class Step(NamedTuple):
    """One history row to be: where the job goes, why, and facts as JSON-able data."""

    target: State
    reason: str = ""
    data: Mapping[str, Any] | None = None


class Refusal(NamedTuple):
    """Why this code cannot run a job that another release may."""

    exception: str  # a class's dotted path
    reason: str
    job_type: str
    release: str  # this code


class Change(NamedTuple):
    """What shall happen to jobs that are in ``source``. Jobs of a batch to which the same happens share one."""

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
    takes_back: bool = False  # what was asked for, before it began: to where the job was, and it counts as nothing
    waits_for: str = ""  # the name of the signal that a job which waits from now on waits for
    refusal: Refusal | None = None  # the job goes back to its queue, yet not to whoever comes next

    @property
    def target(self) -> State:
        """Where the jobs end."""
        return self.steps[-1].target


class Move(NamedTuple):
    """A change of one job, if it still is in the change's source with ``token``."""

    job_id: int
    token: str
    change: Change
    seconds: float | None = None  # how long the job's run took, if it had one; recorded with the first step
    logs: tuple[LogLine, ...] | None = None  # what the attempt logged
    result: bytes | None = None  # what it returned, as JSON
    is_recorded: bool = False  # carried out already, with what the run wrote


class Failed(NamedTuple):
    """A failed attempt that is on record now."""

    job_id: int
    failure: Failure
    fingerprint: str  # of its failure group
    target: State  # where the job is: scheduled, when it is tried again
    delay: timedelta | None


class Refused(NamedTuple):
    """A job that went back to its queue because this code cannot run it."""

    message: Message
    former_token: str
    refusal: Refusal


@dataclass(slots=True)
class Applied:
    """Which jobs moved, and what the transport must be told once that is committed."""

    moved: set[int] = field(default_factory=set)
    messages: list[Message] = field(default_factory=list)  # to publish
    stale: list[Message] = field(default_factory=list)  # can no longer change anything
    sources: dict[str, int] = field(default_factory=dict)  # by some verbs: how many moved from each state
    queues: dict[str, int] = field(default_factory=dict)  # to another queue: how many moved from each
    refused: list[Refused] = field(default_factory=list)  # not to be published
    failures: list[Failed] = field(default_factory=list)  # what the log must be told


def apply(moves: Sequence[Move], *, actor: str, using: str | None = None) -> Applied:
    """Carry out ``moves``, all in one transaction; those whose guard no longer holds are left out of the answer."""
    applied = Applied()
    if not moves:
        return applied
    alias = using or database()
    changes = {id(move.change): move.change for move in moves}.values()
    for change in changes:
        _check(change)
    any_waits = any(change.waits_for for change in changes)
    # Sorted, so that two batches that overlap lock their rows in the same order.
    ordered = sorted(moves, key=itemgetter(0))
    with writing(alias) if any_waits or len(ordered) > CHUNK else nullcontext():
        if any_waits:
            ordered = _see_signals(ordered, alias)
        watched = [_apply_chunk(connections[alias], chunk, actor, applied) for chunk in chunks(ordered, CHUNK)]
        if any_waits:
            waits.begin({pk: name for pk, name in _waits_of(ordered).items() if pk in applied.moved}, alias)
    if any(watched):
        watching.tell(connections[alias])
    return applied


def _waits_of(moves: Sequence[Move]) -> dict[int, str]:
    return {move.job_id: move.change.waits_for for move in moves if move.change.waits_for}


def _see_signals(moves: Sequence[Move], using: str) -> list[Move]:
    """``moves``, of which those whose signal has come already go on at once. Their rows are ours from here on."""
    there = waits.answered(_waits_of(moves), [move.job_id for move in moves], using)
    return [move._replace(change=_at_once(move.change)) if move.job_id in there else move for move in moves]


def _at_once(change: Change) -> Change:
    step = Step(State.ENQUEUED, f"{change.waits_for} had come already", {"signal": change.waits_for})
    return change._replace(steps=(*change.steps, step), delay=None, waits_for="")


def dialect(connection: BaseDatabaseWrapper) -> ModuleType:
    """The module with the SQL for the database of ``connection``."""
    return postgresql if is_postgresql(connection) else sqlite


def _check(change: Change) -> None:
    source = change.source
    if change.takes_back and source == State.ENQUEUED and change.target in TAKEN_BACK:
        return
    for step in change.steps:
        if not is_allowed(source, step.target):
            raise AssertionError(f"no job can move from {source} to {step.target}")
        source = step.target


def _apply_chunk(connection: BaseDatabaseWrapper, moves: Sequence[Move], actor: str, applied: Applied) -> bool:
    """Whether one of those that moved is watched."""
    # By the identity of the change: its number, from 1 on, and whether what it moves is offered anew. Nothing is asked
    # of a change for each job: a batch has many of these, and few of those.
    known: dict[int, tuple[int, bool]] = {}
    changes: list[Change] = []
    tokens: dict[int, str] = {}
    rows = []
    for job_id, token, change, seconds, *_ in moves:
        if (found := known.get(id(change))) is None:
            changes.append(change)
            found = known[id(change)] = len(changes), change.target in QUEUED
        number, is_offered = found
        rows.append((job_id, token, tokens.setdefault(job_id, new_token()) if is_offered else token, number, seconds))
    former = _former_groups(connection, [change.failure for change in changes if change.failure])
    errors = [_error(move.job_id, move.change.failure, former) for move in moves if move.change.failure]
    were_offered = {id(change) for change in changes if change.source in QUEUED}
    told = bool(jobs_moved.receivers)
    moved: Moved = dialect(connection).move(
        connection,
        MoveBatch(
            actor=clean(actor, 150),
            rows=rows,
            changes=[_row(change, former) for change in changes],
            steps=[step for number, change in enumerate(changes, 1) for step in _steps(number, change)],
            errors=errors,
            logs=[(move.job_id, json.dumps(move.logs)) for move in moves if move.logs],
            results=[(move.job_id, move.result.decode()) for move in moves if move.result is not None],
            tells=(tells := bool(tokens or were_offered or told)),
            told=told,
        ),
    )
    applied.moved.update(moved.ids)
    if tells:
        by_id = {move.job_id: move for move in moves}
        if told:
            _tell(connection, moved.rows, by_id, clean(actor, 150))
        for job_id, queue, run_at, priority, *_ in moved.rows:
            move = by_id[job_id]
            if job_id in tokens:
                message = Message(job_id, tokens[job_id], queue, run_at, priority)
                if move.change.refusal is None:
                    applied.messages.append(message)
                else:
                    applied.refused.append(Refused(message, move.token, move.change.refusal))
            if id(move.change) in were_offered:
                applied.stale.append(Message(job_id, move.token, queue))
    if errors:
        applied.failures += _failed(moves, applied.moved, former)
    return moved.watched


def _tell(connection: BaseDatabaseWrapper, rows: Sequence[Any], moves: Mapping[int, Move], actor: str) -> None:
    told = []
    for job_id, queue, *_, job_type, attempt, at in rows:
        change = moves[job_id].change
        steps = [(step.target, step.reason) for step in change.steps]
        told.append((telling.Place(job_id, job_type, queue, attempt, at), change.source, steps))
    telling.stepped(connection, told, actor)


def _failed(moves: Sequence[Move], moved: Container[int], former: Container[tuple[str, str]]) -> Iterator[Failed]:
    for move in moves:
        change = move.change
        if change.failure and move.job_id in moved:
            fingerprint = _fingerprint(change.failure, former)
            yield Failed(move.job_id, change.failure, fingerprint, change.target, change.delay)


def _former_groups(connection: BaseDatabaseWrapper, failures: Sequence[Failure]) -> set[tuple[str, str]]:
    """The groups (fingerprint, job type) that ``failures`` go on in: of before the type was part of the fingerprint."""
    names = {failure.former_fingerprint for failure in failures} - {""}
    if not names:
        return set()
    groups = FailureGroup.objects.using(connection.alias).filter(pk__in=names).exclude(job_type="")
    return set(groups.values_list("pk", "job_type"))


def _fingerprint(failure: Failure, former: Container[tuple[str, str]]) -> str:
    name = failure.former_fingerprint
    return name if (name, failure.job_type) in former else failure.fingerprint


def _row(change: Change, former: Container[tuple[str, str]]) -> tuple[Any, ...]:
    failure = change.failure
    return (
        change.source, change.target, change.attempt_by, change.failures_by, change.crashes_by, change.new_round,
        change.alone, change.run_at, None if change.delay is None else change.delay.total_seconds(),
        failure.line if failure else None, _fingerprint(failure, former) if failure else None,
        failure.version if failure else "",
        outcome_of(change.source, [step.target for step in change.steps]) if not change.takes_back else None,
    )  # fmt: skip


def _steps(number: int, change: Change) -> Iterator[tuple[Any, ...]]:
    source = change.source
    for step in change.steps:
        is_first = step is change.steps[0]
        yield number, is_first, source, step.target, reason_text(step.reason), step.data or None
        source = step.target


def _error(job_id: int, failure: Failure, former: Container[tuple[str, str]]) -> tuple[Any, ...]:
    exception, fingerprint = failure.exception[:200], _fingerprint(failure, former)
    return job_id, exception, failure.message, failure.traceback, fingerprint, failure.frame, failure.version
