"""SQL that counts no more than so many jobs, by the indexes that lead to them: its cost is bounded at any size.

Literals throughout, because only then SQLite sees that a partial index fits; no value of anybody's is in them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from django.db import connections

from handlers.models import JobRecord
from handlers.models.kept import database
from handlers.models.sql import as_rows, from_time, is_postgresql, rows_cte, seconds
from handlers.states import State

QUEUES = 500  # queues looked for beside those that are named
HOPS = 5_000  # queues passed on the way
ON_EACH = 50  # jobs a queue, up to which one read of all that wait costs less than a look at each queue
EACH, FEW_QUEUES = 100, 100  # jobs of each queue that are counted at least; queues of which all are that one asks for

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
    State.WAITING.value: (f"state = '{State.WAITING}'", "run_at, id"),
    State.AWAITING.value: (f"state = '{State.AWAITING}' AND NOT (state = '{State.SUCCEEDED}')", "state DESC, id DESC"),
    State.DELETED.value: (f"state = '{State.DELETED}' AND NOT (state = '{State.SUCCEEDED}')", "state DESC, id DESC"),
}


def first(state: str, columns: str, most: int, named: str = "") -> str:
    """The SQL that reads ``columns`` of the first jobs of ``state``, one more than ``most``: that one says "or more".

    ``named``: a condition on what another index of that state begins with, which then needs no order.
    """
    condition, order = READS[state]
    which = f"{condition} AND {named}" if named else f"{condition} ORDER BY {order}"
    return f"SELECT {columns} FROM {_JOBS} WHERE {which} LIMIT {most + 1}"


def by_queue(state: str, most: int) -> str:
    """Rows: ``state``, a queue, how many of the first jobs of that state are of it."""
    some = first(state, "queue", most)
    return f"SELECT '{state}' AS state, queue, COUNT(*) AS number FROM ({some}) AS some_{state} GROUP BY queue"


def by_state(states: Collection[str], most: int) -> str:
    """Rows: one of ``states``, how many jobs are in it."""
    return " UNION ALL ".join(
        f"SELECT '{state}' AS state, COUNT(*) FROM ({first(state, '1', most)}) AS some_{state}" for state in states
    )


def most_of_each(most: int, queues: int) -> int:
    """How many jobs to count on each of so many ``queues``, where of few it would be ``most``: their sum is bounded."""
    return max(min(most, most * FEW_QUEUES // max(queues, 1)), min(most, EACH))


def met(queues: int) -> str:
    """What stands after ``WITH RECURSIVE named(name) AS (…), left_out(name) AS (…)``; ``queues``: how many these name.

    Where few jobs wait in all, they are read and told as few(name, number, since), and more is empty. Else q(name) are
    the named queues and the others: jobs may wait on one that nobody names any more, and the index leads from each
    queue to the next.
    """
    few = ON_EACH * queues
    return f"""
    , few(name, number, since) AS MATERIALIZED (
        SELECT queue, COUNT(*), MIN(enqueued_at) FROM (
            SELECT queue, enqueued_at FROM {_JOBS} WHERE state = '{State.ENQUEUED}'
            ORDER BY queue, enqueued_at, id LIMIT {few + 1}
        ) AS some_enqueued GROUP BY queue
    ),
    more(so) AS (SELECT 1 WHERE (SELECT SUM(number) FROM few) > {few}),
    step(name, hops) AS (
        SELECT (SELECT MIN(queue) FROM {_JOBS} WHERE state = '{State.ENQUEUED}'), 1 FROM more
        UNION ALL
        SELECT (SELECT MIN(queue) FROM {_JOBS} WHERE state = '{State.ENQUEUED}' AND queue > step.name), hops + 1
        FROM step WHERE step.name IS NOT NULL AND hops < {HOPS}
    ),
    q(name) AS (
        SELECT name FROM named WHERE EXISTS (SELECT 1 FROM more)
        UNION
        SELECT name FROM (
            SELECT name FROM step WHERE name IS NOT NULL
                AND name NOT IN (SELECT name FROM named UNION ALL SELECT name FROM left_out)
            LIMIT {QUEUES}
        ) AS met
    )
    """


def waiting(most: int) -> str:
    """What stands after ``WITH q(name) AS (…)``. Rows: a queue, how many wait (up to ``most`` + 1), since when."""
    return f"""
    SELECT
        q.name,
        (SELECT COUNT(*) FROM (
            SELECT 1 FROM {_JOBS} WHERE state = '{State.ENQUEUED}' AND queue = q.name LIMIT {most + 1}
        ) AS waits) AS number,
        (SELECT enqueued_at FROM {_JOBS} WHERE state = '{State.ENQUEUED}' AND queue = q.name
            ORDER BY enqueued_at, id LIMIT 1) AS since
    FROM q
"""


def waiting_anywhere(most: int) -> str:
    """What stands after ``met``. The same rows, of the named queues maybe only where some wait."""
    return f"""
    SELECT name, CASE WHEN number > {most} THEN {most + 1} ELSE number END AS number, since
    FROM few WHERE NOT EXISTS (SELECT 1 FROM more) AND name NOT IN (SELECT name FROM left_out)
    UNION ALL
    {waiting(most)}
    """


class Depth(NamedTuple):
    """What waits on one queue."""

    queue: str
    number: int  # one more than was asked for: there may be others
    since: datetime | None  # when the first of it was enqueued


def depths(names: Collection[str], most: int, *, without: Collection[str] = (), only: bool = False) -> list[Depth]:
    """What waits on the queues ``names`` and on each other where something does, in one statement.

    ``without``: queues of which nobody needs to hear; ``only``: the named ones alone.
    """
    tables = {"q": names} if only else {"named": names, "left_out": without}
    ctes, rows = named_tables(tables)
    before, waits = ("", waiting(most)) if only else (met(len(names) + len(without)), waiting_anywhere(most))
    connection = connections[database()]
    since = seconds("since", postgresql=is_postgresql(connection))
    with connection.cursor() as cursor:
        cursor.execute(f"WITH RECURSIVE {ctes} {before} SELECT name, number, {since} FROM ({waits}) AS waits", rows)
        found = [Depth(name, number, from_time(since)) for name, number, since in cursor.fetchall()]
    return [*found, *(Depth(name, 0, None) for name in set(names).difference(depth.queue for depth in found))]


def named_tables(tables: Mapping[str, Collection[str]]) -> tuple[str, list[Any]]:
    """What stands after WITH to make a table of names out of each of ``tables``, and the parameters for it."""
    connection = connections[database()]
    ctes = (rows_cte(name, {"name": "text"}, postgresql=is_postgresql(connection)) for name in tables)
    return ", ".join(ctes), [as_rows(connection, [(name,) for name in sorted(some)]) for some in tables.values()]


def state_counts(states: Collection[str], most: int) -> dict[str, int]:
    """How many jobs are in each of ``states``, RETRYING among them, in one statement; ``most`` + 1: or more."""
    with connections[database()].cursor() as cursor:
        cursor.execute(by_state(states, most))
        return dict(cursor.fetchall())
