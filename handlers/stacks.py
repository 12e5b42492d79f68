"""Where a running job is in its code: asked for by a person, told by its worker, forgotten after a day."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from django.db import connections
from django.db.models.functions import Now

from handlers.audit import By, audit
from handlers.failures import clean
from handlers.lifecycle import database
from handlers.models import JobRecord, LiveStack
from handlers.models.sql import database_now
from handlers.states import State
from handlers.writing import writing

KEEP = timedelta(days=1)
WANTED = timedelta(minutes=1)  # what its worker has not told by then, nobody waits for any more


def ask(job_id: int, by: By, reason: str, *, expect: str | None = None) -> bool:
    """Have the worker of a running job say where it is; False when it does not run, or not as ``expect`` says."""
    alias = database()
    with writing(alias):
        rows = JobRecord.objects.using(alias).filter(pk=job_id, state=State.PROCESSING)
        found = (rows if expect is None else rows.filter(token=expect)).values("token", "worker").first()
        if found:
            LiveStack.objects.using(alias).bulk_create(
                [LiveStack(job_id=job_id, asked_at=database_now(connections[alias]), **found)],
                update_conflicts=True,
                unique_fields=["job_id"],
                update_fields=["token", "worker", "asked_at", "taken_at", "text"],
            )
        audit(by, "show_stack", f"job {job_id}", int(found is not None), reason, {"asked": 1, "job_ids": [job_id]})
    return found is not None


def wanted(workers: Collection[str]) -> set[int]:
    """The jobs that these run and that were asked for a moment ago."""
    rows = LiveStack.objects.using(database())
    rows = rows.filter(worker__in=workers, taken_at=None, asked_at__gte=Now() - WANTED)
    return set(rows.values_list("pk", flat=True))


def keep(job_id: int, token: str, text: str) -> None:
    """Tell where the run of this ``token`` is; nothing when nobody asks any more. Raises the database's errors."""
    alias = database()
    rows = LiveStack.objects.using(alias).filter(pk=job_id, token=token, taken_at=None)
    rows.update(taken_at=database_now(connections[alias]), text=clean(text))


def forget(limit: int = 5_000) -> bool:
    """Erase up to ``limit`` stacks that are past their time; whether there may be more."""
    alias = database()
    old = LiveStack.objects.using(alias).filter(asked_at__lt=database_now(connections[alias]) - KEEP)
    ids = list(old.values_list("pk", flat=True)[:limit])
    LiveStack.objects.using(alias).filter(pk__in=ids).delete()
    return len(ids) == limit
