"""A job as data, for programs: what the HTTP API and the command line both tell of it, under the same names."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from handlers.exceptions import NoHandler
from handlers.job_types import JobType
from handlers.lifecycle import database
from handlers.masking import mask, mask_context, mask_result
from handlers.models import (
    AttemptError,
    JobHistory,
    JobPayload,
    JobRecord,
    JobSignal,
    JobTag,
    SignalStatus,
    WorkflowNode,
)
from handlers.registry import registry
from handlers.states import State

MOST_STEPS, MOST_FAILURES = 500, 20  # of a job's history and failures: the newest
FACTS = (
    "queue", "state", "is_retrying", "attempt", "failures", "crashes", "priority", "created_at", "created_by",
    "run_at", "enqueued_at", "started_at", "finished_at", "worker", "error",
)  # fmt: skip
STEP = ("from_state", "to_state", "at", "attempt", "reason", "actor")
FAILURE = ("attempt", "at", "exception", "message", "traceback", "frame")


def find_type(name: str) -> JobType | None:
    """The registered type of this name or alias."""
    with suppress(NoHandler):
        return registry.get(name)
    return None


def facts(record: JobRecord) -> dict[str, Any]:
    """A job, as lists have it."""
    told = {name: getattr(record, name) for name in FACTS}
    return {"id": record.pk, "type": record.job_type, **told, "failure_group": record.fingerprint}


def tags_of(records: Sequence[JobRecord], using: str | None = None) -> dict[int, list[str]]:
    """The tags of each job, by its id: those of its type first, then its own, by name. One statement."""
    own: dict[int, list[str]] = {record.pk: [] for record in records}
    rows = JobTag.objects.using(using or database()).filter(job_id__in=list(own)).order_by("tag")
    for job_id, tag in rows.values_list("job_id", "tag"):
        own[job_id].append(tag)
    found = {}
    for record in records:
        job_type = find_type(record.job_type)
        found[record.pk] = list(dict.fromkeys([*(job_type.tags if job_type else ()), *own[record.pk]]))
    return found


def details(record: JobRecord, *, sees_sensitive: bool = False) -> dict[str, Any]:
    """What hangs on it: its arguments and what it returned, its history and its failures, both from the oldest."""
    job_type, using = find_type(record.job_type), database()
    beside = JobPayload.objects.using(using).filter(pk=record.pk).first()
    data, travels = (beside.data, beside.context or {}) if beside else (None, {})
    result = record.result if record.state == State.SUCCEEDED else None
    steps = JobHistory.objects.using(using).filter(job_id=record.pk).order_by("-pk")[:MOST_STEPS]
    failures = AttemptError.objects.using(using).filter(job_id=record.pk).order_by("-pk")[:MOST_FAILURES]
    nodes = WorkflowNode.objects.using(using).filter(pk=record.pk)
    return {
        "payload": data if sees_sensitive else mask(job_type, data),
        "result": result if sees_sensitive or result is None else mask_result(job_type, result, data),
        "parent_id": beside.parent_id if beside else None,
        "tags": tags_of([record], using)[record.pk],
        "correlation": beside.correlation if beside else "",
        "context": travels if sees_sensitive else mask_context(travels),
        "expires_at": beside.expires_at if beside else None,
        "workflow_id": nodes.values_list("workflow_id", flat=True).first(),
        "waits_for": _awaited(record, using),
        "is_masked": not sees_sensitive and (job_type is None or bool(job_type.sensitive_fields)),
        "history": [_step(step, job_type, sees_sensitive) for step in list(steps)[::-1]],
        "failed_attempts": [{name: getattr(each, name) for name in FAILURE} for each in list(failures)[::-1]],
    }


def _awaited(record: JobRecord, using: str) -> str | None:
    """The name of the signal that it waits for."""
    if record.state != State.WAITING:
        return None
    rows = JobSignal.objects.using(using).filter(job_id=record.pk, status=SignalStatus.WAITS)
    return rows.values_list("name", flat=True).first()


def _step(step: JobHistory, job_type: JobType | None, sees_sensitive: bool) -> dict[str, Any]:
    data = step.data
    if isinstance(data, dict) and "old_payload" in data and not sees_sensitive:
        data = {**data, "old_payload": mask(job_type, data["old_payload"])}
    return {**{name: getattr(step, name) for name in STEP}, "data": data}
