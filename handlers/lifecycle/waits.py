"""Where a wait begins: what the settling of an attempt asks of signals, and writes down; and where all is forgotten.

It begins under the lock of the job's row, which whoever sends a signal takes, too: so of the two one sees the other.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from django.db import connections

from handlers.models import JobRecord, JobSignal, SignalStatus
from handlers.models.sql import database_now, is_postgresql, lock_jobs


def answered(wanted: Mapping[int, str], batch: Collection[int], using: str) -> set[int]:
    """Whose signal (by the job's id) is there already, unread. All jobs of the ``batch`` are locked, by id.

    In two statements: what the second one reads is what others had committed once the rows were ours.
    """
    rows = JobRecord.objects.using(using).filter(pk__in=batch).order_by("pk")
    if is_postgresql(connections[using]):
        rows = lock_jobs(rows)
    attempts = dict(rows.values_list("pk", "attempt"))
    came = JobSignal.objects.using(using).filter(job_id__in=wanted, status=SignalStatus.CAME)
    return {
        job_id
        for job_id, name, attempt in came.values_list("job_id", "name", "attempt")
        if name == wanted[job_id] and attempt >= attempts.get(job_id, 0)
    }


def begin(wanted: Mapping[int, str], using: str) -> None:
    """Write down for what these jobs wait from now on: what was read of such a signal before is read no more."""
    now = database_now(connections[using])
    attempts = dict(JobRecord.objects.using(using).filter(pk__in=wanted).values_list("pk", "attempt"))
    JobSignal.objects.using(using).bulk_create(
        [
            JobSignal(
                job_id=job_id, name=name, status=SignalStatus.WAITS, attempt=attempts[job_id], at=now, data=None, by=""
            )
            for job_id, name in sorted(wanted.items())
        ],
        update_conflicts=True,
        unique_fields=["job", "name"],
        update_fields=["status", "attempt", "at", "data", "by"],
    )


def forget_signals(ids: Collection[int], using: str, *, only_timeouts: bool = False) -> None:
    """These jobs begin anew: what came for them was for another round."""
    if ids:
        known = JobSignal.objects.using(using).filter(job_id__in=ids)
        (known.filter(status=SignalStatus.TIMED_OUT) if only_timeouts else known)._raw_delete(using)
