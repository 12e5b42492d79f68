"""A job as a table's line and as a JSON object; sensitive arguments are masked."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from handlers.command_line.screen import age
from handlers.exceptions import NoHandler
from handlers.job_types import JobType
from handlers.masking import mask, mask_result
from handlers.models import AttemptError, JobHistory, JobPayload, JobRecord, WorkflowNode
from handlers.registry import registry

HEADS = ("ID", "STATE", "TYPE", "QUEUE", "AGE", "TRY", "ERROR")
MOST_STEPS, MOST_FAILURES = 500, 20  # of a job that is shown: the newest


def state_of(record: JobRecord) -> str:
    """The state, as the console says it."""
    return "retrying" if record.is_retrying else record.state


def line(record: JobRecord, now: datetime) -> Sequence[Any]:
    """A table's line."""
    since = record.run_at if record.state == "scheduled" else record.finished_at or record.started_at
    return (
        record.pk, state_of(record), record.job_type, record.queue, age(since or record.created_at, now),
        record.attempt, record.error,
    )  # fmt: skip


def facts(record: JobRecord) -> dict[str, Any]:
    """What a list has of it; names as in the HTTP API."""
    names = (
        "queue", "state", "is_retrying", "attempt", "failures", "crashes", "priority", "created_at", "created_by",
        "run_at", "enqueued_at", "started_at", "finished_at", "worker", "error",
    )  # fmt: skip
    told = {name: getattr(record, name) for name in names}
    return {"id": record.pk, "type": record.job_type, **told, "failure_group": record.fingerprint}


def details(record: JobRecord) -> dict[str, Any]:
    """The same with its arguments, what it returned, its history and its failures."""
    job_type = type_of(record.job_type)
    beside = JobPayload.objects.using(record._state.db).filter(pk=record.pk).first()
    data = beside.data if beside else None
    steps = list(JobHistory.objects.filter(job_id=record.pk).order_by("-pk")[:MOST_STEPS])[::-1]
    failures = list(AttemptError.objects.filter(job_id=record.pk).order_by("-pk")[:MOST_FAILURES])[::-1]
    return {
        **facts(record),
        "payload": mask(job_type, data),
        "result": None if record.result is None else mask_result(job_type, record.result, data),
        "parent_id": beside.parent_id if beside else None,
        "correlation": beside.correlation if beside else "",
        "expires_at": beside.expires_at if beside else None,
        "workflow_id": WorkflowNode.objects.filter(pk=record.pk).values_list("workflow_id", flat=True).first(),
        "history": [_step(step, job_type) for step in steps],
        "failed_attempts": [
            {name: getattr(failure, name) for name in ("attempt", "at", "exception", "message", "traceback", "frame")}
            for failure in failures
        ],
    }


def _step(step: JobHistory, job_type: JobType | None) -> dict[str, Any]:
    data = step.data
    if isinstance(data, dict) and "old_payload" in data:
        data = {**data, "old_payload": mask(job_type, data["old_payload"])}
    names = ("from_state", "to_state", "at", "attempt", "reason", "actor")
    return {**{name: getattr(step, name) for name in names}, "data": data}


def type_of(name: str) -> JobType | None:
    with suppress(NoHandler):
        return registry.get(name)
    return None
