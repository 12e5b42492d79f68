"""Telling a dead man's switch that a recurring job has succeeded: it raises the alarm when it hears nothing."""

from __future__ import annotations

import urllib.request
from dataclasses import dataclass

from django.db import transaction

from handlers import lifecycle
from handlers.conf import ENGINE_TYPES, SYSTEM_QUEUE
from handlers.lifecycle import NewJob
from handlers.models import JobRecord, Occurrence, RecurringJob
from handlers.payloads import Job
from handlers.publishing import publish_on_commit
from handlers.recurrence.firing import ACTOR
from handlers.registry import registry
from handlers.states import ACTIVE, State

HEARTBEAT = f"{ENGINE_TYPES}SendHeartbeat"
LOOK = 5_000  # occurrences looked at in one go, the oldest first
TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True)
class SendHeartbeat(Job):
    """The engine's own: the address is read when it runs, and stands in no job's arguments."""

    recurring_id: int


def send() -> int:
    """Enqueue a heartbeat for each occurrence whose job has succeeded since; how many. Raises the database's errors."""
    alias = lifecycle.database()
    with transaction.atomic(using=alias):
        rows = Occurrence.objects.using(alias).filter(heartbeat=True).order_by("id")
        waiting = {pk: (job, of) for pk, job, of in rows.values_list("id", "job_id", "recurring_id")[:LOOK]}
        jobs = JobRecord.objects.using(alias).filter(pk__in=[job for job, _ in waiting.values()])
        states = dict(jobs.values_list("pk", "state"))
        ended = [pk for pk, (job, _) in waiting.items() if states.get(job or 0, "") not in ACTIVE]
        # Who clears the mark sends: another scheduler may look at the same moment.
        ours = [pk for pk in ended if rows.filter(pk=pk).update(heartbeat=False)]
        encode = registry.get(HEARTBEAT).encode
        new = [
            NewJob(HEARTBEAT, encode(SendHeartbeat(waiting[pk][1])), SYSTEM_QUEUE)
            for pk in ours
            if states.get(waiting[pk][0] or 0) == State.SUCCEEDED
        ]
        publish_on_commit(lifecycle.create(new, actor=ACTOR, using=alias), using=alias)
    return len(new)


def address(recurring_id: int) -> str:
    """Where to send it; empty when there is nowhere any more."""
    rows = RecurringJob.objects.using(lifecycle.database()).filter(pk=recurring_id)
    return rows.values_list("heartbeat_url", flat=True).first() or ""


def ask(url: str) -> None:
    """Ask for ``url``. Raises the errors of urllib, an answer of 400 or more among them; none of them names it."""
    if url:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310 - http or https, as checked when it was set
            answer.read(1_024)
