"""The console's SQL by hand: many bounded counts in one statement.

Literals throughout, because only then SQLite sees that a partial index fits; no value of anybody's is in them.
"""

from __future__ import annotations

from handlers import bounded
from handlers.bounded import RETRYING
from handlers.models import JobRecord
from handlers.states import State

CAP = 1000  # a count above this reads "1,000+"
LOOK = 2_000  # jobs of one state among which one read tells queues or types apart

_JOBS = JobRecord._meta.db_table


# What the console tells apart and an index leads to.
STATES = (
    State.FAILED.value,
    RETRYING,
    *(state.value for state in (State.SCHEDULED, State.ENQUEUED, State.PROCESSING, State.DELETED)),
)
# Rows: a state, a queue, how many.
IN_HAND = " UNION ALL ".join(bounded.by_queue(state, LOOK) for state in (State.PROCESSING, State.SCHEDULED))

# After ``WITH RECURSIVE named(name) AS (…)``. Rows: a failure group, how many of its jobs are failed now.
FAILED_OF_GROUPS = f"""
    SELECT name, (SELECT COUNT(*) FROM (
        SELECT 1 FROM {_JOBS} WHERE NOT (fingerprint = '')
            AND state = '{State.FAILED}' AND fingerprint = named.name LIMIT {CAP + 1}
    ) AS some_failed)
    FROM named
"""
