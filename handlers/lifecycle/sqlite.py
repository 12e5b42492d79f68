"""The life cycle's SQL for SQLite, which writes one table in a statement: each transition is one short transaction."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import cache, partial
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from django.db.models import Model

from handlers.conf import jobs_settings
from handlers.lifecycle import columns, guards
from handlers.lifecycle.columns import Beside
from handlers.lifecycle.counting import Tally
from handlers.models import AttemptError, AttemptLog, JobHistory, JobPayload, JobRecord, JobResult, WatchedMove
from handlers.models.count import Outcome
from handlers.models.sql import among, as_ids, as_rows, database_now, from_time, insert, listed, rows_cte, to_time
from handlers.states import State
from handlers.writing import in_turn, writing

JOBS, PAYLOADS = JobRecord._meta.db_table, JobPayload._meta.db_table
# As columns has them, with what is known once the job has moved.
PAYLOAD = {
    "job_id": "id", "data": "json", "job_type": "text", "queue": "text", "parent_id": "id", "correlation": "text",
    "release": "text", "context": "json", "expires_at": "time",
}  # fmt: skip
# Of columns.CREATE, what the job's own row has.
OWN = {
    name: columns.CREATE[name]
    for name in (
        "state", "token", "job_type", "queue", "run_at", "created_by", "watched", "limited", "priority",
    )
}  # fmt: skip
HISTORY = {"job_id": "id", "from_state": "text", "to_state": "text", "reason": "text", "data": "value"}


def reserve(connection: BaseDatabaseWrapper, number: int) -> list[int]:
    """Ids for jobs to be; in a transaction that has the one lock, so that nobody else takes them."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT COALESCE(MAX(seq), 0) FROM sqlite_sequence WHERE name = %s", [JOBS])
        (last,) = cursor.fetchone()
        cursor.execute("UPDATE sqlite_sequence SET seq = seq + %s WHERE name = %s", [number, JOBS])
        if not cursor.rowcount:
            cursor.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (%s, %s)", [JOBS, number])
    return list(range(last + 1, last + number + 1))


def create(
    connection: BaseDatabaseWrapper,
    rows: Sequence[Sequence[Any]],
    *,
    reserved: Sequence[int | None] | None = None,
    beside: Beside | None = None,
) -> list[tuple[Any, ...]]:
    """Insert jobs (columns.CREATE), with ids that were ``reserved`` for them; their id, token, run_at, created_at.

    ``beside``: what else is written, of a single one.
    """
    now = database_now(connection)
    tally, stamp = Tally(now), to_time(connection, now)
    rows = [(*row[:4], _due(row[4], row[5], now), *row[5:-2], _due(row[-2], row[-1], now)) for row in rows]
    own: list[tuple[Any, ...]] = [(*row[:5], *row[6:10]) for row in rows]
    if reserved is not None:
        own = [(job_id, *row) for job_id, row in zip(reserved, own, strict=True)]
    if single := len(own) == 1:
        row = [to_time(connection, value) if isinstance(value, datetime) else value for value in own[0]]
        params = [*row, stamp, stamp if rows[0][0] == State.ENQUEUED.value else None]
    else:
        params = [as_rows(connection, own), stamp, stamp]
    # Where it fails, so has its caller's transaction, as on PostgreSQL.
    with _one_step(connection, savepoint=False) as cursor:
        cursor.execute(_create_sql(single=single, reserved=reserved is not None), params)
        ids = {token: job_id for job_id, token in cursor.fetchall()}
        payloads = []
        for _, token, job_type, queue, _, _, _, _, _, _, data, *kin in rows:
            payloads.append((ids[token], data, job_type, queue, *kin))
            tally.add(queue, job_type, Outcome.CREATED)
        insert(connection, JobPayload, PAYLOAD, payloads, cursor=cursor)
        tally.save(connection, cursor)
        if beside is not None:
            cursor.execute(beside.sql, {**beside.params, "job_id": ids[rows[0][1]], "at": stamp})
    return [(ids[row[1]], row[1], row[4], now) for row in rows]


