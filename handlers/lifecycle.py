"""The only writer of a job's state.

Each move is one guarded UPDATE (expected state and token) with its history rows in the same transaction, for a batch;
a single job is a batch of one. A row that did not move was moved by someone else first: that is an answer.

Every function here opens its own transaction (or a savepoint in the caller's) on the database that writes jobs, and
returns the messages that the transport must be told of *after* the commit.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import connections, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from handlers.exceptions import InvalidJob
from handlers.failures import Failure, clean
from handlers.models import AttemptError, JobHistory, JobPayload, JobRecord
from handlers.models.sql import chunks, database_now, from_time, insert, is_postgresql, rows_cte, to_time
from handlers.states import DELETABLE, FINAL, State, is_allowed
from handlers.transport import Message

JOBS, PAYLOADS = JobRecord._meta.db_table, JobPayload._meta.db_table
QUEUED = (State.ENQUEUED, State.SCHEDULED)


def database() -> str:
    """The alias of the database that jobs are written to."""
    return router.db_for_write(JobRecord)


def new_token() -> str:
    """A fresh token: 16 hex digits."""
    return secrets.token_hex(8)


# --- the one guarded move ---------------------------------------------------------------------------------------------


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
            error = COALESCE(v.error, {JOBS}.error)
        {join}
        WHERE {JOBS}.id = v.id AND {JOBS}.token = v.token AND {JOBS}.state = v.source
        RETURNING {JOBS}.id, {JOBS}.attempt, {JOBS}.queue
    """  # noqa: S608 - names only; every value is a parameter
    stamp = to_time(connection, now)
    if is_postgresql(connection):
        sql = sql.replace("THEN %s", "THEN %s::timestamptz")
    with connection.cursor() as cursor:
        cursor.execute(sql, [*params, stamp, stamp])
        moved = {job_id: (attempt, queue) for job_id, attempt, queue in cursor.fetchall()}
    done = [move for move in moves if move.job_id in moved]
    _record(connection, done, moved, now, actor)
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
}  # fmt: skip


def _record(
    connection: BaseDatabaseWrapper,
    moves: Sequence[Move],
    moved: Mapping[int, tuple[int, str]],
    now: datetime,
    actor: str,
) -> None:
    history, errors = [], []
    for move in moves:
        attempt, source = moved[move.job_id][0], move.source
        for step in move.steps:
            data = json.dumps(step.data) if step.data else None
            history.append((move.job_id, source, step.target, now, attempt, clean(step.reason, 500), clean(actor, 150), data))
            source = step.target
        if move.failure:
            failure = move.failure
            errors.append((move.job_id, attempt, now, failure.exception[:200], failure.message, failure.traceback))
    if history:
        insert(connection, JobHistory, HISTORY_COLUMNS, history)
    if errors:
        insert(connection, AttemptError, ERROR_COLUMNS, errors)


# --- creation ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to be: its type's name, its encoded payload, its queue, and when it is due, if not at once."""

    job_type: str
    payload: bytes
    queue: str
    run_at: datetime | None = None
    delay: timedelta | None = None  # from now, by the database's clock; not together with run_at


CREATE_COLUMNS = {
    "state": "text", "token": "text", "job_type": "text", "queue": "text", "run_at": "time", "created_by": "text",
    "data": "json",
}  # fmt: skip


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


def _create_chunk(
    connection: BaseDatabaseWrapper, jobs: Sequence[NewJob], now: datetime, actor: str
) -> list[Message]:
    due = [now + job.delay if job.delay else job.run_at for job in jobs]
    tokens = [new_token() for _ in jobs]
    rows = [
        (
            State.SCHEDULED if run_at else State.ENQUEUED, token, job.job_type, job.queue, run_at, clean(actor, 150),
            job.payload.decode(),
        )
        for job, token, run_at in zip(jobs, tokens, due, strict=True)
    ]  # fmt: skip
    cte, params = rows_cte(connection, "v", CREATE_COLUMNS, rows)
    cast = "::timestamptz" if is_postgresql(connection) else ""
    stamp = to_time(connection, now)
    # The ORM's field defaults are Python's, so each column without a value of its own is named here.
    into = f"""
        INSERT INTO {JOBS} (state, token, job_type, queue, run_at, created_by, created_at, enqueued_at,
                            attempt, failures, crashes, alone, worker, error)
        SELECT state, token, job_type, queue, run_at, created_by, %s{cast},
               CASE WHEN state = 'enqueued' THEN %s{cast} END, 0, 0, 0, FALSE, '', ''
        FROM v
    """  # noqa: S608
    with connection.cursor() as cursor:
        if is_postgresql(connection):
            cursor.execute(
                f"""WITH {cte}, j AS ({into} RETURNING id, token),
                    p AS (INSERT INTO {PAYLOADS} (job_id, data) SELECT j.id, v.data FROM j JOIN v USING (token))
                    SELECT id, token FROM j""",  # noqa: S608
                [*params, stamp, stamp],
            )
            ids = {token: job_id for job_id, token in cursor.fetchall()}
        else:
            cursor.execute(f"WITH {cte} {into} RETURNING id, token", [*params, stamp, stamp])
            ids = {token: job_id for job_id, token in cursor.fetchall()}
            cursor.executemany(
                f"INSERT INTO {PAYLOADS} (job_id, data) VALUES (%s, %s)",  # noqa: S608
                [(ids[token], row[-1]) for token, row in zip(tokens, rows, strict=True)],
            )
    return [
        Message(ids[token], token, job.queue, run_at) for token, job, run_at in zip(tokens, jobs, due, strict=True)
    ]


