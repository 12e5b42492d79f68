"""The life cycle's SQL for PostgreSQL: each transition of a batch, with all that it writes, is one statement.

So it needs no transaction of its own, one round trip, and, where the connection may prepare, no planning.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import cache
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from handlers.conf import jobs_settings
from handlers.lifecycle import columns, guards
from handlers.lifecycle.columns import Beside, Moved
from handlers.models import (
    AttemptError,
    AttemptLog,
    JobCountDelta,
    JobHistory,
    JobPayload,
    JobRecord,
    JobResult,
    WatchedMove,
)
from handlers.models.count import BUCKETS, Outcome
from handlers.models.sql import LOCK_JOBS, as_ids, as_rows, fetch, from_epoch, listed, one_line, one_row, rows_cte

JOBS, PAYLOADS, HISTORY = JobRecord._meta.db_table, JobPayload._meta.db_table, JobHistory._meta.db_table
ERRORS, LOGS, DELTAS = AttemptError._meta.db_table, AttemptLog._meta.db_table, JobCountDelta._meta.db_table
RESULTS, WATCHED = JobResult._meta.db_table, WatchedMove._meta.db_table
# Beside a join that says the same: an array makes the planner go by the primary key, where the join alone would read
# the whole table as long as that is small, or was when the plan was made.
# And `state || ''` keeps it off the partial indexes, which it would walk as a whole when statistics are stale; it makes
# it expect one row, too, for which the update then goes by the key.
BY_KEY = "j.id = ANY (ARRAY(SELECT id FROM v))"
# What is found like that is expected to be one row: a join with ``v`` may then be a loop over all of that for each.
# Asked like this, which is no join, it is a look into a hash.
AS_ASKED = f"{BY_KEY} AND ((j.id, j.token) IN (SELECT id, token FROM v)) IS TRUE"
# Asked for in this way, too: read once for all jobs, and not for each.
SWITCHED = "SELECT name FROM {} WHERE until IS NULL OR until > statement_timestamp()"
CLOCK = "clock AS MATERIALIZED (SELECT clock_timestamp() AS now)"


def reserve(connection: BaseDatabaseWrapper, number: int) -> list[int]:
    """Ids for jobs to be."""
    return [job_id for (job_id,) in fetch(connection, RESERVE, [number])]


RESERVE = f"SELECT nextval(pg_get_serial_sequence('{JOBS}', 'id')) FROM generate_series(1, %s)"


def create(
    connection: BaseDatabaseWrapper,
    rows: Sequence[Sequence[Any]],
    *,
    reserved: Sequence[int | None] | None = None,
    beside: Beside | None = None,
) -> list[tuple[Any, ...]]:
    """Insert jobs (columns.CREATE), with ids that were ``reserved`` for them; their id, token, run_at, created_at.

    ``beside``: what else is written, of a single one without a reserved id.
    """
    if reserved is not None:
        rows = [(job_id, *row) for job_id, row in zip(reserved, rows, strict=True)]
        made = fetch(connection, _create_sql(single=False, reserved=True), [as_rows(connection, rows)])
    elif len(rows) == 1:
        params, more = dict(zip(columns.CREATE, rows[0], strict=True)), ""
        if beside is not None:
            params, more = {**params, **beside.params}, beside.sql
        made = fetch(connection, _create_sql(single=True, more=more), params, keep=True)
    else:
        made = fetch(connection, _create_sql(single=False), [as_rows(connection, rows)])
    created_at = from_epoch(made[0][3])  # of all of them: read once
    return [(job_id, token, run_at, created_at) for job_id, token, run_at, _ in made]


@cache
def _create_sql(*, single: bool, reserved: bool = False, more: str = "") -> str:
    # A single row needs no CTE, and its count no grouping: most of what such a statement costs is setting out its plan.
    own, names = ("id, ", columns.RESERVED) if reserved else ("", columns.CREATE)
    cte, v = ("", one_row("v", names)) if single else (f"{rows_cte('v', names)},", "v")
    count, group = ("1", "") if single else ("COUNT(*)", "GROUP BY created_at, queue, job_type")
    # The ORM's field defaults are Python's, so each column without a value of its own is named here.
    return f"""
        WITH {cte}
        made AS (
            INSERT INTO {JOBS} ({own}state, token, job_type, queue, run_at, created_by, watched, limited, priority,
                                created_at, enqueued_at, attempt, failures, crashes, alone, worker, error, fingerprint)
            SELECT {own}state, token, job_type, queue,
                   COALESCE(run_at, statement_timestamp() + make_interval(secs => delay)), created_by, watched, limited,
                   priority, statement_timestamp(), CASE WHEN state = 'enqueued' THEN statement_timestamp() END,
                   0, 0, 0, FALSE, '', '', ''
            FROM {v}
            RETURNING id, token, job_type, queue, run_at, created_at
        ),
        beside AS (
            INSERT INTO {PAYLOADS} (job_id, data, job_type, queue, parent_id, correlation, release, context, expires_at)
            SELECT made.id, data, made.job_type, made.queue, parent_id, correlation, release, context,
                   COALESCE(expires_at, created_at + make_interval(secs => expires_in))
            FROM made JOIN {v} USING (token)
        ),
        counts AS (
            INSERT INTO {DELTAS} (minute, queue, job_type, outcome, fingerprint, version, count, seconds)
            SELECT date_trunc('minute', created_at), queue, job_type, '{Outcome.CREATED}', '', '', {count}, 0
            FROM made {group}
        ){f", more AS ({more})" if more else ""}
        SELECT id, token, run_at, date_part('epoch', created_at) FROM made
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
    single = len(wanted) == 1
    version = jobs_settings().version
    params = {"lease": lease, "worker": worker, "actor": worker[:150], "version": version}
    if single:
        params |= zip(columns.CLAIM, wanted[0], strict=True)
    else:
        params["rows"] = as_rows(connection, wanted)
    return fetch(
        connection,
        _claim_sql(single=single, company=company, seen_to=seen_to, versioned=bool(version), when=told),
        params,
        keep=single,
    )


