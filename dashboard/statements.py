"""The console's SQL by hand: many bounded counts in one statement.

Literals throughout, because only then SQLite sees that a partial index fits; no value of anybody's is in them.
"""

from __future__ import annotations

from handlers.models import JobRecord
from handlers.states import State

CAP = 1000  # a count above this reads "1,000+"
QUEUES = 500  # queues looked for
LOOK = 10_000  # jobs among which one read tells queues, or retrying from scheduled, apart

_JOBS = JobRecord._meta.db_table


# Each read names the order of its index, or PostgreSQL might rather scan a big table for "any 1,000 of them".
def _capped(state: State, order: str, condition: str = "") -> str:
    some = f"SELECT 1 FROM {_JOBS} WHERE state = '{state}'{condition} ORDER BY {order} LIMIT {CAP + 1}"
    return f"SELECT '{state}' AS part, '{state}' AS state, COUNT(*) FROM ({some}) AS some_{state}"


def _due() -> str:
    state = f"CASE WHEN failures > 0 THEN 'retrying' ELSE '{State.SCHEDULED}' END"
    some = (
        f"SELECT {state} AS state FROM {_JOBS} WHERE state = '{State.SCHEDULED}' ORDER BY run_at, id LIMIT {LOOK + 1}"
    )
    return f"SELECT 'due', state, COUNT(*) FROM ({some}) AS due GROUP BY state"


def _by_queue(state: State, order: str) -> str:
    some = f"SELECT queue FROM {_JOBS} WHERE state = '{state}' ORDER BY {order} LIMIT {LOOK + 1}"
    return f"SELECT '{state}' AS state, queue, COUNT(*) FROM ({some}) AS some_{state} GROUP BY queue"


# Rows: the part that was read, a state, how many.
STATE_COUNTS = " UNION ALL ".join(
    (
        _capped(State.FAILED, "finished_at, id"),
        _capped(State.ENQUEUED, "queue, enqueued_at, id"),
        _capped(State.PROCESSING, "worker, id"),
        _capped(State.DELETED, "state, id", f" AND NOT (state = '{State.SUCCEEDED}')"),  # as its index says
        _due(),
    )
)

# After ``WITH RECURSIVE named(name) AS (…),``. Jobs may wait on a queue that nobody names any more: the index leads
# from each queue to the next. Rows: a queue, how many wait there, since when the first.
WAITING = f"""
    step(name) AS (
        SELECT MIN(queue) FROM {_JOBS} WHERE state = '{State.ENQUEUED}'
        UNION ALL
        SELECT (SELECT MIN(queue) FROM {_JOBS} WHERE state = '{State.ENQUEUED}' AND queue > step.name)
        FROM step WHERE step.name IS NOT NULL
    ),
    q(name) AS (
        SELECT name FROM named
        UNION
        SELECT name FROM (SELECT name FROM step WHERE name IS NOT NULL LIMIT {QUEUES}) AS met
    )
    SELECT
        q.name,
        (SELECT COUNT(*) FROM (
            SELECT 1 FROM {_JOBS} WHERE state = '{State.ENQUEUED}' AND queue = q.name LIMIT {CAP + 1}
        ) AS waits),
        (SELECT enqueued_at FROM {_JOBS} WHERE state = '{State.ENQUEUED}' AND queue = q.name
            ORDER BY enqueued_at, id LIMIT 1)
    FROM q
"""

# Rows: a state, a queue, how many.
IN_HAND = " UNION ALL ".join((_by_queue(State.PROCESSING, "worker, id"), _by_queue(State.SCHEDULED, "run_at, id")))
