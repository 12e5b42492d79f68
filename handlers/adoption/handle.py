"""What the site's code gets for a durable job: RQ's ``Job``, read from the job's record."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from django.db.models import QuerySet
from django_rq.connection_utils import get_connection
from rq.exceptions import NoSuchJobError
from rq.job import Job, JobStatus
from rq.results import Result
from rq.serializers import JSONSerializer

from handlers import lifecycle
from handlers.adoption.calls import PREFIX
from handlers.cancellation import CancellationToken
from handlers.gateway import job_scheduler
from handlers.models import AttemptError, JobPayload, JobRecord, RQOrigin
from handlers.rq_transport.connections import redis_connection
from handlers.states import State
from handlers.writing import writing

STATUS = {
    State.AWAITING: JobStatus.DEFERRED,
    State.SCHEDULED: JobStatus.SCHEDULED,
    State.ENQUEUED: JobStatus.QUEUED,
    State.PROCESSING: JobStatus.STARTED,
    State.WAITING: JobStatus.DEFERRED,
    State.SUCCEEDED: JobStatus.FINISHED,
    State.FAILED: JobStatus.FAILED,
    State.DELETED: JobStatus.CANCELED,
}


class DurableJob(Job):
    """A job of RQ's, or the handle of a durable one: then it is read from its record and acted on by the gateway."""

    record_id: int | None = None  # the durable job's
    recurring: str | None = None  # or the name of a recurring one

    @classmethod
    def fetch(cls, id: str, connection: Any = None, serializer: Any = None) -> Job:  # noqa: A002 - RQ's name
        """The job of this id, durable or RQ's own, which goes before a durable one of its name. NoSuchJobError."""
        try:
            return super().fetch(id, connection=connection, serializer=serializer)
        except NoSuchJobError:
            if (record := find(id)) is None:
                raise
            return of_record(record, connection, name=id)

    @classmethod
    def exists(cls, job_id: str, connection: Any) -> bool:
        """Whether there is one, durable or RQ's own."""
        return find(job_id) is not None or super().exists(job_id, connection)

    @classmethod
    def fetch_many(cls, job_ids: Iterable[str], connection: Any, serializer: Any = None) -> list[Job | None]:
        """Those of these ids, None where there is none."""
        found: list[Job | None] = []
        for job_id in job_ids:
            try:
                found.append(cls.fetch(job_id, connection=connection, serializer=serializer))
            except NoSuchJobError:
                found.append(None)
        return found

    # --- what it is

    def get_status(self, refresh: bool = True) -> JobStatus:
        """Its status, in RQ's words."""
        if self.record_id is not None and refresh:
            self.refresh()
        return self._status if self.record_id is not None or self.recurring else super().get_status(refresh)

    def refresh(self) -> None:
        """Read its record again. Raises NoSuchJobError when it was erased meanwhile."""
        if self.record_id is None:
            if not self.recurring:
                super().refresh()  # type: ignore[no-untyped-call]
            return
        record = _records().filter(pk=self.record_id).first()
        if record is None:
            raise NoSuchJobError(f"No such durable job: {self.record_id}")
        _fill(self, record)

    def get_meta(self, refresh: bool = True) -> dict[str, Any]:
        """What its function has saved, or it was enqueued with."""
        if self.record_id is None:
            return super().get_meta(refresh) if not self.recurring else self.meta
        if refresh:
            self.refresh()
        return self.meta

    def save_meta(self) -> None:
        """Put its meta on record: JSON. Raises what JSON raises for anything else."""
        if self.record_id is None:
            super().save_meta()  # type: ignore[no-untyped-call]
            return
        rows = RQOrigin.objects.using(lifecycle.database())
        with writing(lifecycle.database()):
            rows.update_or_create(
                origin=f"meta:{self.record_id}", defaults={"job_id": self.record_id, "meta": self.meta}
            )

    def save(self, pipeline: Any = None, include_meta: bool = True, include_result: bool = True) -> None:
        """A durable one is on record already; its meta is saved."""
        if self.record_id is None and not self.recurring:
            super().save(pipeline, include_meta, include_result)
        elif include_meta and self.record_id is not None:
            self.save_meta()

    def return_value(self, refresh: bool = False) -> Any:
        """What it returned, as JSON has it; None while there is nothing."""
        if self.record_id is None:
            return super().return_value(refresh)
        record = _records().select_related("kept_result").filter(pk=self.record_id).first()
        return record.result if record is not None and record.state == State.SUCCEEDED else None

    @property
    def result(self) -> Any:
        """The same."""
        return self.return_value() if self.record_id is not None else super().result

    @property
    def exc_info(self) -> str | None:
        """The last attempt's traceback, if that failed."""
        if self.record_id is None:
            return super().exc_info
        errors = AttemptError.objects.using(lifecycle.database()).filter(job_id=self.record_id).order_by("-pk")
        found = errors.values_list("traceback", "message").first() if self.get_status() != JobStatus.FINISHED else None
        return None if found is None else found[0] or found[1]

    def latest_result(self, timeout: int = 0) -> Result | None:
        """How it ended, if it has; it is not waited for."""
        if self.record_id is None:
            return super().latest_result(timeout)
        status = self.get_status()
        if status not in (JobStatus.FINISHED, JobStatus.FAILED):
            return None
        kind = Result.Type.SUCCESSFUL if status == JobStatus.FINISHED else Result.Type.FAILED
        return Result(
            self.id, kind, self.connection, created_at=self.ended_at,
            return_value=self.return_value(), exc_string=self.exc_info,
        )  # fmt: skip

    def results(self) -> list[Result]:
        """The last one."""
        if self.record_id is None:
            return super().results()
        return [found] if (found := self.latest_result()) else []

    # --- what can be done with it

    def cancel(
        self, pipeline: Any = None, enqueue_dependents: bool = False, remove_from_dependencies: bool = False
    ) -> dict[str, list[str]]:
        """It never runs; what waits for it never does either."""
        if self.recurring:
            job_scheduler.remove_recurring(self.recurring)
        elif self.record_id is None:
            return super().cancel(pipeline, enqueue_dependents, remove_from_dependencies)
        else:
            job_scheduler.delete(self.record_id, reason="cancelled by its RQ handle")
            self.refresh()
        return {}

    def delete(self, pipeline: Any = None, remove_from_queue: bool = True, delete_dependents: bool = False) -> None:
        """The same: its record stays for as long as deleted jobs are kept."""
        if self.record_id is None and not self.recurring:
            super().delete(pipeline, remove_from_queue, delete_dependents)
        else:
            self.cancel()

    def requeue(self, at_front: bool = False) -> Job:
        """Run it again: a failed one with a new round of retries."""
        if self.record_id is None:
            return super().requeue(at_front)
        if not job_scheduler.retry(self.record_id):
            job_scheduler.requeue(self.record_id)
        self.refresh()
        return self

    def get_position(self) -> int | None:
        """Nobody counts what stands before a durable one."""
        return super().get_position() if self.record_id is None and not self.recurring else None


