"""What became of the jobs that a run moved: its own attempts, and where the jobs are now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db import connections

from handlers.models import AttemptError, BulkItem, BulkOperation, JobRecord
from handlers.models.kept import database
from handlers.states import State

LOOK = 20_000  # newest moved jobs that are counted: more would make a page wait
GLANCE = 100  # the same, where a page tells of many runs


@dataclass
class Receipt:
    """Of the newest LOOK jobs that a run moved: how the first attempt after the move ended, and where they are."""

    looked_at: int = 0
    first_succeeded: int = 0
    first_failed: int = 0
    first_to_come: int = 0  # waiting or running
    first_never: int = 0  # deleted before it ran, or aged out since
    succeeded: int = 0
    failed: int = 0
    waiting: int = 0
    running: int = 0
    deleted: int = 0
    gone: int = 0  # aged out since


_FIELDS = {
    State.SUCCEEDED.value: "succeeded",
    State.FAILED.value: "failed",
    State.PROCESSING.value: "running",
    State.DELETED.value: "deleted",
    None: "gone",
}
_JOBS, _ITEMS, _ERRORS = (model._meta.db_table for model in (JobRecord, BulkItem, AttemptError))
# The same rules as in handlers.bulk.outcomes, told to the database, because there may be many thousands.
_SQL = f"""
    SELECT operation, outcome, state, COUNT(*) FROM (
        SELECT i.operation_id AS operation, j.state AS state, CASE
            WHEN EXISTS (SELECT 1 FROM {_ERRORS} e WHERE e.job_id = i.job_id AND e.attempt = i.attempt + 1)
                OR (j.state = 'failed' AND j.attempt > i.attempt) THEN 'first_failed'
            WHEN j.state = 'succeeded' AND j.attempt > i.attempt THEN 'first_succeeded'
            WHEN j.id IS NULL OR j.state = 'deleted' THEN 'first_never'
            WHEN j.attempt > i.attempt + 1 THEN 'first_failed'
            ELSE 'first_to_come' END AS outcome
        FROM ({{items}}) i
        LEFT JOIN {_JOBS} j ON j.id = i.job_id
    ) looked GROUP BY operation, outcome, state
"""  # noqa: S608 - our own tables
_NEWEST = f"""
    SELECT * FROM (SELECT operation_id, job_id, attempt FROM {_ITEMS} WHERE operation_id = %s AND moved
                   ORDER BY job_id DESC LIMIT %s) newest
"""  # noqa: S608 - our own table


def receipt(operation: BulkOperation) -> Receipt:
    """What became of the jobs that it moved."""
    return _receipts([operation], LOOK)[operation.pk]


def glances(operations: Sequence[BulkOperation]) -> dict[int, Receipt]:
    """The same of each, by its id, of the newest GLANCE jobs alone: in one statement."""
    return _receipts(operations, GLANCE) if operations else {}


def _receipts(operations: Sequence[BulkOperation], most: int) -> dict[int, Receipt]:
    found = {operation.pk: Receipt() for operation in operations}
    items = " UNION ALL ".join([_NEWEST] * len(found))
    with connections[database()].cursor() as cursor:
        cursor.execute(_SQL.format(items=items), [value for pk in found for value in (pk, most)])
        for pk, outcome, state, count in cursor.fetchall():
            one = found[pk]
            one.looked_at += count
            for name in (outcome, _FIELDS.get(state, "waiting")):
                setattr(one, name, getattr(one, name) + count)
    return found
