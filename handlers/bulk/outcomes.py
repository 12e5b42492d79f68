"""How the first attempts ended of the jobs that a run moved: what its canary and its limit on failures go by."""

from __future__ import annotations

from dataclasses import dataclass

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
    """Of the jobs that went first, or were tried since."""
    return _outcomes(operation, alias, "job_id", operation.canary, after=operation.canary_after)


def tried(operation: BulkOperation, alias: str) -> int:
    """How many jobs of its present canary have gone."""
    items = BulkItem.objects.using(alias).filter(operation_id=operation.pk, moved=True)
    return items.filter(job_id__gt=operation.canary_after)[: operation.canary].count()


def recent_outcomes(operation: BulkOperation, alias: str) -> Outcomes:
    """Of the newest jobs that the run moved since it was last resumed over its limit."""
    return _outcomes(operation, alias, "-job_id", NEWEST, after=operation.watched_after)


def _outcomes(operation: BulkOperation, alias: str, order: str, most: int, after: int = 0) -> Outcomes:
    # By job, which is the order of the moves too, because there is an index for it.
    items = BulkItem.objects.using(alias).filter(operation_id=operation.pk, moved=True, job_id__gt=after)
    items = items.order_by(order)
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
