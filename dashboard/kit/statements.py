"""The console's SQL by hand: many bounded counts in one statement.

Literals throughout, because only then SQLite sees that a partial index fits; no value of anybody's is in them.
"""

from __future__ import annotations

from handlers import bounded
from handlers.bounded import RETRYING, first
from handlers.models import (
    AlertIncident,
    BulkOperation,
    HookTrouble,
    JobPayload,
    JobRecord,
    QueueSwitch,
    SagaRecord,
    TypeSwitch,
)
from handlers.models.bulk import BulkState
from handlers.models.sql import seconds
from handlers.states import State

CAP = 1000  # a count above this reads "1,000+"
FEW = 100  # what is counted of each of a thousand
NEWEST_RUNS = 100  # bulk operations among which those that wait are looked for
LOOK = 2_000  # jobs of one state among which one read tells queues or types apart

HOOK = "hook"  # of a row that tells of no switch

_JOBS = JobRecord._meta.db_table
_SAGAS = SagaRecord._meta.db_table

# What the console tells apart and an index leads to.
STATES = (
    State.FAILED.value,
    RETRYING,
    *(state.value for state in (State.SCHEDULED, State.ENQUEUED, State.PROCESSING, State.WAITING, State.DELETED)),
)
# Rows: a state, a queue, how many.
IN_HAND = " UNION ALL ".join(bounded.by_queue(state, LOOK) for state in (State.PROCESSING, State.SCHEDULED))


def failing(*, postgresql: bool) -> str:
    """One row: how many are failed now, when the last of them failed, how many of the newest bulk operations are
    paused, how many incidents of alerts are open, and how many sagas need somebody. On SQLite ``now`` is now."""
    now = "statement_timestamp()" if postgresql else "%(now)s"
    is_stuck = f"(stuck_at IS NOT NULL AND stuck_at <= {now})"
    # Each saga counts once: what has failed itself, what is stuck, and the rest of those of which a job has failed.
    return f"""
    SELECT COUNT(*), MAX(finished_at), (SELECT COUNT(*) FROM (
        SELECT state FROM {BulkOperation._meta.db_table} ORDER BY id DESC LIMIT {NEWEST_RUNS}
    ) AS newest WHERE state = '{BulkState.PAUSED}'), (SELECT COUNT(*) FROM (
        SELECT 1 FROM {AlertIncident._meta.db_table} WHERE ended_at IS NULL LIMIT {CAP}
    ) AS wrong), (SELECT COUNT(*) FROM (
        SELECT 1 FROM {_SAGAS}
        WHERE NOT (error = '' AND unreadable = '') AND completed_at IS NULL LIMIT {CAP}
    ) AS failed_sagas) + (SELECT COUNT(*) FROM (
        SELECT 1 FROM {_SAGAS} WHERE {is_stuck} AND error = '' AND unreadable = '' LIMIT {CAP}
    ) AS stuck_sagas) + (SELECT COUNT(*) FROM (
        SELECT s.id FROM ({first(State.FAILED.value, "id", CAP)}) AS last_failed
        JOIN {JobPayload._meta.db_table} p ON p.job_id = last_failed.id AND NOT (p.correlation = '')
        JOIN {_SAGAS} s ON s.correlation = p.correlation
        WHERE completed_at IS NULL AND error = '' AND unreadable = '' AND NOT {is_stuck}
        GROUP BY s.id LIMIT {CAP}
    ) AS sagas_of_failed_jobs)
    FROM ({first(State.FAILED.value, "finished_at", CAP)}) AS some_failed
    """


def paused(*, postgresql: bool) -> str:
    """What is paused by the database's clock. Rows: of what kind, and the switch; one of the kind HOOK where hooks have
    gone wrong lately. On SQLite ``now`` is now."""
    now = "statement_timestamp()" if postgresql else "%(now)s"
    since = f"{now} - INTERVAL '1 hour'" if postgresql else f"datetime({now}, '-1 hour')"
    no_time = "NULL::timestamptz" if postgresql else "NULL"
    hooks = f"""SELECT '{HOOK}', '', {no_time}, {no_time}, '', '' WHERE EXISTS (
        SELECT 1 FROM {HookTrouble._meta.db_table} WHERE process = '' AND last_at >= {since})"""
    return (
        " UNION ALL ".join(
            f"""SELECT '{switch.kind}', name, paused_at, until, "by", reason FROM {switch._meta.db_table}
            WHERE until IS NULL OR until > {now}"""
            for switch in (QueueSwitch, TypeSwitch)
        )
        + f" UNION ALL {hooks}"
    )


def on_queues(most: int, *, postgresql: bool) -> str:
    """What stands after ``bounded.met``. Rows: a state, a queue, how many, since when where they wait."""
    since = seconds("since", postgresql=postgresql)
    return f"""
    SELECT '{State.ENQUEUED}' AS state, name, number, {since} FROM ({bounded.waiting_anywhere(most)}) AS waits
    UNION ALL
    SELECT state, queue, number, NULL FROM ({IN_HAND}) AS in_hand
    """


def failed_of_groups(cap: int) -> str:
    """What stands after ``WITH named(name) AS (…)``.

    Rows: a failure group, how many of its jobs are failed now, up to ``cap`` + 1.
    """
    return f"""
    SELECT name, (SELECT COUNT(*) FROM (
        SELECT 1 FROM {_JOBS} WHERE NOT (fingerprint = '')
            AND state = '{State.FAILED}' AND fingerprint = named.name LIMIT {cap + 1}
    ) AS some_failed)
    FROM named
    """
