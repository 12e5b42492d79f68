"""The console's SQL by hand: many bounded counts in one statement.

Literals throughout, because only then SQLite sees that a partial index fits; no value of anybody's is in them.
"""

from __future__ import annotations

from handlers import bounded
from handlers.bounded import RETRYING, first
from handlers.models import JobRecord
from handlers.states import State

CAP = 1000  # a count above this reads "1,000+"
LOOK = 2_000  # jobs of one state among which one read tells queues or types apart

_JOBS = JobRecord._meta.db_table


def _by_queue(state: str) -> str:
    some = first(state, "queue", LOOK)
    return f"SELECT '{state}' AS state, queue, COUNT(*) FROM ({some}) AS some_{state} GROUP BY queue"


# What the console tells apart and an index leads to.
STATES = (
    State.FAILED.value,
    RETRYING,
    *(state.value for state in (State.SCHEDULED, State.ENQUEUED, State.PROCESSING, State.DELETED)),
)
# Rows: one of these, how many.
STATE_COUNTS = " UNION ALL ".join(
    f"SELECT '{state}' AS state, COUNT(*) FROM ({first(state, '1', CAP)}) AS some_{state}" for state in STATES
)

# After ``WITH RECURSIVE named(name) AS (…)``. Rows: a queue, how many wait there, since when the first.
WAITING = bounded.waiting(CAP)

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
