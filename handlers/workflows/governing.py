"""What is done to all jobs of a workflow: a chunk at once, the rest by jobs of the engine's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import connections, transaction
from django.db.models import Exists, F, OuterRef, QuerySet

from handlers import lifecycle
from handlers.conf import SYSTEM_QUEUE
from handlers.failures import clean, reason_text
from handlers.lifecycle import Applied, NewJob
from handlers.models import JobRecord, Workflow, WorkflowNode
from handlers.models.sql import database_now
from handlers.payloads import Job
from handlers.publishing import publish, publish_on_commit
from handlers.registry import registry
from handlers.states import State
from handlers.transport import Message
from handlers.writing import writing

CHUNK = 1_000
PUBLISHED = 5_000  # jobs that a workflow has on its queues, when it goes on; recovery finds the others
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
    nodes = WorkflowNode.objects.using(using).filter(workflow_id=workflow_id)
    if verb == "retry":  # by the index of jobs that did not succeed, which finds a few among very many
        first, last = WorkflowNode.span(workflow_id)
        failed = JobRecord.objects.using(using).filter(state=State.FAILED, pk__gte=first, pk__lte=last, pk__gt=after)
        rows: QuerySet[Any] = failed.filter(Exists(nodes.filter(pk=OuterRef("pk"))))
    else:
        rows = nodes.filter(counts=True, pk__gt=after)
    act: Callable[..., Applied] = lifecycle.retry if verb == "retry" else lifecycle.delete
    ids = list(rows.order_by("pk").values_list("pk", flat=True)[:CHUNK])
    applied = act(ids, actor=actor, reason=reason)
    if verb == "cancel":  # those that its jobs have opened, too
        inner = Workflow.objects.using(using).filter(opened_by__in=ids, finished_at=None, cancelled_at=None)
        for each in list(inner.values_list("pk", flat=True)):
            cancel(each, actor, reason, using)
    messages = applied.messages
    if len(ids) == CHUNK:
        job = GovernWorkflow(verb, workflow_id, ids[-1], clean(actor, 150), reason_text(reason))
        new = NewJob(TYPE_NAME, registry.get(TYPE_NAME).encode(job), SYSTEM_QUEUE)
        messages = [*messages, *lifecycle.create([new], actor=actor, using=using)]
    elif verb == "cancel":
        _unpause(workflow_id, using)
    publish_on_commit(messages, using=using, stale=applied.stale)
    return len(applied.moved)


def cancel(workflow_id: int, actor: str, reason: str, using: str) -> bool:
    """Let no further job of it run; whether it was not over."""
    rows = Workflow.objects.using(using).filter(pk=workflow_id, cancelled_at=None, finished_at=None)
    if not rows.update(cancelled_at=database_now(connections[using])):
        return False
    govern("cancel", workflow_id, 0, actor, reason, using)
    return True


def _unpause(workflow_id: int, using: str) -> None:
    """One that was paused stays so until all of it is deleted, so that nothing starts meanwhile; then its end comes."""
    rows = Workflow.objects.using(using).filter(pk=workflow_id, paused_at__lte=F("cancelled_at"))
    if rows.update(paused_at=None):
        publish_waiting_on_commit(workflow_id, using)


def publish_waiting_on_commit(workflow_id: int, using: str) -> None:
    """Publish what workers dropped while the workflow was paused."""
    transaction.on_commit(lambda: _publish_waiting(workflow_id, using), using=using, robust=True)


def _publish_waiting(workflow_id: int, using: str) -> None:
    nodes = WorkflowNode.objects.using(using).filter(workflow_id=workflow_id).values("pk")
    jobs = JobRecord.objects.using(using).filter(pk__in=nodes, state=State.ENQUEUED).order_by("enqueued_at", "pk")
    found = jobs.values_list("pk", "token", "queue", "priority", "enqueued_at")[:PUBLISHED]
    publish([Message(pk, token, queue, priority=rank, enqueued_at=at) for pk, token, queue, rank, at in found])


def publish_rest_on_commit(workflow_id: int, after: int, using: str) -> None:
    """Publish what a workflow has beyond job ``after``, once that is committed: too many to be held until then."""
    transaction.on_commit(lambda: _publish_rest(workflow_id, after, using), using=using, robust=True)


def _publish_rest(workflow_id: int, after: int, using: str) -> None:
    nodes = WorkflowNode.objects.using(using).filter(workflow_id=workflow_id).order_by("pk")
    states = {State.ENQUEUED.value, State.SCHEDULED.value}
    while ids := list(nodes.filter(pk__gt=after).values_list("pk", flat=True)[:CHUNK]):
        found = JobRecord.objects.using(using).filter(pk__in=ids, state__in=states).order_by("pk")
        columns = found.values_list("pk", "token", "queue", "state", "run_at", "priority")
        messages = [
            Message(pk, token, queue, run_at if state == State.SCHEDULED else None, priority)
            for pk, token, queue, state, run_at, priority in columns
        ]
        if messages and not publish(messages, wait=False):
            return  # recovery finds them
        after = ids[-1]


def govern_rest(job: GovernWorkflow) -> None:
    """What a GovernWorkflow job does."""
    using = lifecycle.database()
    with writing(using):
        govern(job.verb, job.workflow_id, job.after, job.actor, job.reason, using)
