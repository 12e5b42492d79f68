"""The SQL by which workflows are moved on after each batch of jobs: planned once, many rows at once."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from handlers.models import Gate, GateParent, JobRecord, NodeInput, NodeOutcome, Workflow, WorkflowNode
from handlers.models.sql import fetch, is_postgresql

NODES, PARENTS, GATES, INPUTS, WORKFLOWS, JOBS = (
    model._meta.db_table for model in (WorkflowNode, GateParent, Gate, NodeInput, Workflow, JobRecord)
)


class NodeRow(NamedTuple):
    """A node as it was, locked."""

    job_id: int
    workflow_id: int | None
    gate_id: int | None
    counts: bool
    outcome: str
    skip: bool


class JobRow(NamedTuple):
    """A node's job as it is, and what hangs on its end."""

    job_id: int
    state: str
    is_parent: bool  # some gate may not have met it yet
    is_source: bool  # its result is somebody's argument
    has_opened: bool  # a workflow


class ParentRow(NamedTuple):
    """A parent of a gate."""

    pk: int
    gate_id: int
    parent_id: int
    verdict: str
    when: str


def lock_nodes(ids: Sequence[int], using: str) -> list[NodeRow]:
    """Those of the jobs that are nodes, ours until the transaction ends."""
    connection = connections[using]
    return [NodeRow(*row) for row in _fetch(connection, _nodes_sql(is_postgresql(connection)), ids)]


def jobs(ids: Sequence[int], using: str) -> list[JobRow]:
    """Where these jobs are now."""
    connection = connections[using]
    return [JobRow(*row) for row in _fetch(connection, _jobs_sql(is_postgresql(connection)), ids)]


def parents(ids: Sequence[int], using: str) -> list[ParentRow]:
    """As which parents they have not been met."""
    connection = connections[using]
    return [ParentRow(*row) for row in _fetch(connection, _parents_sql(is_postgresql(connection)), ids)]


def keep_outcomes(outcomes: Mapping[NodeOutcome, Collection[int]], using: str) -> None:
    """Write down how nodes have ended; that one was skipped only as long as it is."""
    for outcome, ids in outcomes.items():
        _write(_outcome_sql(is_postgresql(connections[using])), using, ids, outcome.value)


def keep_verdicts(verdicts: Mapping[str, Collection[int]], using: str) -> None:
    """Write down what parents came to."""
    for verdict, pks in verdicts.items():
        _write(_verdict_sql(is_postgresql(connections[using])), using, pks, verdict)


def _fetch(connection: BaseDatabaseWrapper, sql: str, ids: Collection[int]) -> list[tuple[Any, ...]]:
    return fetch(connection, sql, [_ids(connection, ids)])


def _write(sql: str, using: str, ids: Collection[int], value: str) -> None:
    fetch(connections[using], sql, [value, _ids(connections[using], ids)])


def _ids(connection: BaseDatabaseWrapper, ids: Collection[int]) -> Any:
    return list(ids) if is_postgresql(connection) else json.dumps(list(ids))


def _among(postgresql: bool) -> str:
    return "= ANY(%s::bigint[])" if postgresql else "IN (SELECT value FROM json_each(%s))"


@cache
def _nodes_sql(postgresql: bool) -> str:
    lock = "FOR UPDATE" if postgresql else ""
    names = ", ".join(NodeRow._fields)
    return f"SELECT {names} FROM {NODES} WHERE job_id {_among(postgresql)} ORDER BY job_id {lock}"


@cache
def _jobs_sql(postgresql: bool) -> str:
    # Scalar subqueries, of one row by its key each: no plan makes a scan of them.
    return f"""
        SELECT id, state,
            (SELECT 1 FROM {PARENTS} WHERE parent_id = j.id AND verdict <> 'met' LIMIT 1) IS NOT NULL,
            (SELECT 1 FROM {INPUTS} WHERE source_id = j.id LIMIT 1) IS NOT NULL,
            (SELECT 1 FROM {WORKFLOWS} WHERE opened_by = j.id LIMIT 1) IS NOT NULL
        FROM {JOBS} j WHERE id {_among(postgresql)}
    """


@cache
def _parents_sql(postgresql: bool) -> str:
    return f"""
        SELECT p.id, p.gate_id, p.parent_id, p.verdict, (SELECT "when" FROM {GATES} WHERE id = p.gate_id)
        FROM {PARENTS} p WHERE p.verdict <> 'met' AND p.parent_id {_among(postgresql)}
    """


@cache
def _outcome_sql(postgresql: bool) -> str:
    skipped = NodeOutcome.SKIPPED.value
    return f"""
        UPDATE {NODES} SET outcome = v.outcome, skip = skip AND v.outcome = '{skipped}'
        FROM (SELECT {"%s::text" if postgresql else "%s"} AS outcome) AS v
        WHERE job_id {_among(postgresql)} RETURNING job_id
    """


@cache
def _verdict_sql(postgresql: bool) -> str:
    return f"UPDATE {PARENTS} SET verdict = %s WHERE id {_among(postgresql)} RETURNING id"