# --- claim and lease --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Claim:
    """A job that this worker may run now."""

    job_id: int
    token: str
    job_type: str
    queue: str
    attempt: int
    failures: int
    crashes: int
    payload: Any


def claim(
    messages: Sequence[Message], *, worker: str, lease: timedelta, using: str | None = None
) -> list[Claim]:
    """Take those of ``messages`` that still hold, in their order, under a lease in the name of ``worker``.

    Left out are outdated tokens, jobs on a paused queue, and, unless it is the only message, a job that must run
    alone because a worker was lost over it (see ``must_run_alone``).
    """
    if not messages:
        return []
    alias = using or database()
    connection = connections[alias]
    postgresql = is_postgresql(connection)
    cte, params = rows_cte(
        connection, "v", {"id": "id", "token": "text"}, [(m.job_id, m.token) for m in dict.fromkeys(messages)]
    )
    company = "" if len(messages) == 1 else "AND NOT j.alone"
    with transaction.atomic(using=alias):
        now = database_now(connection)
        # `state || ''` keeps the planner on the primary key: with stale statistics it would walk the whole partial
        # index of enqueued jobs instead. SKIP LOCKED, because a second message for the same job must not wait.
        lock, state = ("FOR UPDATE OF j SKIP LOCKED", "j.state || ''") if postgresql else ("", "j.state")
        cast = "::timestamptz" if postgresql else ""
        sql = f"""
            WITH {cte}, picked AS (
                SELECT j.id FROM v JOIN {JOBS} j ON j.id = v.id AND j.token = v.token
                WHERE {state} = 'enqueued' {company} AND NOT EXISTS (
                    SELECT 1 FROM jobs_queueswitch s WHERE s.name = j.queue AND (s.until IS NULL OR s.until > %s{cast})
                )
                ORDER BY j.id {lock}
            )
            UPDATE {JOBS} SET state = 'processing', attempt = attempt + 1, started_at = %s{cast},
                finished_at = NULL, lease_expires_at = %s{cast}, worker = %s
            WHERE id IN (SELECT id FROM picked)
            RETURNING id, token, job_type, queue, attempt, failures, crashes, enqueued_at
        """  # noqa: S608
        stamp = to_time(connection, now)
        with connection.cursor() as cursor:
            cursor.execute(sql, [*params, stamp, stamp, to_time(connection, now + lease), worker])
            rows = cursor.fetchall()
            if not rows:
                return []
            marks = ", ".join(["%s"] * len(rows))
            cursor.execute(
                f"SELECT job_id, data FROM {PAYLOADS} WHERE job_id IN ({marks})",  # noqa: S608
                [row[0] for row in rows],
            )
            payloads = {job_id: json.loads(data) if isinstance(data, str) else data for job_id, data in cursor}
        history = []
        for job_id, _, _, _, attempt, _, _, enqueued_at in rows:
            since = from_time(enqueued_at)
            latency = max((now - since).total_seconds(), 0.0) if since else 0.0
            data = json.dumps({"worker": worker, "latency_seconds": round(latency, 6)})
            history.append((job_id, State.ENQUEUED, State.PROCESSING, now, attempt, "claimed", worker[:150], data))
        insert(connection, JobHistory, HISTORY_COLUMNS, history)
    position = {message.job_id: index for index, message in enumerate(messages)}
    rows.sort(key=lambda row: position[row[0]])
    return [Claim(*row[:7], payload=payloads.get(row[0])) for row in rows]


def must_run_alone(messages: Sequence[Message]) -> list[Message]:
    """Those of ``messages`` that ``claim`` refused only because they came in company."""
    wanted = {(m.job_id, m.token): m for m in messages}
    rows = JobRecord.objects.using(database()).filter(
        alone=True, pk__in=[m.job_id for m in messages], state=State.ENQUEUED
    )
    return [wanted[key] for key in rows.values_list("pk", "token") if key in wanted]