@cache
def _claim_sql(*, single: bool, company: bool, seen_to: str, versioned: bool, when: bool) -> str:
    told = "'worker', %(worker)s::text, " + ("'version', %(version)s::text, " if versioned else "")
    # A single job is found without a table of what is wanted, and counted without grouping: a sixth less work.
    if single:
        cte, which = "", f"{JOBS} j WHERE j.id = %(id)s AND j.token = %(token)s"
    else:
        cte = f"{rows_cte('v', columns.CLAIM, rows='%(rows)s')},"
        which = f"{JOBS} j WHERE {AS_ASKED}"
    may = "AND NOT j.alone" if company else ""
    if proof := guards.proof(seen_to):
        # Looked at, and locked, before the job is: who takes it away locks the job first, which is then passed over.
        # (All at once: a look for each might go through the table each time, by a plan from when that was small.)
        one = "x.job_id = %(id)s" if single else "x.job_id = ANY (ARRAY(SELECT id FROM v))"
        cte += f"""
        proven AS MATERIALIZED (
            SELECT x.job_id, x.token FROM {proof} x WHERE {one} FOR KEY SHARE SKIP LOCKED
        ),"""
        may += " AND ((j.id, j.token) IN (SELECT job_id, token FROM proven)) IS TRUE"
    # SKIP LOCKED, because a second message for the same job must not wait. So nothing here does.
    return f"""
        WITH {cte}
        picked AS (
            SELECT j.id FROM {which} AND j.state || '' = 'enqueued' {may}
                AND (j.queue IN ({SWITCHED.format("jobs_queueswitch")})) IS NOT TRUE
                AND (j.job_type IN ({SWITCHED.format("jobs_typeswitch")})) IS NOT TRUE
                {guards.sql(without=seen_to)}
            ORDER BY j.id {LOCK_JOBS} OF j SKIP LOCKED
        ),
        taken AS (
            UPDATE {JOBS} j SET state = 'processing', attempt = attempt + 1, started_at = statement_timestamp(),
                finished_at = NULL, lease_expires_at = statement_timestamp() + %(lease)s::interval, worker = %(worker)s
            FROM picked WHERE j.id = picked.id
            RETURNING j.id, token, job_type, queue, attempt, failures, crashes, alone, created_at, started_at AS now,
                '{Outcome.STARTED}' AS outcome, '' AS fingerprint, '' AS version,
                GREATEST(date_part('epoch', started_at - enqueued_at), 0) AS seconds
        ),
        history AS (
            INSERT INTO {HISTORY} (job_id, from_state, to_state, at, attempt, reason, actor, data)
            SELECT id, 'enqueued', 'processing', now, attempt, 'claimed', %(actor)s,
                jsonb_build_object({told}'latency_seconds', round(seconds::numeric, 6))
            FROM taken
        ),
        {_count("taken") if single else _counts("taken")}
        SELECT t.id, t.token, t.job_type, t.queue, t.attempt, t.failures, t.crashes, p.data, p.correlation, t.alone,
            p.expires_at <= t.now, date_part('epoch', t.created_at), p.context{", t.now" if when else ""}
        FROM taken t LEFT JOIN {PAYLOADS} p ON p.job_id = t.id
    """


