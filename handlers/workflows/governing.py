"""What is done to all jobs of a workflow: a chunk at once, the rest by jobs of the engine's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from django.db import connections, transaction

from handlers import lifecycle
from handlers.conf import SYSTEM_QUEUE
from handlers.lifecycle import Applied, NewJob
from handlers.models import NodeOutcome, Workflow, WorkflowNode
from handlers.models.sql import database_now, take_lock
from handlers.payloads import Job
from handlers.publishing import publish_on_commit
from handlers.registry import registry

CHUNK = 1_000
TYPE_NAME = "jobs.GovernWorkflow"


@dataclass(frozen=True)
class GovernWorkflow(Job):
    """``cancel`` or ``retry`` jobs of a workflow, from job ``after`` on."""

    verb: str
    workflow_id: int
    after: int
    actor: str
    reason: str


def govern(verb: str, workflow_id: int, after: int, actor: str, reason: str, using: str) -> int:
    """Do it to the next chunk; to how many it was done. Repeated, it finds nothing more to do."""
    rows = WorkflowNode.objects.using(using).filter(workflow_id=workflow_id, pk__gt=after).order_by("pk")
    rows = rows.filter(outcome=NodeOutcome.FAILED) if verb == "retry" else rows.filter(counts=True)
    act: Callable[..., Applied] = lifecycle.retry if verb == "retry" else lifecycle.delete
    ids = list(rows.values_list("pk", flat=True)[:CHUNK])
    applied = act(ids, actor=actor, reason=reason)
    if verb == "cancel":  # those that its jobs have opened, too
        inner = Workflow.objects.using(using).filter(opened_by__in=ids, finished_at=None, cancelled_at=None)
        for each in list(inner.values_list("pk", flat=True)):
            cancel(each, actor, reason, using)
    messages = applied.messages
    if len(ids) == CHUNK:
        job = GovernWorkflow(verb, workflow_id, ids[-1], actor, reason)
        new = NewJob(TYPE_NAME, registry.get(TYPE_NAME).encode(job), SYSTEM_QUEUE)
        messages = [*messages, *lifecycle.create([new], actor=actor, using=using)]
    publish_on_commit(messages, using=using, stale=applied.stale)
    return len(applied.moved)


def cancel(workflow_id: int, actor: str, reason: str, using: str) -> bool:
    """Let no further job of it run; whether it was not over."""
    rows = Workflow.objects.using(using).filter(pk=workflow_id, cancelled_at=None, finished_at=None)
    if not rows.update(cancelled_at=database_now(connections[using]), paused_at=None):
        return False
    govern("cancel", workflow_id, 0, actor, reason, using)
    return True


def govern_rest(job: GovernWorkflow) -> None:
    """What a GovernWorkflow job does."""
    using = lifecycle.database()
    with transaction.atomic(using=using):
        take_lock(connections[using])
        govern(job.verb, job.workflow_id, job.after, job.actor, job.reason, using)
