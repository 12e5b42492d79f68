"""What is on record of a task's job, as Django's ``TaskResult``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from asgiref.sync import sync_to_async

from handlers import lifecycle
from handlers.exceptions import NoHandler
from handlers.job_ids import job_ids
from handlers.models import AttemptError, JobHistory, JobRecord, TaskMetadata
from handlers.registry import registry
from handlers.states import FINAL, State
from handlers.tasks import arguments
from handlers.tasks.durable_task import like
from handlers.tasks.families import Family, family, family_of
from handlers.tasks.task_types import TaskType

REFRESHED = (
    "errors", "_return_value", "finished_at", "started_at", "last_attempted_at", "status", "enqueued_at", "worker_ids",
    "metadata",
)  # fmt: skip


@cache
def _result_class(name: str) -> Any:
    of = family(name)

    @dataclass(frozen=True, slots=True, kw_only=True)
    class DurableResult(of.result):  # type: ignore[misc, name-defined] # which of the two is known at run time
        metadata: dict[str, Any] = field(default_factory=dict)

        def refresh(self) -> None:
            """Read again what may have changed."""
            fresh = self.task.get_backend().get_result(self.id)
            for name in REFRESHED:
                object.__setattr__(self, name, getattr(fresh, name))

        async def arefresh(self) -> None:
            """The same for asynchronous callers."""
            await sync_to_async(self.refresh, thread_sensitive=True)()

    DurableResult.__qualname__ = f"DurableResult{name.count('_') * 'OfPackage'}"
    return DurableResult


def result_class(of: Family) -> Any:
    """The class of a family's results."""
    return _result_class(of.name)


def read(result_id: Any) -> Any:
    """The result of this job; None where there is none, or it is no task's, or of a task that is no longer known."""
    known = job_ids([result_id])
    if not known:
        return None
    records = JobRecord.objects.using(lifecycle.database()).select_related("arguments", "kept_result", "task_metadata")
    record = records.filter(pk=known[0]).first()
    if record is None:
        return None
    try:
        job_type = registry.find(record.job_type)
    except NoHandler:
        return None
    return _result(record, job_type) if isinstance(job_type, TaskType) else None


def save_metadata(result: Any, metadata: Any, *, attempt: int) -> dict[str, Any]:
    """Put it on record, unless a later attempt has; as JSON has it. Raises InvalidArguments."""
    clean: dict[str, Any] = arguments.metadata(metadata, type_name=result.task.module_path)
    rows = TaskMetadata.objects.using(lifecycle.database())
    job = int(result.id)
    if not rows.filter(pk=job, attempt__lte=attempt).update(data=clean, attempt=attempt):
        rows.bulk_create([TaskMetadata(job_id=job, data=clean, attempt=attempt)], ignore_conflicts=True)
    return clean


def exception_path(name: str) -> str:
    """The dotted path that Django imports an error's class by.

    The engine knows those of Python by their bare name, and calls what was no exception ``handlers.WorkerLost``, say.
    """
    package, _, own = name.rpartition(".")
    return {"": f"builtins.{own}", "handlers": f"handlers.exceptions.{own}"}.get(package, name)


def _result(record: Any, job_type: TaskType) -> Any:
    declared = job_type.task
    of = family_of(declared)
    assert of is not None
    content = _dict(record.arguments.data)
    brought = _dict(content.get("options"))
    kept = getattr(record, "task_metadata", None)
    metadata = kept.data if kept is not None else brought.get("metadata", {})
    backend = brought.get("backend", declared.backend)
    changes = {"queue_name": record.queue, "priority": record.priority, "run_after": record.run_at, "backend": backend}
    errors, starts = _errors(record, of), _starts(record)
    result = result_class(of)(
        task=like(declared, **changes),
        id=str(record.pk),
        status=_status(record, of),
        enqueued_at=record.created_at,
        started_at=starts[0].at if starts else None,
        last_attempted_at=starts[-1].at if starts else None,
        finished_at=record.finished_at if record.state in FINAL else None,
        args=content.get("args", []),
        kwargs=content.get("kwargs", {}),
        backend=backend,
        errors=errors,
        worker_ids=[start.worker for start in starts],
        metadata=metadata,
    )
    object.__setattr__(result, "_return_value", record.result)
    return result


def _dict(stored: Any) -> dict[str, Any]:
    """``stored``; empty where it is no object: whoever writes to the table writes what they like."""
    return stored if isinstance(stored, dict) else {}


@dataclass(frozen=True, slots=True)
class _Start:
    at: Any
    worker: str


def _starts(record: Any) -> Sequence[_Start]:
    """When each attempt began, and where."""
    if not record.attempt:
        return []
    if record.attempt == 1 and record.started_at and record.worker:
        return [_Start(record.started_at, record.worker)]
    claimed = (
        JobHistory.objects.using(lifecycle.database()).filter(job=record, to_state=State.PROCESSING).order_by("pk")
    )
    found: dict[int, _Start] = {}  # of a claim that was handed back unstarted the number comes again
    for attempt, at, data in claimed.values_list("attempt", "at", "data"):
        found[attempt] = _Start(at, (data or {}).get("worker", ""))
    last = _Start(record.started_at, record.worker)
    return [found.get(number, last) for number in range(1, record.attempt + 1)]


def _errors(record: Any, of: Family) -> list[Any]:
    if not record.error and not record.failures and record.state != State.FAILED and record.attempt < 2:
        return []
    rows = (
        AttemptError.objects.using(lifecycle.database())
        .filter(job=record)
        .order_by("pk")
        .values_list("exception", "traceback", "message")
    )
    return [
        of.error(exception_class_path=exception_path(name), traceback=traceback or message)
        for name, traceback, message in rows
    ]


def _status(record: Any, of: Family) -> Any:
    match record.state:
        case State.PROCESSING:
            return of.status.RUNNING
        case State.SUCCEEDED:
            return of.status.SUCCESSFUL
        case State.FAILED | State.DELETED:
            return of.status.FAILED
    return of.status.READY


def __getattr__(name: str) -> Any:
    """The classes by name, as pickle looks for them."""
    if name == "DurableResult":
        return _result_class("django.tasks")
    if name == "DurableResultOfPackage":
        return _result_class("django_tasks")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