def promote(connection: BaseDatabaseWrapper, limit: int, *, told: bool = False) -> list[tuple[Any, ...]]:
    """Move up to ``limit`` jobs that are due to their queues; id, token, queue and priority, the earliest first.

    ``told``: behind them their type, their attempt, and when.
    """
    return fetch(connection, PROMOTE.format(more=TOLD if told else ""), [limit])


# What is locked is in the hands of another scheduler or of a person. Nothing is counted: the schedule was, when made.
PROMOTE = f"""
    WITH picked AS (
        SELECT id, token, queue, priority, run_at, job_type, attempt FROM {JOBS}
        WHERE state = 'scheduled' AND run_at <= statement_timestamp()
        ORDER BY run_at, id LIMIT %s {LOCK_JOBS} SKIP LOCKED
    ),
    moved AS (
        UPDATE {JOBS} SET state = 'enqueued', run_at = NULL, enqueued_at = statement_timestamp()
        WHERE id = ANY (ARRAY(SELECT id FROM picked))
        RETURNING id, attempt
    ),
    history AS (
        INSERT INTO {HISTORY} (job_id, from_state, to_state, at, attempt, reason, actor)
        SELECT id, 'scheduled', 'enqueued', statement_timestamp(), attempt, 'due', 'scheduler' FROM moved
    )
    SELECT id, token, queue, priority{{more}} FROM picked ORDER BY run_at, id
"""
TOLD = ", job_type, attempt, statement_timestamp()"


def release(
    connection: BaseDatabaseWrapper, ids: Sequence[int], reason: str, actor: str, *, told: bool = False
) -> list[tuple[Any, ...]]:
    """Move those of ``ids`` that await something to their queues; id, token, queue and priority, by id.

    ``told``: behind them as ``promote``.
    """
    params = {"ids": as_ids(connection, listed(ids)), "reason": reason, "actor": actor}
    return fetch(connection, RELEASE.format(more=TOLD if told else ""), params)


# Nothing is counted here, either.
RELEASE = f"""
    WITH picked AS (
        SELECT j.id FROM {JOBS} j
        WHERE j.id = ANY (ARRAY(SELECT unnest(%(ids)s::bigint[]))) AND j.state || '' = 'awaiting'
        ORDER BY j.id {LOCK_JOBS}
    ),
    moved AS (
        UPDATE {JOBS} j SET state = 'enqueued', enqueued_at = statement_timestamp()
        FROM picked WHERE j.id = picked.id
        RETURNING j.id, token, queue, priority, attempt, job_type
    ),
    history AS (
        INSERT INTO {HISTORY} (job_id, from_state, to_state, at, attempt, reason, actor)
        SELECT id, 'awaiting', 'enqueued', statement_timestamp(), attempt, %(reason)s, %(actor)s FROM moved
    )
    SELECT id, token, queue, priority{{more}} FROM moved ORDER BY id
"""


def move(connection: BaseDatabaseWrapper, batch: columns.MoveBatch) -> Moved:
    """Move those of the batch whose guards hold."""
    params = [as_rows(connection, some) for some in (batch.changes, batch.rows, batch.steps)] + [batch.actor]
    params += [as_rows(connection, some) for some in (batch.errors, batch.logs, batch.results) if some]
    sql = _move_sql(
        errors=bool(batch.errors),
        logs=bool(batch.logs),
        results=bool(batch.results),
        tells=batch.tells,
        told=batch.told,
    )
    rows = fetch(connection, sql, params, keep=len(batch.rows) == 1)
    if not batch.tells:
        ids, watched = rows[0]
        return Moved(ids, watched, rows=())
    return Moved([row[0] for row in rows], any(row[1] for row in rows), [(row[0], *row[2:]) for row in rows])


