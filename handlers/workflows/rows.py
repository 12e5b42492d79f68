"""The SQL by which workflows are moved on after each batch of jobs: planned once, many rows at once."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from handlers.models import (
    Gate,
    GateParent,
    JobPayload,
    JobRecord,
    JobResult,
    NodeInput,
    NodeOutcome,
    Workflow,
    WorkflowNode,
)
from handlers.models.sql import (
    among,
    as_ids,
    as_rows,
    fetch,
    is_postgresql,
    listed,
    prepared,
    rows_cte,
)
from handlers.models.workflow import SUMS, When, unended
from handlers.states import State

NODES, PARENTS, GATES, INPUTS, WORKFLOWS, JOBS, RESULTS, PAYLOADS = (
    model._meta.db_table
    for model in (WorkflowNode, GateParent, Gate, NodeInput, Workflow, JobRecord, JobResult, JobPayload)
)


class Alike(NamedTuple):
    """Nodes whose jobs are in one state, and that have all else in common that matters for how they have ended."""

    state: str
    workflow_id: int | None
    gate_id: int | None  # of those only that wait, or were deleted
    counts: bool
    outcome: str  # as it was
    skip: bool
    is_source: bool  # their results are somebody's arguments
    opener: int | None  # the job, one by itself, if that has opened a workflow
    number: int
    ids: str  # of the jobs, as ``listed`` has them


class Judged(NamedTuple):
    """Parents of one gate that came to the same."""

    gate_id: int
    verdict: str
    number: int
    parent_id: int  # one of them


class Waiting(NamedTuple):
    """A node that may wait at a gate."""

    job_id: int
    workflow_id: int | None
    counts: bool
    delay_seconds: float | None
    has_inputs: bool


class GateRow(NamedTuple):
    """A gate as it is now, locked."""

    pk: int
    when: str
    require: str
    total: int
    met: int
    missed: int
    is_open: bool | None


class WorkflowRow(NamedTuple):
    """A workflow as it is now, locked."""

    pk: int
    total: int
    succeeded: int
    failed: int
    deleted: int
    skipped: int
    unneeded: int
    on_success: int | None
    on_end: int | None
    opened_by: int | None
    is_finished: bool

    @property
    def open(self) -> int:
        """How many nodes have not ended."""
        return unended(self)


def lock_nodes(ids: Sequence[int], using: str) -> str:
    """Those of the jobs that are nodes, listed, ours until the transaction ends."""
    connection = connections[using]
    ((nodes,),) = _fetch(connection, _lock_sql(is_postgresql(connection)), listed(ids))
    return nodes or ""


def alike(ids: str, using: str) -> list[Alike]:
    """These nodes and where their jobs are now, but for those whose jobs are erased."""
    connection = connections[using]
    return [Alike(*row) for row in _fetch(connection, _alike_sql(is_postgresql(connection)), ids)]


def keep_outcomes(outcomes: Mapping[str, Sequence[str]], using: str) -> None:
    """Write down how nodes have ended; that one was skipped only as long as it is."""
    for outcome, ids in outcomes.items():
        _write(_outcome_sql(is_postgresql(connections[using])), using, listed(ids), outcome)


def judge(ids: Sequence[str], verdicts: Mapping[str, str], former: str, using: str) -> list[Judged]:
    """Write down what these, which have ended alike, came to as parents, by the gates' rules; of those of which
    ``former`` was written. Their nodes are locked, so nobody else does."""
    connection, ruled = connections[using], [verdicts[when.value] for when in When]
    if set(ruled) == {former}:
        return []
    params = [*ruled, as_ids(connection, listed(ids)), former]
    if some := former in ruled:
        params += [*ruled, former]
    return [Judged(*row) for row in fetch(connection, _judge_sql(is_postgresql(connection), some=some), params)]


def keep_results(sources: Sequence[str], using: str) -> None:
    """Write down what these have returned as arguments of others: they may run again, or age out, before those do."""
    if sources:
        _fetch(connections[using], _results_sql(is_postgresql(connections[using])), listed(sources))


def fill(ids: Collection[int], using: str) -> None:
    """Give these jobs the arguments that are other jobs' results. On PostgreSQL: SQLite would write the text anew."""
    if ids:
        _fetch(connections[using], FILL, listed(ids))


