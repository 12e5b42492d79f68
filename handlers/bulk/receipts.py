"""What became of the jobs that a run moved: its own attempts, and where the jobs are now."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import connections

from handlers.models import AttemptError, BulkItem, BulkOperation, JobRecord
from handlers.models.kept import database
from handlers.states import State

LOOK = 20_000  # newest moved jobs that are counted: more would make a page wait


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
    SELECT outcome, state, COUNT(*) FROM (
        SELECT j.state AS state, CASE
            WHEN EXISTS (SELECT 1 FROM {_ERRORS} e WHERE e.job_id = i.job_id AND e.attempt = i.attempt + 1)
                OR (j.state = 'failed' AND j.attempt > i.attempt) THEN 'first_failed'
            WHEN j.state = 'succeeded' AND j.attempt > i.attempt THEN 'first_succeeded'
            WHEN j.id IS NULL OR j.state = 'deleted' THEN 'first_never'
            WHEN j.attempt > i.attempt + 1 THEN 'first_failed'
            ELSE 'first_to_come' END AS outcome
        FROM (SELECT job_id, attempt FROM {_ITEMS} WHERE operation_id = %s AND moved
              ORDER BY job_id DESC LIMIT {LOOK}) i
        LEFT JOIN {_JOBS} j ON j.id = i.job_id
    ) looked GROUP BY outcome, state
"""  # noqa: S608 - our own tables, and a number


def receipt(operation: BulkOperation) -> Receipt:
    """What became of the jobs that it moved."""
    found = Receipt()
    with connections[database()].cursor() as cursor:
        cursor.execute(_SQL, [operation.pk])
        for outcome, state, count in cursor.fetchall():
            found.looked_at += count
            for name in (outcome, _FIELDS.get(state, "waiting")):
                setattr(found, name, getattr(found, name) + count)
    return found
