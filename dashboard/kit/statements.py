"""The console's SQL by hand: many bounded counts in one statement.

Literals throughout, because only then SQLite sees that a partial index fits; no value of anybody's is in them.
"""

from __future__ import annotations

from handlers.models import JobRecord
from handlers.states import State

CAP = 1000  # a count above this reads "1,000+"
QUEUES = 500  # queues looked for
LOOK = 2_000  # jobs of one state among which one read tells queues or types apart

RETRYING = "retrying"  # not a state: scheduled, after a failure

_JOBS = JobRecord._meta.db_table

# How an index leads to the jobs of each state: its condition, word for word, and its order. Each read names the order,
# or PostgreSQL might rather scan a big table for "any 1,000 of them".
READS = {
    State.FAILED.value: (f"state = '{State.FAILED}'", "finished_at DESC, id DESC"),
    RETRYING: (f"state = '{State.SCHEDULED}' AND failures > 0", "id DESC"),
    State.SCHEDULED.value: (f"state = '{State.SCHEDULED}'", "run_at, id"),
    State.ENQUEUED.value: (f"state = '{State.ENQUEUED}'", "queue, enqueued_at, id"),
    State.PROCESSING.value: (f"state = '{State.PROCESSING}'", "worker, id"),
    State.DELETED.value: (f"state = '{State.DELETED}' AND NOT (state = '{State.SUCCEEDED}')", "state DESC, id DESC"),
}


def first(state: str, columns: str, most: int, named: str = "") -> str:
    """The SQL that reads ``columns`` of the first jobs of ``state``, one more than ``most``: that one says "or more".

    ``named``: a condition on what another index of that state begins with, which then needs no order.
    """
    condition, order = READS[state]
    which = f"{condition} AND {named}" if named else f"{condition} ORDER BY {order}"
    return f"SELECT {columns} FROM {_JOBS} WHERE {which} LIMIT {most + 1}"


def _by_queue(state: str) -> str:
    some = first(state, "queue", LOOK)
    return f"SELECT '{state}' AS state, queue, COUNT(*) FROM ({some}) AS some_{state} GROUP BY queue"


# Rows: what the console tells apart, how many.
STATE_COUNTS = " UNION ALL ".join(
    f"SELECT '{state}' AS state, COUNT(*) FROM ({first(state, '1', CAP)}) AS some_{state}" for state in READS
)

# After ``WITH RECURSIVE named(name) AS (…)``. Jobs may wait on a queue that nobody names any more: the index leads
# from each queue to the next. Rows: a queue, how many wait there, since when the first.
WAITING = f"""
    , step(name) AS (
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
IN_HAND = " UNION ALL ".join(map(_by_queue, (State.PROCESSING, State.SCHEDULED)))

# After ``WITH RECURSIVE named(name) AS (…)``. Rows: a failure group, how many of its jobs are failed now.
FAILED_OF_GROUPS = f"""
    SELECT name, (SELECT COUNT(*) FROM (
        SELECT 1 FROM {_JOBS} WHERE NOT (fingerprint = '')
            AND state = '{State.FAILED}' AND fingerprint = named.name LIMIT {CAP + 1}
    ) AS some_failed)
    FROM named
"""