@cache
def _create_sql(*, single: bool, reserved: bool) -> str:
    own, names = ("id, ", {"id": "id"} | OWN) if reserved else ("", OWN)
    # The ORM's field defaults are Python's, so each column without a value of its own is named here.
    into = f"""
        INSERT INTO {JOBS} ({own}state, token, job_type, queue, run_at, created_by, watched, limited, priority,
                            created_at, enqueued_at, attempt, failures, crashes, alone, worker, error, fingerprint)
    """
    rest = "0, 0, 0, FALSE, '', '', ''"
    if single:
        return f"{into} VALUES ({', '.join('%s' for _ in names)}, %s, %s, {rest}) RETURNING id, token"
    return f"""
        WITH {rows_cte("v", names, postgresql=False)} {into}
        SELECT {own}state, token, job_type, queue, run_at, created_by, watched, limited, priority, %s,
               CASE WHEN state = 'enqueued' THEN %s END, {rest}
        FROM v WHERE TRUE
        RETURNING id, token
    """


def claim(
    connection: BaseDatabaseWrapper,
    wanted: Sequence[tuple[int, str]],
    *,
    worker: str,
    lease: timedelta,
    company: bool,
    seen_to: str = "",
    told: bool = False,
) -> list[tuple[Any, ...]]:
    """Claim those of ``wanted`` that may run; the fields of each Claim, the payload as JSON text.

    ``told``: behind them when.
    """
    asked = as_rows(connection, wanted)
    with _one_step(connection) as cursor:
        now = database_now(connection)  # once it is our turn: the lease begins then
        stamp = to_time(connection, now)
        params = {"rows": asked, "now": stamp, "expires": to_time(connection, now + lease), "worker": worker}
        cursor.execute(_claim_sql(company=company, seen_to=seen_to), params)
        rows = cursor.fetchall()
        if not rows:
            return []
        steps, tally = [], Tally(now)
        facts = {"version": version} if (version := jobs_settings().version) else {}
        for job_id, _, job_type, queue, _, _, _, _, _, enqueued_at in rows:
            since = from_time(enqueued_at)
            latency = max((now - since).total_seconds(), 0.0) if since else 0.0
            steps.append((job_id, {"worker": worker, "latency_seconds": round(latency, 6), **facts}))
            tally.add(queue, job_type, Outcome.STARTED, seconds=latency)
        given = {"from_state": State.ENQUEUED.value, "to_state": State.PROCESSING.value, "reason": "claimed"}
        given |= {"at": stamp, "actor": worker[:150]}
        _append(cursor, JobHistory, {"job_id": "id", "data": "value"}, as_rows(connection, steps), given)
        tally.save(connection, cursor)
    # Outside the transaction, whose time counts most: nobody changes the arguments of a job that is ours.
    with connection.cursor() as cursor:
        cursor.execute(_payload_sql(), [stamp, as_ids(connection, listed(row[0] for row in rows))])
        beside = {job_id: found for job_id, *found in cursor.fetchall()}
    found = [(row, *beside.get(row[0], (None, "", None, None))) for row in rows]
    when = (now,) if told else ()
    return [
        (*row[:7], data, family, bool(row[7]), expired, row[8], context, *when)
        for row, data, family, expired, context in found
    ]


@cache
def _claim_sql(*, company: bool, seen_to: str) -> str:
    changes = """
        state = 'processing', attempt = attempt + 1, started_at = %(now)s, finished_at = NULL,
        lease_expires_at = %(expires)s, worker = %(worker)s
        RETURNING id, token, job_type, queue, attempt, failures, crashes, alone, created_at, enqueued_at
    """
    guard = f"""
        j.state = 'enqueued' {"AND NOT j.alone" if company else ""}
        AND j.queue NOT IN (SELECT name FROM jobs_queueswitch WHERE until IS NULL OR until > %(now)s)
        AND j.job_type NOT IN (SELECT name FROM jobs_typeswitch WHERE until IS NULL OR until > %(now)s)
        {guards.sql(without=seen_to)}
    """
    return _update(columns.CLAIM, "token", guard, changes)


@cache
def _payload_sql() -> str:
    of = f"FROM {PAYLOADS} WHERE job_id = ids.value"
    return f"""
        SELECT value, (SELECT data {of}), (SELECT correlation {of}), (SELECT expires_at <= %s {of}),
            (SELECT context {of})
        FROM json_each(%s) AS ids
    """


