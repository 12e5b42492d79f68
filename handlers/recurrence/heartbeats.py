"""Telling a dead man's switch that a recurring job has succeeded: it raises the alarm when it hears nothing."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import connections
from django.db.models import Exists, OuterRef

from handlers import lifecycle
from handlers.conf import ENGINE_TYPES, SYSTEM_QUEUE
from handlers.lifecycle import NewJob
from handlers.models import JobRecord, Occurrence, RecurringJob
from handlers.models.sql import is_postgresql
from handlers.outbound import call
from handlers.payloads import Job
from handlers.publishing import publish_on_commit
from handlers.recurrence.firing import ACTOR
from handlers.registry import registry
from handlers.states import ACTIVE, State
from handlers.writing import writing

HEARTBEAT = f"{ENGINE_TYPES}SendHeartbeat"
LOOK = 5_000  # occurrences in one go, the oldest first


@dataclass(frozen=True)
class SendHeartbeat(Job):
    """The engine's own: the address is read when it runs, and stands in no job's arguments."""

    recurring_id: int


def send() -> int:
    """Enqueue a heartbeat for each occurrence whose job has succeeded since; how many. Raises the database's errors."""
    alias = lifecycle.database()
    with writing(alias):
        jobs = JobRecord.objects.using(alias)
        waiting = Exists(jobs.filter(pk=OuterRef("job_id"), state__in=ACTIVE))
        rows = Occurrence.objects.using(alias).filter(~waiting, heartbeat=True).order_by("id")
        if is_postgresql(connections[alias]):  # what is locked another scheduler sends
            rows = rows.select_for_update(skip_locked=True)
        ended = list(rows.values_list("id", "job_id", "recurring_id")[:LOOK])
        Occurrence.objects.using(alias).filter(pk__in=[pk for pk, *_ in ended]).update(heartbeat=False)
        done = jobs.filter(pk__in=[job_id for _, job_id, _ in ended], state=State.SUCCEEDED)
        succeeded = {*done.values_list("pk", flat=True)}
        encode = registry.get(HEARTBEAT).encode
        new = [
            NewJob(HEARTBEAT, encode(SendHeartbeat(of)), SYSTEM_QUEUE) for _, job_id, of in ended if job_id in succeeded
        ]
        publish_on_commit(lifecycle.create(new, actor=ACTOR, using=alias), using=alias)
    return len(new)


def address(recurring_id: int) -> str:
    """Where to send it; empty when there is nowhere any more."""
    rows = RecurringJob.objects.using(lifecycle.database()).filter(pk=recurring_id)
    return rows.values_list("heartbeat_url", flat=True).first() or ""


def ask(url: str) -> None:
    """Ask for ``url``. Raises as ``handlers.outbound.call`` does; no error names it."""
    if url:
        call(url)