@cache
def _move_sql(*, errors: bool, logs: bool, results: bool, tells: bool, told: bool) -> str:
    # Of jobs that have ended nobody asks more than whether they have: one row for all, a tenth of a batch's time.
    answer = "COALESCE(array_agg(id), '{}'), COALESCE(bool_or(tells AND (watched OR limited)), FALSE)"
    if tells:
        answer = "id, tells AND (watched OR limited), queue, run_at, priority"
    if told:
        answer += ", job_type, attempt, now"
    beside = ""
    if errors:
        names = ", ".join(list(columns.ERROR)[1:])
        beside += f"""{rows_cte("e", columns.ERROR)},
        errors AS (
            INSERT INTO {ERRORS} (job_id, attempt, at, {names})
            SELECT job_id, attempt, now, {", ".join(f"e.{name}" for name in list(columns.ERROR)[1:])}
            FROM e JOIN moved ON moved.id = e.job_id
        ), """
    if logs:
        beside += f"""{rows_cte("l", columns.LOG)},
        logs AS (
            INSERT INTO {LOGS} (job_id, attempt, lines)
            SELECT job_id, attempt, lines FROM l JOIN moved ON moved.id = job_id
        ), """
    if results:
        beside += f"""{rows_cte("r", columns.RESULT)},
        results AS (
            INSERT INTO {RESULTS} (job_id, attempt, at, data)
            SELECT job_id, attempt, now, data FROM r JOIN moved ON moved.id = job_id
            ON CONFLICT (job_id) DO UPDATE SET attempt = excluded.attempt, at = excluded.at, data = excluded.data
        ), """
    # `held` is the guard, and the order of the locks: an UPDATE alone locks in the order of its plan.
    return one_line(f"""
        WITH {CLOCK}, {rows_cte("c", columns.CHANGE, place="number")}, {rows_cte("v", columns.MOVE)},
        held AS (
            SELECT v.* FROM v JOIN c ON c.number = v.change JOIN {JOBS} j ON j.id = v.id AND j.token = v.token
            WHERE {BY_KEY} AND j.state || '' = c.source
            ORDER BY j.id {LOCK_JOBS} OF j
        ),
        moved AS (
            UPDATE {JOBS} j SET
                state = c.state,
                token = v.new_token,
                attempt = attempt + c.attempt_by,
                failures = CASE WHEN c.new_round THEN 0 ELSE failures + c.failures_by END,
                crashes = CASE WHEN c.new_round THEN 0 ELSE crashes + c.crashes_by END,
                alone = CASE WHEN c.new_round THEN c.alone ELSE j.alone OR c.alone END,
                run_at = CASE WHEN c.state IN ('scheduled', 'waiting')
                                   THEN COALESCE(c.run_at, now + make_interval(secs => c.delay))
                              WHEN c.state = 'deleted' THEN j.run_at END,
                enqueued_at = CASE WHEN c.state = 'enqueued' THEN now ELSE enqueued_at END,
                started_at = CASE WHEN c.state IN ('enqueued', 'scheduled', 'waiting') THEN NULL ELSE started_at END,
                finished_at = CASE WHEN c.state IN ('succeeded', 'failed', 'deleted') THEN now END,
                lease_expires_at = NULL,
                worker = CASE WHEN c.state IN ('enqueued', 'scheduled', 'waiting') THEN '' ELSE worker END,
                error = COALESCE(c.error, j.error),
                fingerprint = COALESCE(c.fingerprint, j.fingerprint)
            FROM clock, held v JOIN c ON c.number = v.change
            WHERE j.id = v.id
            RETURNING j.id, j.attempt, j.queue, j.job_type, j.run_at, j.priority, now, c.outcome,
                c.source <> 'awaiting' OR c.state = 'deleted' AS tells, j.watched, j.limited,
                COALESCE(c.fingerprint, '') AS fingerprint, c.version, v.change, v.seconds
        ),
        {rows_cte("s", columns.STEP, place="place")},
        history AS (
            INSERT INTO {HISTORY} (job_id, from_state, to_state, at, attempt, reason, actor, data)
            SELECT id, from_state, to_state, now, attempt, reason, %s, CASE WHEN first AND seconds IS NOT NULL
                THEN COALESCE(data, '{{}}') || jsonb_build_object('duration_seconds', seconds) ELSE data END
            FROM moved JOIN s USING (change) ORDER BY id, place
        ),
        watched AS (
            INSERT INTO {WATCHED} (jobs, limited, at)
            SELECT COALESCE(jsonb_agg(id) FILTER (WHERE watched), '[]'),
                COALESCE(jsonb_agg(id) FILTER (WHERE limited), '[]'), MIN(now)
            FROM moved WHERE tells AND (watched OR limited) HAVING COUNT(*) > 0
        ),
        {beside}{_counts("moved")}
        SELECT {answer} FROM moved
    """)