def promote(connection: BaseDatabaseWrapper, limit: int, *, told: bool = False) -> list[tuple[Any, ...]]:
    """Move up to ``limit`` jobs that are due to their queues; id, token, queue and priority, the earliest first.

    ``told``: behind them their type, their attempt, and when.
    """
    with _one_step(connection) as cursor:
        now = database_now(connection)
        stamp = to_time(connection, now)
        cursor.execute(DUE.format(more=TOLD if told else ""), [stamp, limit])
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        if not rows:
            return []
        cursor.execute(_promote_sql(), {"rows": as_rows(connection, [row[:2] for row in rows]), "now": stamp})
        given = {"from_state": State.SCHEDULED.value, "to_state": State.ENQUEUED.value, "reason": "due"}
        given |= {"at": stamp, "actor": "scheduler"}
        _append(cursor, JobHistory, {"job_id": "id"}, as_rows(connection, [row[:1] for row in rows]), given)
    return [(*row, now) for row in rows] if told else rows


TOLD = ", job_type, attempt"
DUE = f"""
    SELECT id, token, queue, priority{{more}} FROM {JOBS}
    WHERE state = 'scheduled' AND run_at <= %s ORDER BY run_at, id LIMIT %s
"""


@cache
def _promote_sql() -> str:
    return _update(columns.CLAIM, "token", "TRUE", "state = 'enqueued', run_at = NULL, enqueued_at = %(now)s")


def release(
    connection: BaseDatabaseWrapper, ids: Sequence[int], reason: str, actor: str, *, told: bool = False
) -> list[tuple[Any, ...]]:
    """Move those of ``ids`` that await something to their queues; id, token, queue and priority, by id.

    ``told``: behind them as ``promote``.
    """
    with _one_step(connection) as cursor:
        now = database_now(connection)
        stamp = to_time(connection, now)
        cursor.execute(AWAITING.format(more=TOLD if told else ""), [as_ids(connection, listed(ids))])
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        cursor.execute(_release_sql(), {"rows": as_rows(connection, [row[:2] for row in rows]), "now": stamp})
        given = {"from_state": State.AWAITING.value, "to_state": State.ENQUEUED.value, "reason": reason}
        given |= {"at": stamp, "actor": actor}
        _append(cursor, JobHistory, {"job_id": "id"}, as_rows(connection, [row[:1] for row in rows]), given)
    return [(*row, now) for row in rows] if told else rows


AWAITING = f"""
    SELECT id, token, queue, priority{{more}} FROM {JOBS}
    WHERE id IN (SELECT value FROM json_each(%s)) AND state || '' = 'awaiting' ORDER BY id
"""


@cache
def _release_sql() -> str:
    return _update(columns.CLAIM, "token", "j.state = 'awaiting'", "state = 'enqueued', enqueued_at = %(now)s")