def renew(workers: Sequence[str], *, lease: timedelta) -> dict[int, str]:
    """Extend the leases of ``workers``; which jobs (id: token) they still hold. A row that is locked waits its turn."""
    alias = database()
    with transaction.atomic(using=alias):
        now = database_now(connections[alias])
        held = JobRecord.objects.using(alias).filter(worker__in=workers, state=State.PROCESSING)
        if is_postgresql(connections[alias]):
            ids = list(held.select_for_update(skip_locked=True).order_by("pk").values_list("pk", flat=True))
            JobRecord.objects.using(alias).filter(pk__in=ids, state=State.PROCESSING).update(
                lease_expires_at=now + lease
            )
        else:
            held.update(lease_expires_at=now + lease)
        return dict(held.values_list("pk", "token"))


def held_by(workers: Sequence[str]) -> dict[int, str]:
    """Which jobs (id: token) ``workers`` hold at the moment."""
    held = JobRecord.objects.using(database()).filter(worker__in=workers, state=State.PROCESSING)
    return dict(held.values_list("pk", "token"))


# --- the scheduler's moves --------------------------------------------------------------------------------------------


def promote_due(limit: int = 500) -> list[Message]:
    """Move up to ``limit`` jobs whose ``run_at`` has come to their queues, earliest first. Tokens stay."""
    alias = database()
    with transaction.atomic(using=alias):
        now = database_now(connections[alias])
        due = JobRecord.objects.using(alias).filter(state=State.SCHEDULED, run_at__lte=now).order_by("run_at", "pk")
        if is_postgresql(connections[alias]):
            due = due.select_for_update(skip_locked=True)
        rows = list(due.values_list("pk", "token", "queue")[:limit])
        moves = [
            Move(job_id=pk, token=token, source=State.SCHEDULED, steps=(Step(State.ENQUEUED, "due"),), keep_token=True)
            for pk, token, _ in rows
        ]
        applied = apply(moves, actor="scheduler", using=alias)
    # In the order of their due times, not of their ids.
    return [Message(pk, token, queue) for pk, token, queue in rows if pk in applied.moved]


def seconds_until_due() -> float | None:
    """Seconds until the next scheduled job is due by the database's clock (not below 0); None when there is none."""
    alias = database()
    run_at = (
        JobRecord.objects.using(alias)
        .filter(state=State.SCHEDULED)
        .order_by("run_at", "pk")
        .values_list("run_at", flat=True)
        .first()
    )
    if run_at is None:
        return None
    return max((run_at - database_now(connections[alias])).total_seconds(), 0.0)


def expire_leases(*, max_crashes: int, limit: int = 500) -> Applied:
    """Bring back the jobs of workers whose leases ran out.

    A job that its worker held alone was the one running: that counts as a crash. Of several held together nobody can
    tell which one ran, so none is counted, and each runs alone next time.
    """
    alias = database()
    with transaction.atomic(using=alias):
        now = database_now(connections[alias])
        expired = JobRecord.objects.using(alias).filter(state=State.PROCESSING, lease_expires_at__lt=now).order_by("pk")
        if is_postgresql(connections[alias]):
            expired = expired.select_for_update(skip_locked=True)
        rows = list(expired[:limit])
        company: dict[str, int] = {}
        for row in rows:
            company[row.worker] = company.get(row.worker, 0) + 1
        moves = [
            crash(row.pk, row.token, row.crashes, max_crashes=max_crashes, worker=row.worker)
            if company[row.worker] == 1
            else Move(
                job_id=row.pk,
                token=row.token,
                source=State.PROCESSING,
                steps=(Step(State.ENQUEUED, "its worker was lost with several jobs claimed", {"worker": row.worker}),),
                alone=True,
            )
            for row in rows
        ]
        return apply(moves, actor="recovery", using=alias)


def crash(job_id: int, token: str, crashes: int, *, max_crashes: int, worker: str) -> Move:
    """The move of a job that was running when its worker died: back on its queue, or failed when that was too often."""
    count, data = crashes + 1, {"worker": worker, "crashes": crashes + 1}
    if count < max_crashes:
        step = Step(State.ENQUEUED, f"worker lost while running it ({count} of {max_crashes})", data)
        return Move(job_id=job_id, token=token, source=State.PROCESSING, steps=(step,), crashes_by=1, alone=True)
    reason = f"worker lost {count} times while running it"
    return Move(
        job_id=job_id,
        token=token,
        source=State.PROCESSING,
        steps=(Step(State.FAILED, reason, data),),
        crashes_by=1,
        failure=Failure("handlers.WorkerLost", f"{reason}. The last worker was {worker}; see its host's log for why."),
    )


# --- the verbs of people and programs ---------------------------------------------------------------------------------


