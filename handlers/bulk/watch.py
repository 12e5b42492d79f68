"""The five-minute rule for runs that cannot keep it themselves, because their chunk job is lost or nobody runs it."""

from __future__ import annotations

from datetime import timedelta

from django.db import connections

from handlers.audit import audit
from handlers.bulk.runs import LIVE, STALLED_AFTER, chunk_job, named
from handlers.lifecycle import database
from handlers.models import BulkOperation
from handlers.models.bulk import BulkState
from handlers.models.sql import database_now, is_postgresql
from handlers.writing import writing

GRACE = timedelta(seconds=10)  # a run that still works sees it first, and knows more to say


def pause_stalled() -> int:
    """Pause each run in which nothing happened for 5 minutes, and note why; how many."""
    alias = database()
    since = database_now(connections[alias]) - STALLED_AFTER - GRACE
    stalled = BulkOperation.objects.using(alias).filter(state__in=LIVE, progressed_at__lt=since)
    if not stalled.exists():
        return 0
    with writing(alias):
        if is_postgresql(connections[alias]):
            stalled = stalled.select_for_update(skip_locked=True)  # whoever holds the row is doing something
        for operation in stalled:
            operation.state, operation.note = BulkState.PAUSED, f"Nothing happened for 5 minutes: {_why(operation)}."
            operation.save(using=alias, update_fields=["state", "note"])
            audit(named(operation.pk), "pause_bulk", named(operation.pk), operation.moved, operation.note, None)
        return len(stalled)


def _why(operation: BulkOperation) -> str:
    job = chunk_job(operation)
    if job is None:
        return "its chunk job is gone"
    waits = "no worker took it" if job.state == "enqueued" else "it did not get further"
    return f"its chunk job {job.pk} is {job.state}, {waits}"
