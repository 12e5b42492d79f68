"""What is done to all jobs of a workflow: a chunk at once, the rest by jobs of the engine's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from django.db import connections, transaction

from handlers import lifecycle
from handlers.conf import SYSTEM_QUEUE
from handlers.lifecycle import Applied, NewJob
from handlers.models import NodeOutcome, WorkflowNode
from handlers.models.sql import take_lock
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
    messages = applied.messages
    if len(ids) == CHUNK:
        job = GovernWorkflow(verb, workflow_id, ids[-1], actor, reason)
        new = NewJob(TYPE_NAME, registry.get(TYPE_NAME).encode(job), SYSTEM_QUEUE)
        messages = [*messages, *lifecycle.create([new], actor=actor, using=using)]
    publish_on_commit(messages, using=using, stale=applied.stale)
    return len(applied.moved)


def govern_rest(job: GovernWorkflow) -> None:
    """What a GovernWorkflow job does."""
    using = lifecycle.database()
    with transaction.atomic(using=using):
        take_lock(connections[using])
        govern(job.verb, job.workflow_id, job.after, job.actor, job.reason, using)