def move(connection: BaseDatabaseWrapper, batch: columns.MoveBatch) -> columns.Moved:
    """Move those of the batch whose guards hold."""
    now = database_now(connection)
    stamp = to_time(connection, now)
    # Jobs that change alike are one statement, whose rows only say which; changes with other steps may be alike, too.
    alike: defaultdict[tuple[Any, ...], list[tuple[Any, ...]]] = defaultdict(list)
    for job_id, token, new_token, number, _ in batch.rows:
        alike[tuple(batch.changes[number - 1])].append((job_id, token, new_token))
    changes = [
        dict(zip(columns.CHANGE, values, strict=True)) | {"now": stamp, "rows": as_rows(connection, which)}
        for values, which in alike.items()
    ]
    seconds = {job_id: took for job_id, *_, took in batch.rows}
    beside = list(_history(batch)), batch.errors, batch.logs, batch.results
    steps, errors, logs, results = (as_rows(connection, some) for some in beside)
    moved: dict[int, tuple[Any, ...]] = {}
    told_watched: list[int] = []
    told_limited: list[int] = []
    tally = Tally(now)
    with _one_step(connection) as cursor:
        for change in changes:
            run_at = _due(change["run_at"], change["delay"], now)
            cursor.execute(_move_sql(batch.told), change | {"run_at": to_time(connection, run_at)})
            outcome, failure = (
                change["outcome"],
                {"fingerprint": change["fingerprint"] or "", "version": change["version"]},
            )
            tells = change["source"] != State.AWAITING or change["state"] == State.DELETED
            for job_id, queue, job_type, watched, limited, priority, *attempt in cursor.fetchall():
                moved[job_id] = queue, run_at, priority
                if batch.told:
                    moved[job_id] += job_type, *attempt, now
                for ids, flag in ((told_watched, watched), (told_limited, limited)):
                    if flag and tells:
                        ids.append(job_id)
                if outcome is not None:
                    tally.add(queue, job_type, outcome, **failure, seconds=seconds[job_id])
        if len(moved) < len(batch.rows):
            steps, errors, logs, results = (
                as_rows(connection, [row for row in some if row[0] in moved]) for some in beside
            )
        _append(cursor, JobHistory, HISTORY, steps, {"at": stamp, "actor": batch.actor})
        _append(cursor, AttemptError, columns.ERROR, errors, {"at": stamp})
        _append(cursor, AttemptLog, columns.LOG, logs, {})
        _append(cursor, JobResult, columns.RESULT, results, {"at": stamp})
        if told_watched or told_limited:
            row = json.dumps(told_watched), json.dumps(told_limited), now
            insert(connection, WatchedMove, {"jobs": "json", "limited": "json", "at": "time"}, [row])
        tally.save(connection, cursor)
    return columns.Moved(
        moved, bool(told_watched or told_limited), [(job_id, *where) for job_id, where in moved.items()]
    )


def move_to_queue(
    connection: BaseDatabaseWrapper, rows: Sequence[Sequence[Any]], queue: str, actor: str
) -> dict[int, Any]:
    """Put those jobs of ``rows`` (columns.TO_QUEUE) whose guards hold on ``queue``; when, by their ids."""
    stamp = to_time(connection, now := database_now(connection))
    with _one_step(connection) as cursor:
        params = {"rows": as_rows(connection, rows), "queue": queue, "now": stamp}
        cursor.execute(_to_queue_sql(), params)
        moved = [job_id for (job_id,) in cursor.fetchall()]
        which = among(postgresql=False)
        cursor.execute(
            f"UPDATE {PAYLOADS} SET queue = %s WHERE job_id {which}", [queue, as_ids(connection, listed(moved))]
        )
        held = set(moved)
        steps = [(job_id, state, state, reason, data) for job_id, _, _, state, reason, data in rows if job_id in held]
        _append(cursor, JobHistory, HISTORY, as_rows(connection, steps), {"at": stamp, "actor": actor})
    return dict.fromkeys(moved, now)


@cache
def _to_queue_sql() -> str:
    changes = """
        token = excluded.token, queue = %(queue)s,
        enqueued_at = CASE WHEN state = 'enqueued' THEN %(now)s ELSE enqueued_at END
        RETURNING id
    """
    return _update(columns.TO_QUEUE, "new_token", "j.state = v.state", changes)


def _history(batch: columns.MoveBatch) -> Iterator[tuple[Any, ...]]:
    """The batch's steps job by job (HISTORY)."""
    steps: defaultdict[int, list[tuple[Any, ...]]] = defaultdict(list)
    for number, *step in batch.steps:
        steps[number].append(tuple(step))
    for job_id, _, _, number, seconds in batch.rows:
        for is_first, source, target, reason, data in steps[number]:
            took = {"duration_seconds": seconds} if is_first and seconds is not None else {}
            yield job_id, source, target, reason, {**(data or {}), **took} or None


