"""What a run is made of: its verbs, its live states, and the chain of its chunk jobs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from handlers import lifecycle
from handlers.audit import By
from handlers.conf import SYSTEM_QUEUE
from handlers.lifecycle import Applied, NewJob
from handlers.models import BulkOperation, JobPayload, JobRecord
from handlers.models.bulk import BulkState
from handlers.payloads import Job
from handlers.registry import registry
from handlers.states import DELETABLE, MOVABLE, RETRYABLE, State
from handlers.transport import Message

LIVE = (BulkState.CANARY.value, BulkState.RUNNING.value)
STALLED_AFTER = timedelta(minutes=5)  # without progress
TYPE_NAME = "jobs.RunBulk"
CANARY = 5  # jobs of one, where nobody says how many


@dataclass(frozen=True)
class RunBulk(Job):
    """One chunk of a bulk operation. It acts only while the operation is at ``step``."""

    operation_id: int
    step: int


@dataclass(frozen=True)
class BulkVerb:
    """A verb that can be done to all that match."""

    act: Callable[..., Applied]
    sources: frozenset[State]
    runs: bool  # the jobs run afterwards, so that their first attempts can be watched
    past: str  # "no such job can be retried"
    to_queue: bool = False  # it is told which queue they go to


VERBS = {
    "retry": BulkVerb(lifecycle.retry, frozenset(RETRYABLE), runs=True, past="retried"),
    "requeue": BulkVerb(lifecycle.requeue, frozenset({State.SUCCEEDED}), runs=True, past="requeued"),
    "delete": BulkVerb(lifecycle.delete, frozenset(DELETABLE), runs=False, past="deleted"),
    "move": BulkVerb(lifecycle.move_to_queue, frozenset(MOVABLE), runs=False, past="moved", to_queue=True),
}


def named(operation_id: int) -> str:
    """The run as the audit and histories name it."""
    return f"bulk operation {operation_id}"


def starter(operation: BulkOperation) -> By:
    """Who started it: a user, or a name when the user is gone or a program did."""
    return operation.user or operation.username or None


def next_chunk(operation: BulkOperation, alias: str, delay: timedelta | None = None) -> list[Message]:
    """Create the chunk job of the operation's present step; publish its message after the commit."""
    payload = registry.get(TYPE_NAME).encode(RunBulk(operation.pk, operation.step))
    job = NewJob(TYPE_NAME, payload, SYSTEM_QUEUE, delay=delay, correlation=_correlation(operation.pk))
    return lifecycle.create([job], actor=named(operation.pk), using=alias)


def chunk_job(operation: BulkOperation) -> JobRecord | None:
    """The newest chunk job of the run; None: it is gone."""
    newest = JobPayload.objects.filter(correlation=_correlation(operation.pk), job_type=TYPE_NAME).order_by("-pk")
    job_id = newest.values_list("pk", flat=True).first()
    return JobRecord.objects.filter(pk=job_id).first() if job_id else None


def _correlation(operation_id: int) -> str:
    return f"bulk-{operation_id}"
