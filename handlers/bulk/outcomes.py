"""What became of the jobs that a run moved."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import connections, router

from handlers.models import AttemptError, BulkItem, BulkOperation, JobRecord
from handlers.states import State

NEWEST = 1_000  # items whose first attempts are looked at


@dataclass
class Outcomes:
    """How the first attempts after the move ended."""

    succeeded: int = 0
    failed: int = 0
    deleted: int = 0  # before it ran, or its row is gone
    pending: int = 0

    @property
    def ended(self) -> int:
        """Attempts with a result."""
        return self.succeeded + self.failed

    @property
    def total(self) -> int:
        """All jobs that were looked at."""
        return self.ended + self.deleted + self.pending


def canary_outcomes(operation: BulkOperation, alias: str) -> Outcomes:
    """Of the jobs that went first."""
    return _outcomes(operation, alias, "pk", operation.canary)


def recent_outcomes(operation: BulkOperation, alias: str) -> Outcomes:
    """Of the newest jobs that the run moved."""
    return _outcomes(operation, alias, "-pk", NEWEST)


def _outcomes(operation: BulkOperation, alias: str, order: str, most: int) -> Outcomes:
    items = BulkItem.objects.using(alias).filter(operation_id=operation.pk, moved=True).order_by(order)
    before = dict(items.values_list("job_id", "attempt")[:most])
    jobs = JobRecord.objects.using(alias).filter(pk__in=list(before))
    now = {pk: (state, attempt) for pk, state, attempt in jobs.values_list("pk", "state", "attempt")}
    errors = AttemptError.objects.using(alias).filter(job_id__in=list(before)).values_list("job_id", "attempt")
    failed = {job_id for job_id, attempt in errors if attempt == before[job_id] + 1}
    found = Outcomes()
    for job_id, attempt in before.items():
        state, reached = now.get(job_id, (State.DELETED.value, attempt))
        if job_id in failed or (state == State.FAILED and reached > attempt):
            found.failed += 1
        elif state == State.SUCCEEDED and reached > attempt:
            found.succeeded += 1
        elif state == State.DELETED:
            found.deleted += 1
        elif reached > attempt + 1:  # its first attempt ended, and not in success
            found.failed += 1
        else:
            found.pending += 1
    return found


@dataclass(frozen=True)
class Receipt:
    """Where the jobs that the run moved are now."""

    succeeded: int = 0
    failed: int = 0
    waiting: int = 0
    running: int = 0
    deleted: int = 0
    gone: int = 0  # aged out since


def receipt(operation: BulkOperation) -> Receipt:
    """The moved jobs by where they are now."""
    alias = router.db_for_read(BulkItem)
    jobs, items = JobRecord._meta.db_table, BulkItem._meta.db_table
    with connections[alias].cursor() as cursor:
        cursor.execute(
            f"SELECT j.state, COUNT(*) FROM {items} i LEFT JOIN {jobs} j ON j.id = i.job_id"  # noqa: S608 - our tables
            " WHERE i.operation_id = %s AND i.moved GROUP BY j.state",
            [operation.pk],
        )
        by_state = dict(cursor.fetchall())
    return Receipt(
        succeeded=by_state.pop(State.SUCCEEDED.value, 0),
        failed=by_state.pop(State.FAILED.value, 0),
        running=by_state.pop(State.PROCESSING.value, 0),
        deleted=by_state.pop(State.DELETED.value, 0),
        gone=by_state.pop(None, 0),
        waiting=sum(by_state.values()),
    )
