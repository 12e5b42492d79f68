"""Jobs as answers have them: what is sensitive is masked, unless the token's scope has that."""

from __future__ import annotations

from typing import Any

from handlers.api import shapes
from handlers.api.asking import Asker
from handlers.api.tags import tag_of
from handlers.exceptions import NoHandler
from handlers.job_types import JobType
from handlers.masking import MASK, mask, mask_result
from handlers.models import AttemptError, JobHistory, JobPayload, JobRecord, WorkflowNode
from handlers.registry import registry
from handlers.states import State

MOST_STEPS = 500  # of a job's history: the newest
MOST_FAILURES = 20


def find_type(name: str) -> JobType | None:
    """The registered type of this name or alias."""
    try:
        return registry.get(name)
    except NoHandler:
        return None


def job(record: JobRecord) -> dict[str, Any]:
    """A job, as lists have it."""
    return {
        "id": record.pk,
        "type": record.job_type,
        "queue": record.queue,
        "state": record.state,
        "is_retrying": record.is_retrying,
        "attempt": record.attempt,
        "failures": record.failures,
        "crashes": record.crashes,
        "priority": record.priority,
        "created_at": record.created_at,
        "created_by": record.created_by,
        "run_at": record.run_at,
        "enqueued_at": record.enqueued_at,
        "started_at": record.started_at,
        "finished_at": record.finished_at,
        "worker": record.worker,
        "error": record.error,
        "failure_group": record.fingerprint,
        "etag": tag_of(record),
    }


def detail(record: JobRecord, asker: Asker) -> shapes.JobDetail:
    """A job with all that hangs on it."""
    job_type, sees = find_type(record.job_type), asker.sees_sensitive
    beside = JobPayload.objects.filter(pk=record.pk).first()
    data = beside.data if beside else None
    result = record.result if record.state == State.SUCCEEDED else None
    steps = list(JobHistory.objects.filter(job_id=record.pk).order_by("-pk")[:MOST_STEPS])[::-1]
    failures = list(AttemptError.objects.filter(job_id=record.pk).order_by("-pk")[:MOST_FAILURES])[::-1]
    node = WorkflowNode.objects.filter(pk=record.pk).values_list("workflow_id", flat=True).first()
    return shapes.JobDetail.model_construct(
        **job(record),
        payload=data if sees else mask(job_type, data),
        result=result if sees or result is None else mask_result(job_type, result, data),
        parent_id=beside.parent_id if beside else None,
        correlation=beside.correlation if beside else "",
        expires_at=beside.expires_at if beside else None,
        workflow_id=node,
        is_masked=not sees and (job_type is None or bool(job_type.sensitive_fields)),
        history=[_step(row, job_type, sees=sees) for row in steps],
        failed_attempts=[
            shapes.Failure.model_construct(
                attempt=row.attempt, at=row.at, exception=row.exception, message=row.message,
                traceback=row.traceback, frame=row.frame,
            )
            for row in failures
        ],
    )  # fmt: skip


def _step(row: JobHistory, job_type: JobType | None, *, sees: bool) -> shapes.Step:
    data = row.data
    if isinstance(data, dict) and "old_payload" in data and not sees:
        data = {**data, "old_payload": mask(job_type, data["old_payload"])}
    return shapes.Step.model_construct(
        from_state=row.from_state, to_state=row.to_state, at=row.at, attempt=row.attempt, reason=row.reason,
        actor=row.actor, data=data,
    )  # fmt: skip


def unmasked(sent: Any, stored: Any, shown: Any) -> Any:
    """``sent`` with what is stored where it has the mask that the client was ``shown``, which it only sent back."""
    if sent == MASK and shown == MASK:
        return stored
    if isinstance(sent, dict) and isinstance(stored, dict) and isinstance(shown, dict):
        return {key: unmasked(value, stored.get(key), shown.get(key)) for key, value in sent.items()}
    if isinstance(sent, list) and isinstance(stored, list) and isinstance(shown, list) and len(sent) == len(stored):
        return [unmasked(*each) for each in zip(sent, stored, shown, strict=True)]
    return sent