def find(job_id: str) -> JobRecord | None:
    """The durable job of this id, its own or the one that its caller chose."""
    if not isinstance(job_id, str):
        return None
    # A name goes first: sites name jobs by numbers of their own, such as the id of an order.
    names = RQOrigin.objects.using(lifecycle.database()).filter(rq_id=job_id).order_by("-pk")
    pk = names.exclude(rq_id="").values_list("job_id", flat=True).first()
    found = None if pk is None else _records().filter(pk=pk).first()
    if found is None and job_id.isascii() and job_id.isdigit() and len(job_id) < 19:
        found = _records().filter(pk=int(job_id), job_type__startswith=PREFIX).first()
    return found


def of_record(record: JobRecord, connection: Any = None, *, name: str | None = None) -> DurableJob:
    """The handle of a job on record."""
    data: Any = (
        JobPayload.objects.using(lifecycle.database()).filter(pk=record.pk).values_list("data", flat=True).first()
    )
    data = data if isinstance(data, dict) else {}
    options = data.get("options") or {}
    path = record.job_type.removeprefix(PREFIX)
    job = made(
        record.pk, path, data.get("args") or [], data.get("kwargs") or {}, options,
        queue=record.queue, connection=connection, name=name,
    )  # fmt: skip
    _fill(job, record)
    return job


def made(
    record_id: int | None,
    path: str,
    args: Any,
    kwargs: Any,
    options: Any,
    *,
    queue: str,
    connection: Any = None,
    name: str | None = None,
    recurring: str | None = None,
    status: JobStatus = JobStatus.QUEUED,
) -> DurableJob:
    """The handle of a job that was made just now, or runs."""
    job = DurableJob(connection=connection or _connection(queue), serializer=JSONSerializer)
    job._id = name or options.get("id") or str(record_id)  # which may be no id as RQ would have one
    job.record_id, job.recurring = record_id, recurring
    job._func_name, job._instance, job._args, job._kwargs = path, None, list(args), dict(kwargs)
    job.origin, job.meta, job.description = queue, dict(options.get("meta") or {}), options.get("description")
    job.timeout = options.get("timeout_seconds")
    job._status = status
    return job


def running(path: str, call: Any, token: CancellationToken) -> DurableJob:
    """The handle of the job that runs here."""
    job = made(token.job_id, path, call.args, call.kwargs, call.options, queue="default", status=JobStatus.STARTED)
    job.started_at = datetime.now(UTC)
    return job


def _fill(job: DurableJob, record: JobRecord) -> None:
    job._status = STATUS[State(record.state)]
    job.created_at, job.enqueued_at = record.created_at, record.enqueued_at
    job.started_at, job.ended_at = record.started_at, record.finished_at
    job.worker_name, job.origin = record.worker or None, record.queue
    saved = (
        RQOrigin.objects.using(lifecycle.database()).filter(origin=f"meta:{record.pk}").values_list("meta", flat=True)
    )
    if (meta := saved.first()) is not None:
        job.meta = meta


def _records() -> QuerySet[JobRecord]:
    return JobRecord.objects.using(lifecycle.database())


def _connection(queue: str) -> Any:
    try:
        return get_connection(queue)
    except KeyError:
        return redis_connection()