def add_to_gates(sums: Mapping[int, Mapping[str, int]], using: str) -> list[GateRow]:
    """Count further parents as met and missed."""
    rows = [(pk, counts.get("met", 0), counts.get("missed", 0)) for pk, counts in sorted(sums.items())]
    connection = connections[using]
    found = fetch(connection, _gates_sql(is_postgresql(connection)), [as_rows(connection, rows)])
    return [GateRow._make((*row[:-1], None if row[-1] is None else bool(row[-1]))) for row in found]


def add_to_workflows(sums: Mapping[int, Mapping[str, int]], using: str) -> list[WorkflowRow]:
    """Add to the workflows' sums of how their nodes have ended."""
    rows = [(pk, *(counts.get(outcome.value, 0) for outcome in SUMS)) for pk, counts in sorted(sums.items())]
    connection = connections[using]
    found = fetch(connection, _workflows_sql(is_postgresql(connection)), [as_rows(connection, rows)])
    # Not by SQL: SQLite before 3.41 returns `column IS NOT NULL` as true where the primary key is declared NOT NULL.
    return [WorkflowRow._make((*row[:-1], row[-1] is not None)) for row in found]


def waiting_at(gate_id: int, after: int, limit: int, using: str) -> list[Waiting]:
    """Nodes of a gate, by job, from the one behind ``after`` on. In a transaction that goes by indexes alone: else it
    may read all of them for each chunk."""
    return [Waiting(*row) for row in fetch(connections[using], WAITING_AT, [gate_id, after, limit])]


def waiting(ids: str, using: str) -> list[Waiting]:
    """The nodes of these jobs."""
    connection = connections[using]
    sql = f"SELECT {WAITING} FROM {NODES} n WHERE n.job_id {among(is_postgresql(connection))}"
    return [Waiting(*row) for row in _fetch(connection, sql, ids)]


def _fetch(connection: BaseDatabaseWrapper, sql: str, ids: str) -> list[tuple[Any, ...]]:
    return fetch(connection, sql, [as_ids(connection, ids)])


def _write(sql: str, using: str, ids: str, value: str) -> None:
    with prepared(connections[using]) as cursor:
        cursor.execute(sql, [value, as_ids(connections[using], ids)])


@cache
def _lock_sql(postgresql: bool) -> str:
    lock = "FOR UPDATE" if postgresql else ""
    found = f"SELECT job_id FROM {NODES} WHERE job_id {among(postgresql)} ORDER BY job_id {lock}"
    return f"SELECT {_listed(postgresql)} FROM ({found}) AS n"


def _listed(postgresql: bool) -> str:
    return "string_agg(job_id::text, ',')" if postgresql else "group_concat(job_id)"


@cache
def _alike_sql(postgresql: bool) -> str:
    # Scalar subqueries, of one row by its key each: no plan makes a scan of them. Whether there is any at all is asked
    # once for all jobs.
    return f"""
        WITH n AS {"MATERIALIZED" if postgresql else ""} (
            SELECT job_id, workflow_id, gate_id, counts, outcome, skip,
                (SELECT j.state FROM {JOBS} j WHERE j.id = o.job_id) AS state,
                CASE WHEN EXISTS (SELECT 1 FROM {INPUTS})
                    THEN (SELECT 1 FROM {INPUTS} WHERE source_id = o.job_id LIMIT 1) IS NOT NULL ELSE FALSE
                    END AS is_source,
                CASE WHEN EXISTS (SELECT 1 FROM {WORKFLOWS} WHERE opened_by > 0)
                    THEN (SELECT w.opened_by FROM {WORKFLOWS} w WHERE w.opened_by = o.job_id LIMIT 1) END AS opener
            FROM {NODES} o WHERE job_id {among(postgresql)}
        )
        SELECT state, workflow_id, CASE WHEN state IN ('{State.AWAITING}', '{State.DELETED}') THEN gate_id END,
            counts, outcome, skip, is_source, opener, COUNT(*), {_listed(postgresql)}
        FROM n WHERE state IS NOT NULL GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
    """