def _rows(ids: Sequence[int], expect: Mapping[int, str] | None, alias: str) -> list[JobRecord]:
    rows = JobRecord.objects.using(alias).filter(pk__in=ids).order_by("pk")
    if is_postgresql(connections[alias]):
        rows = rows.select_for_update()
    return [row for row in rows if expect is None or expect.get(row.pk, row.token) == row.token]


def delete(ids: Sequence[int], *, actor: str, reason: str = "", expect: Mapping[int, str] | None = None) -> Applied:
    """Delete jobs that are not final, or failed. A running one keeps running until its token is seen."""
    alias = database()
    with transaction.atomic(using=alias):
        return apply(
            [
                Move(job_id=row.pk, token=row.token, source=State(row.state), steps=(Step(State.DELETED, reason),))
                for row in _rows(ids, expect, alias)
                if row.state in DELETABLE
            ],
            actor=actor,
            using=alias,
        )


def retry(
    ids: Sequence[int],
    *,
    actor: str,
    reason: str = "",
    expect: Mapping[int, str] | None = None,
    payload: bytes | None = None,
) -> Applied:
    """Run failed or scheduled jobs now, in a new round. ``payload`` replaces the arguments of the one job named."""
    alias = database()
    with transaction.atomic(using=alias):
        moves = []
        for row in _rows(ids, expect, alias):
            if row.state not in (State.FAILED, State.SCHEDULED):
                continue
            data = {"old_payload": row.payload} if payload is not None else None
            step = Step(State.ENQUEUED, reason or ("retried" if row.state == State.FAILED else "run now"), data)
            moves.append(
                Move(job_id=row.pk, token=row.token, source=State(row.state), steps=(step,), new_round=True)
            )
        applied = apply(moves, actor=actor, using=alias)
        if payload is not None and applied.moved:
            JobPayload.objects.using(alias).filter(job_id__in=applied.moved).update(data=json.loads(payload))
        return applied


def requeue(ids: Sequence[int], *, actor: str, reason: str = "", expect: Mapping[int, str] | None = None) -> Applied:
    """Run succeeded jobs again, in a new round."""
    alias = database()
    with transaction.atomic(using=alias):
        return apply(
            [
                Move(
                    job_id=row.pk,
                    token=row.token,
                    source=State.SUCCEEDED,
                    steps=(Step(State.ENQUEUED, reason or "requeued"),),
                    new_round=True,
                )
                for row in _rows(ids, expect, alias)
                if row.state == State.SUCCEEDED
            ],
            actor=actor,
            using=alias,
        )


def restore(
    ids: Sequence[int],
    *,
    actor: str,
    within: timedelta,
    reason: str = "",
    expect: Mapping[int, str] | None = None,
) -> Applied:
    """Put jobs deleted within the last ``within`` back to where they were, unless they were running then."""
    alias = database()
    with transaction.atomic(using=alias):
        rows = [row for row in _rows(ids, expect, alias) if row.state == State.DELETED]
        since = database_now(connections[alias]) - within
        origins: dict[int, str] = dict(
            JobHistory.objects.using(alias)
            .filter(job_id__in=[row.pk for row in rows], to_state=State.DELETED)
            .order_by("pk")  # the last one wins
            .values_list("job_id", "from_state")
        )
        moves = []
        for row in rows:
            origin = origins.get(row.pk)
            if origin in (None, State.PROCESSING) or row.finished_at is None or row.finished_at < since:
                continue
            moves.append(
                Move(
                    job_id=row.pk,
                    token=row.token,
                    source=State.DELETED,
                    steps=(Step(State(origin), reason or "restored"),),
                    run_at=row.run_at if origin == State.SCHEDULED else None,
                )
            )
        return apply(moves, actor=actor, using=alias)


# --- retention --------------------------------------------------------------------------------------------------------


def age_out(state: State, *, before: datetime, limit: int = 1_000) -> int:
    """Erase up to ``limit`` jobs that ended in ``state`` before ``before``, with all that hangs on them."""
    if state not in FINAL:
        raise InvalidJob(f"only final states age out, not {state}", field="state")
    alias = database()
    with transaction.atomic(using=alias):
        rows = JobRecord.objects.using(alias).filter(state=state, finished_at__lt=before).order_by("finished_at", "pk")
        if is_postgresql(connections[alias]):
            rows = rows.select_for_update(skip_locked=True)
        ids = list(rows.values_list("pk", flat=True)[:limit])
        for model in (JobHistory, AttemptError, JobPayload):
            children = model._default_manager.using(alias).filter(job_id__in=ids)
            children._raw_delete(alias)
        JobRecord.objects.using(alias).filter(pk__in=ids)._raw_delete(alias)
    return len(ids)