@cache
def _move_sql(told: bool) -> str:
    changes = f"""
        state = %(state)s,
        token = excluded.token,
        attempt = attempt + %(attempt_by)s,
        failures = CASE WHEN %(new_round)s THEN 0 ELSE failures + %(failures_by)s END,
        crashes = CASE WHEN %(new_round)s THEN 0 ELSE crashes + %(crashes_by)s END,
        alone = CASE WHEN %(new_round)s THEN %(alone)s ELSE {JOBS}.alone OR %(alone)s END,
        run_at = CASE WHEN %(state)s IN ('scheduled', 'waiting') THEN %(run_at)s
                      WHEN %(state)s = 'deleted' THEN {JOBS}.run_at END,
        enqueued_at = CASE WHEN %(state)s = 'enqueued' THEN %(now)s ELSE enqueued_at END,
        started_at = CASE WHEN %(state)s IN ('enqueued', 'scheduled', 'waiting') THEN NULL ELSE started_at END,
        finished_at = CASE WHEN %(state)s IN ('succeeded', 'failed', 'deleted') THEN %(now)s END,
        lease_expires_at = NULL,
        worker = CASE WHEN %(state)s IN ('enqueued', 'scheduled', 'waiting') THEN '' ELSE worker END,
        error = COALESCE(%(error)s, {JOBS}.error),
        fingerprint = COALESCE(%(fingerprint)s, {JOBS}.fingerprint)
        RETURNING id, queue, job_type, watched, limited, priority{", attempt" if told else ""}
    """
    return _update(columns.WHICH, "new_token", "j.state = %(source)s", changes)


def _update(kinds: dict[str, str], token: str, guard: str, changes: str) -> str:
    """The SQL that makes ``changes`` to the jobs (j) in rows of ``kinds`` whose tokens and ``guard`` hold.

    ``token`` names the rows' column that is ``excluded.token`` in ``changes``. An UPDATE in all but its words, since
    every such job is there. How to join, SQLite decides by the database's statistics, and with those of a small table
    an UPDATE would read the whole of a large one. Here it has nothing to decide, nor in a subquery of one row by key.
    """
    unset = [str(field.column) for field in JobRecord._meta.concrete_fields if not field.null]
    unset = [name for name in unset if name not in ("id", "token")]
    return f"""
        WITH {_rows(kinds)}
        INSERT INTO {JOBS} (id, token, {", ".join(unset)})
        SELECT id, {token}, {", ".join("0" for _ in unset)} FROM v
        WHERE (SELECT j.token = v.token AND {guard} FROM {JOBS} j WHERE j.id = v.id)
        ON CONFLICT (id) DO UPDATE SET {changes}
    """


def _append(cursor: CursorWrapper, model: type[Model], kinds: dict[str, str], rows: str, given: dict[str, Any]) -> None:
    """Insert ``rows``, which ``as_rows`` made of ``kinds``, with their jobs' attempts and what is ``given`` for all."""
    if rows != "[]":
        cursor.execute(_append_sql(model._meta.db_table, tuple(kinds), tuple(given)), {"rows": rows, **given})


@cache
def _append_sql(table: str, names: tuple[str, ...], given: tuple[str, ...]) -> str:
    return f"""
        WITH {_rows(dict.fromkeys(names, ""))}
        INSERT OR REPLACE INTO {table} ({", ".join((*names, "attempt", *given))})
        SELECT {", ".join(names)}, (SELECT attempt FROM {JOBS} WHERE id = job_id)
            {"".join(f", %({name})s" for name in given)}
        FROM v
    """


def _rows(kinds: dict[str, str]) -> str:
    return rows_cte("v", kinds, postgresql=False).replace("%s", "%(rows)s")


@contextmanager
def _one_step(connection: BaseDatabaseWrapper, *, savepoint: bool = True) -> Iterator[CursorWrapper]:
    """A cursor in a transaction that may write: one inside the caller's, if there is one."""
    if connection.in_atomic_block or not connection.get_autocommit():
        with writing(connection.alias, savepoint=savepoint), connection.cursor() as cursor:
            yield cursor
        return
    # Without Django's atomic, with which each try to begin costs four times as much: nothing in here needs the rest.
    with connection.cursor() as cursor:
        try:
            in_turn(connection, partial(cursor.execute, "BEGIN IMMEDIATE"))
            yield cursor
            cursor.execute("COMMIT")
        except BaseException:
            if connection.connection.in_transaction:
                cursor.execute("ROLLBACK")
            raise


def _due(run_at: datetime | None, delay: float | None, now: datetime) -> datetime | None:
    return run_at if delay is None else now + timedelta(seconds=delay)