def move_to_queue(
    connection: BaseDatabaseWrapper, rows: Sequence[Sequence[Any]], queue: str, actor: str
) -> dict[int, Any]:
    """Put those jobs of ``rows`` (columns.TO_QUEUE) whose guards hold on ``queue``; when, by their ids."""
    params = {"rows": as_rows(connection, rows), "queue": queue, "actor": actor}
    return dict(fetch(connection, _to_queue_sql(), params))


@cache
def _to_queue_sql() -> str:
    return f"""
        WITH {CLOCK}, {rows_cte("v", columns.TO_QUEUE, rows="%(rows)s")},
        held AS (
            SELECT v.* FROM v JOIN {JOBS} j ON j.id = v.id AND j.token = v.token
            WHERE {BY_KEY} AND j.state || '' = v.state
            ORDER BY j.id {LOCK_JOBS} OF j
        ),
        moved AS (
            UPDATE {JOBS} j SET token = v.new_token, queue = %(queue)s,
                enqueued_at = CASE WHEN j.state = 'enqueued' THEN now ELSE enqueued_at END
            FROM clock, held v WHERE j.id = v.id
            RETURNING j.id, j.state, j.attempt, now, v.reason, v.data
        ),
        beside AS (
            UPDATE {PAYLOADS} SET queue = %(queue)s FROM moved WHERE job_id = moved.id
        ),
        history AS (
            INSERT INTO {HISTORY} (job_id, from_state, to_state, at, attempt, reason, actor, data)
            SELECT id, state, state, now, attempt, reason, %(actor)s, data FROM moved ORDER BY id
        )
        SELECT id, now FROM moved
    """


# width_bucket() counts the bounds that are not above its value. Asked with both negated it counts those that are not
# below, and the rest are below: the number of the bucket, as ``counting.bucket`` has it.
_BOUNDS = ", ".join(str(-bound) for bound in reversed(BUCKETS))
BUCKET = f"{len(BUCKETS)} - width_bucket(-seconds, ARRAY[{_BOUNDS}]::float8[])"


def _count(source: str) -> str:
    """What ``_counts`` says, of a ``source`` of one row whose seconds are known."""
    return f"""counts AS (
            INSERT INTO {DELTAS} (minute, queue, job_type, outcome, fingerprint, version, count, seconds,
                                  buckets)
            SELECT date_trunc('minute', now), queue, job_type, outcome, fingerprint, version, 1, seconds,
                jsonb_build_object({BUCKET}, 1)
            FROM {source}
        )"""


def _counts(source: str) -> str:
    """What ``source`` adds to the counts: a row for each of its keys, the seconds in buckets."""
    key = "now, queue, job_type, outcome, fingerprint, version"
    return f"""counts AS (
            INSERT INTO {DELTAS} (minute, queue, job_type, outcome, fingerprint, version, count, seconds,
                                  buckets)
            SELECT date_trunc('minute', now), queue, job_type, outcome, fingerprint, version, SUM(number),
                COALESCE(SUM(total), 0), jsonb_object_agg(bucket, number) FILTER (WHERE bucket IS NOT NULL)
            FROM (
                SELECT {key}, {BUCKET} AS bucket, COUNT(*) AS number, SUM(seconds) AS total
                FROM {source} WHERE outcome IS NOT NULL GROUP BY {key}, bucket
            ) AS apart
            GROUP BY {key}
        )"""