@cache
def _judge_sql(postgresql: bool, *, some: bool) -> str:
    """``some``: only some of the rules make it another one."""
    ruled = " ".join(f"WHEN '{when.value}' THEN {'%s::text' if postgresql else '%s'}" for when in When)
    ruled = f"""(CASE (SELECT g."when" FROM {GATES} g WHERE g.id = gate_id) {ruled} END)"""
    told = f"""
        UPDATE {PARENTS} SET verdict = {ruled} WHERE parent_id {among(postgresql)} AND verdict = %s
            {f"AND {ruled} <> %s" if some else ""}
        RETURNING gate_id, verdict
    """
    if not postgresql:
        return f"{told}, 1, parent_id"
    return f"""
        WITH told AS ({told}, parent_id)
        SELECT gate_id, verdict, COUNT(*), MAX(parent_id) FROM told GROUP BY gate_id, verdict
    """


WAITING = f"""
    n.job_id, n.workflow_id, n.counts, n.delay_seconds,
    (SELECT 1 FROM {INPUTS} i WHERE i.job_id = n.job_id LIMIT 1) IS NOT NULL
"""
WAITING_AT = f"SELECT {WAITING} FROM {NODES} n WHERE n.gate_id = %s AND n.job_id > %s ORDER BY n.job_id LIMIT %s"


@cache
def _gates_sql(postgresql: bool) -> str:
    names = 'id, "when", require, total, met, missed, is_open'
    columns = {"id": "id", "met": "int", "missed": "int"}
    return _added(GATES, columns, names, postgresql)


@cache
def _workflows_sql(postgresql: bool) -> str:
    names = "id, total, succeeded, failed, deleted, skipped, unneeded, on_success, on_end, opened_by, finished_at"
    return _added(WORKFLOWS, {"id": "id"} | {outcome.value: "int" for outcome in SUMS}, names, postgresql)


def _added(table: str, columns: dict[str, str], names: str, postgresql: bool) -> str:
    """Add rows of ``columns``, the first of which is the id, to those of the table, locked in one order."""
    sums = ", ".join(f"{name} = t.{name} + v.{name}" for name in list(columns)[1:])
    held, also = "", ""
    if postgresql:  # SQLite's RETURNING knows no other table
        names = ", ".join(f"t.{name}" for name in names.split(", "))
        held = f", held AS (SELECT t.id FROM {table} t JOIN v ON v.id = t.id ORDER BY t.id FOR UPDATE OF t)"
        also = "AND t.id IN (SELECT id FROM held)"
    return f"""
        WITH {rows_cte("v", columns, postgresql=postgresql)}{held}
        UPDATE {table} AS t SET {sums} FROM v WHERE t.id = v.id {also} RETURNING {names}
    """


@cache
def _outcome_sql(postgresql: bool) -> str:
    skipped = NodeOutcome.SKIPPED.value
    return f"""
        UPDATE {NODES} SET outcome = v.outcome, skip = skip AND v.outcome = '{skipped}'
        FROM (SELECT {"%s::text" if postgresql else "%s"} AS outcome) AS v
        WHERE job_id {among(postgresql)}
    """


@cache
def _results_sql(postgresql: bool) -> str:
    # By the database, in one statement: a large result may be an argument of many.
    return f"""
        UPDATE {INPUTS} SET data = (
            SELECT r.data FROM {RESULTS} r JOIN {JOBS} j ON j.id = r.job_id AND j.attempt = r.attempt
            WHERE r.job_id = {INPUTS}.source_id
        ) WHERE source_id {among(postgresql)} RETURNING 1
    """


FILL = f"""
    UPDATE {PAYLOADS} p SET data = p.data || i.fields
    FROM (
        SELECT job_id, jsonb_object_agg(field, data) AS fields FROM {INPUTS}
        WHERE job_id = ANY(%s::bigint[]) GROUP BY job_id
    ) i
    WHERE p.job_id = i.job_id RETURNING 1
"""
