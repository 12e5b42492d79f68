"""The SQL of a scrape: bounded at any size, a few statements in all."""

from __future__ import annotations

from handlers import bounded
from handlers.models import (
    HookTrouble,
    JobCount,
    JobCountDelta,
    JobRecord,
    LimitKey,
    LimitSlot,
    LimitWaiter,
    QueueSwitch,
    StrandedJob,
    TypeSwitch,
)
from handlers.models.count import BUCKET_FIELDS, Period
from handlers.states import State

MOST = 10_000  # jobs of a state that are counted; there may be more
MOST_HOOKS = 100  # that have gone wrong; code names them, so there are few
OTHER = "other"  # queue and type of what has no series of its own

_JOBS, _COUNTS, _DELTAS = JobRecord._meta.db_table, JobCount._meta.db_table, JobCountDelta._meta.db_table
_KEYS, _SLOTS, _WAITERS = LimitKey._meta.db_table, LimitSlot._meta.db_table, LimitWaiter._meta.db_table
_HOOKS = HookTrouble._meta.db_table
_STRANDED = StrandedJob._meta.db_table

STATES = (
    *(
        state.value
        for state in (State.AWAITING, State.SCHEDULED, State.ENQUEUED, State.PROCESSING, State.WAITING, State.FAILED)
    ),
    bounded.RETRYING,
)

_SUMS = ", ".join(f"CAST(SUM(c.{name}) AS BIGINT)" for name in BUCKET_FIELDS)

# One parameter: how many pairs of queue and type have series of their own. Those that came first keep theirs, because
# a series that moved to another would look as one that began anew. Rows: queue, type, outcome, count, seconds, buckets.
TOTALS = f"""
    WITH own AS (
        SELECT queue, job_type FROM {_COUNTS} WHERE period = '{Period.TOTAL}'
        GROUP BY queue, job_type ORDER BY MIN(id) LIMIT %s
    )
    SELECT COALESCE(own.queue, '{OTHER}'), COALESCE(own.job_type, '{OTHER}'), c.outcome,
        CAST(SUM(c.count) AS BIGINT), SUM(c.seconds), {_SUMS}
    FROM {_COUNTS} c LEFT JOIN own ON own.queue = c.queue AND own.job_type = c.job_type
    WHERE c.period = '{Period.TOTAL}' GROUP BY 1, 2, 3
"""


def _count(kind: str, name: str, rows: str) -> str:
    return f"SELECT '{kind}' AS kind, '{name}' AS name, COUNT(*) AS number, @NULL@ AS at FROM ({rows}) AS few"


def _by_limit(kind: str, table: str) -> str:
    few = f"SELECT key_id FROM {table} LIMIT {MOST}"
    return (
        f"SELECT '{kind}', k.name, COUNT(*), @NULL@ FROM ({few}) AS few"
        f" JOIN {_KEYS} k ON k.id = few.key_id GROUP BY k.name"
    )


def _paused(kind: str, table: str, now: str) -> str:
    return f"SELECT '{kind}', name, 1, @NULL@ FROM {table} WHERE until IS NULL OR until > {now}"


def standing(*, postgresql: bool) -> str:
    """Where things stand. Rows: what is told, of what, how many, since when. On SQLite its parameter ``now`` is now."""
    now = "statement_timestamp()" if postgresql else "%(now)s"
    null = "NULL::timestamptz" if postgresql else "NULL"
    due = f"state = '{State.SCHEDULED}' AND run_at <= {now}"
    late = f"SELECT run_at FROM {_JOBS} WHERE {due} ORDER BY run_at, id LIMIT 1"
    unfolded = f"SELECT minute FROM {_DELTAS} ORDER BY id LIMIT 1"
    hooks = f"SELECT hook, name, count, last_at FROM {_HOOKS} WHERE process = '' ORDER BY id LIMIT {MOST_HOOKS}"
    parts = [
        f"SELECT 'now' AS kind, '' AS name, 0 AS number, {now} AS at",
        *(_count("state", state, bounded.first(state, "1", MOST - 1)) for state in STATES),
        _count("due", "", f"SELECT 1 FROM {_JOBS} WHERE {due} ORDER BY run_at, id LIMIT {MOST}"),
        f"SELECT 'late', '', 1, run_at FROM ({late}) AS first",
        f"SELECT 'unfolded', '', 1, minute FROM ({unfolded}) AS first",
        _count("stranded", "", f"SELECT 1 FROM {_STRANDED} LIMIT {MOST}"),
        _by_limit("slots", _SLOTS),
        _by_limit("lined up", _WAITERS),
        f"SELECT 'hook ' || hook, name, count, last_at FROM ({hooks}) AS few",
        _paused("queue", QueueSwitch._meta.db_table, now),
        _paused("type", TypeSwitch._meta.db_table, now),
    ]
    return " UNION ALL ".join(parts).replace("@NULL@", null)
