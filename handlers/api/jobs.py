"""Jobs over HTTP: enqueue, schedule, look up, list, and the verbs on one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Any

from django.http import HttpRequest, HttpResponse
from django.utils.encoding import escape_uri_path
from ninja import Path, Query, Router

from handlers import told
from handlers.api import giving, shapes
from handlers.api.answers import META as KEY
from handlers.api.answers import Answer, once
from handlers.api.asking import Asker, asker
from handlers.api.choosing import in_time, place_of, selection_of
from handlers.api.document import EFFECT, EFFECT_ON_ONE
from handlers.api.problems import Problem
from handlers.api.tags import expect, tag_of
from handlers.carried import context
from handlers.conf import ENGINE_TYPES
from handlers.exceptions import DuplicateJob, InvalidJob, NoHandler
from handlers.gateway import job_scheduler
from handlers.job_types import JobType
from handlers.lifecycle import JobId, database
from handlers.masking import mask
from handlers.models import JobPayload, JobRecord
from handlers.models.sql import lock_jobs
from handlers.payloads import Command, Job
from handlers.registry import registry
from handlers.states import FINAL

router = Router(tags=["jobs"])
MOST_LISTED = 200

Id = Annotated[int, Path(ge=1, le=2**63 - 1)]

# What the gateway calls its arguments, and what bodies do.
FIELDS = {"delay": "delay_seconds", "at": "run_at", "expires": "expires_at", "job": "payload", "selection": "q"}


@router.post("/jobs", response={201: shapes.Enqueued, 200: shapes.Enqueued}, openapi_extra=EFFECT)
def enqueue(request: HttpRequest, body: shapes.NewJob) -> HttpResponse:
    """Enqueue a job; with run_at, schedule it. 201: a new one; 200: one was there that holds its key."""
    who = asker(request, "enqueue" if body.run_at is None else "schedule")

    def act() -> Answer:
        made = create(who, body, checked(who, body))
        # What show_job is reversed to, for a tenth of the price.
        where = {"Location": f"{escape_uri_path(request.path)}/{made}"}
        return Answer({"id": made, "is_new": made.is_new}, 201 if made.is_new else 200, where)

    # Without a key the gateway's own transaction is enough.
    return once(request, who.client.pk, act) if KEY in request.META else act().response()


@router.post("/jobs/batch", response={201: shapes.EnqueuedMany}, openapi_extra=EFFECT)
def enqueue_batch(request: HttpRequest, body: shapes.NewJobs) -> HttpResponse:
    """Enqueue jobs, all or none, in their order."""
    who = asker(request, "enqueue")

    def act() -> Answer:
        jobs = []
        for place, each in enumerate(body.jobs):
            with naming(f"jobs.{place}."):
                job_type = find_new_type(each.type)
                who.need_job(job_type.name, body.queue or job_type.queue, field=f"jobs.{place}.type")
            with naming(f"jobs.{place}.payload."):
                jobs.append(job_type.decode(each.payload))
        with naming(many="jobs"), context(**body.context):
            made = job_scheduler.enqueue_many(jobs, **_options(who, body))
        return Answer({"jobs": [{"id": job_id, "is_new": job_id.is_new} for job_id in made]}, 201)

    return once(request, who.client.pk, act)


@router.get("/jobs", response=shapes.JobList)
def list_jobs(
    request: HttpRequest,
    q: Annotated[str, Query(max_length=2_000, description="As in the console's search box")] = "",
    state: Annotated[list[str], Query()] = [],  # noqa: B006 - ninja's way of saying it
    type: Annotated[list[str], Query()] = [],  # noqa: A002, B006
    queue: Annotated[list[str], Query()] = [],  # noqa: B006
    since: Annotated[str, Query(max_length=300)] = "",
    until: Annotated[str, Query(max_length=300)] = "",
    limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = 50,
    cursor: Annotated[str | None, Query(max_length=40)] = None,
) -> Any:
    """The jobs that match, newest first. A page may hold fewer than there are: go on while there is a next."""
    who = asker(request, "read", "q", "state", "type", "queue", "since", "until", "limit", "cursor")
    before = place_of(cursor)
    given = {"since": [since], "until": [until]}
    selection = selection_of(who, q, state=state, type=type, queue=queue, **given)
    if selection is None:
        return {"jobs": [], "next": None}
    with in_time():
        seen = selection.look(limit, before=before)
    last = seen.rows[-1].pk if len(seen.rows) >= limit else seen.reached
    jobs = [shapes.Job.model_construct(**giving.job(record)) for record in seen.rows]
    return shapes.JobList.model_construct(jobs=jobs, next=None if last is None else str(last))


@router.get("/jobs/{job_id}", response=shapes.JobDetail)
def show_job(request: HttpRequest, response: HttpResponse, job_id: Id) -> Any:
    """One job: its arguments, history and failures. Its ETag goes with a verb as If-Match."""
    who = asker(request, "read")
    record = find(who, job_id)
    response.headers["ETag"] = tag_of(record)
    return giving.detail(record, who)


@router.delete("/jobs/{job_id}", response=shapes.Done, openapi_extra=EFFECT_ON_ONE)
def delete_job(request: HttpRequest, job_id: Id, reason: Annotated[str, Query(max_length=500)] = "") -> HttpResponse:
    """Delete it. Not yet run: it never will. Running: its handler is asked to stop."""
    who = asker(request, "delete", "reason")
    return act_on(request, who, job_id, "delete", "deleted", reason, job_scheduler.delete)


@router.post("/jobs/{job_id}/retry", response=shapes.Done, openapi_extra=EFFECT_ON_ONE)
def retry_job(request: HttpRequest, job_id: Id, body: shapes.Retry | None = None) -> HttpResponse:
    """Run a failed or scheduled job now, in a new round of retries; with other arguments where payload is given."""
    who, body = asker(request, "retry"), body or shapes.Retry()
    sent = body.payload

    def retry(job: int, **told: Any) -> bool:
        if sent is None:
            return job_scheduler.retry(job, **told)
        record = find(who, job)
        if record.job_type.startswith(ENGINE_TYPES):
            # Written by hand, they would do what other verbs, queues and types are asked for.
            raise Problem(403, f"payload: {record.job_type} is the engine's own type", field="payload")
        with naming("payload."):
            return job_scheduler.retry(job, payload=_kept(who, job, sent), **told)

    return act_on(request, who, job_id, "retry", "retried", body.reason, retry)


@router.post("/jobs/{job_id}/requeue", response=shapes.Done, openapi_extra=EFFECT_ON_ONE)
def requeue_job(request: HttpRequest, job_id: Id, body: shapes.Reason | None = None) -> HttpResponse:
    """Run a succeeded job again."""
    who = asker(request, "requeue")
    return act_on(request, who, job_id, "requeue", "requeued", body.reason if body else "", job_scheduler.requeue)


@router.post("/jobs/{job_id}/restore", response=shapes.Done, openapi_extra=EFFECT_ON_ONE)
def restore_job(request: HttpRequest, job_id: Id, body: shapes.Reason | None = None) -> HttpResponse:
    """Put a deleted job back to where it was: not for long after, and not one that was running."""
    who = asker(request, "restore")
    return act_on(request, who, job_id, "restore", "restored", body.reason if body else "", job_scheduler.restore)


@router.post("/jobs/{job_id}/move", response=shapes.Done, openapi_extra=EFFECT_ON_ONE)
def move_job(request: HttpRequest, job_id: Id, body: shapes.Move) -> HttpResponse:
    """Put a job that waits, or that failed, on another queue."""
    who = asker(request, "move")
    if who.scope.queues and body.queue not in who.scope.queues:
        raise Problem(403, f"This token is not for the queue {body.queue!r}", field="queue")

    def move(job: int, **told: Any) -> bool:
        with naming():
            return job_scheduler.move(job, body.queue, **told)

    return act_on(request, who, job_id, "move", "moved", body.reason, move)


@router.post("/jobs/{job_id}/signal", response=shapes.Done, openapi_extra=EFFECT_ON_ONE)
def signal_job(request: HttpRequest, job_id: Id, body: shapes.Signal) -> HttpResponse:
    """Give a job a signal: one that waits for it goes on. For a job that does not wait yet it is kept."""
    who = asker(request, "signal")

    def signal(job: int, **told: Any) -> bool:
        with naming():
            return job_scheduler.signal(job, body.name, body.data, **told)

    return act_on(request, who, job_id, "signal", "signalled", body.reason, signal)


# --- what the verbs have in common


class naming:  # noqa: N801 - used as a function
    """Tell of what the gateway refuses inside by the body's own names.

    ``before``: in front of the field's. ``many``: where those are that the gateway is given many of.
    """

    def __init__(self, before: str = "", *, many: str = "") -> None:
        self._before, self._many = before, many

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, InvalidJob) and error.field == "expect":
            raise Problem(409, str(error)) from None
        if isinstance(error, InvalidJob):
            # What names no field is about the arguments as a whole.
            field = FIELDS.get(error.field, error.field) if error.field or self._before else "payload"
            if self._many and field.startswith(f"{self._many}."):  # what is wrong with one of them is in its arguments
                many, place, *path = field.split(".")
                field = ".".join([many, place, *([] if path == ["unique"] else ["payload"]), *path])
            raise Problem(422, str(error), field=f"{self._before}{field}".rstrip(".")) from None
        if isinstance(error, NoHandler):
            mend = "See /types for those that can run here."
            raise Problem(422, str(error), field=f"{self._before}type", mend=mend) from None
        if isinstance(error, DuplicateJob):
            field = f"{self._many}.{error.place}" if self._many else ""
            mend = "That job is the one: wait for it."
            raise Problem(409, str(error), field=field, mend=mend, job_id=error.job_id) from None


def checked(who: Asker, body: shapes.NewJob) -> Job | Command:
    """The job that ``body`` describes, if this client may start it. Raises Problem."""
    with naming():
        job_type = find_new_type(body.type)
        who.need_job(job_type.name, body.queue or job_type.queue)
        if body.run_at is not None and body.delay_seconds is not None:
            raise InvalidJob("delay_seconds: there is a run_at too: send one of them", field="delay_seconds")
    with naming("payload."):
        return job_type.decode(body.payload)


def create(who: Asker, body: shapes.NewJob, job: Job | Command) -> JobId:
    """Enqueue or schedule ``job`` as ``body`` says, in the caller's transaction. Raises Problem."""
    with naming(), context(**body.context):
        if body.run_at is not None:
            return job_scheduler.schedule(job, body.run_at, **_options(who, body))
        delay = None if body.delay_seconds is None else timedelta(seconds=body.delay_seconds)
        return job_scheduler.enqueue(job, delay=delay, **_options(who, body))


def _options(who: Asker, body: shapes.Options) -> dict[str, Any]:
    return {
        "queue": body.queue,
        "expires": body.expires_at,
        "unique": None if body.unique else False,
        "priority": body.priority,
        "tags": body.tags,
        "correlation": body.correlation,
        "by": who.by,
        "reason": body.reason,
    }


def find(who: Asker, job_id: int, *, lock: bool = False) -> JobRecord:
    """The job, as far as this token sees it. Raises Problem (404). ``lock``: so that it stays as it is read."""
    alias = database()
    rows = JobRecord.objects.using(alias).filter(pk=job_id)
    if lock:
        rows = lock_jobs(rows)
    record = rows.first()
    if record is None or not _covers(who, record):
        raise Problem(404, f"There is no job {job_id}", mend="List jobs for those that there are.")
    return record


def act_on(
    request: HttpRequest, who: Asker, job_id: int, verb: str, past: str, reason: str, act: Callable[..., bool]
) -> HttpResponse:
    """Do a verb of the gateway to one job, which is as the client saw it."""

    def once_only() -> Answer:
        record = find(who, job_id, lock=True)
        expect(request, tag_of(record), f"job {job_id}")
        if record.job_type.startswith(ENGINE_TYPES) and record.state not in FINAL:
            raise Problem(409, f"Job {job_id} does a part of a bulk operation", mend="Pause or stop that.")
        if not act(job_id, by=who.by, reason=reason, expect=record.token):
            raise Problem(
                409,
                f"Job {job_id} is {record.state}, and cannot be {past} now",
                state=record.state,
                headers={"ETag": tag_of(record)},
            )
        return Answer({"id": job_id, "did": past})

    return once(request, who.client.pk, once_only)


def find_new_type(name: str) -> JobType:
    """The type of a job to be. Raises NoHandler, or InvalidJob for the engine's own."""
    job_type = registry.get(name)
    if job_type.name.startswith(ENGINE_TYPES):
        raise InvalidJob(f"type: {job_type.name} is the engine's own", field="type")
    return job_type


def _covers(who: Asker, record: JobRecord) -> bool:
    if who.scope.is_whole:
        return True
    known = told.find_type(record.job_type)
    return who.scope.covers(known.name if known else record.job_type, record.queue)


def _kept(who: Asker, job_id: int, sent: Any) -> Any:
    if who.sees_sensitive:
        return sent
    row = JobPayload.objects.using(database()).filter(pk=job_id).first()
    if row is None:
        return sent
    return giving.unmasked(sent, row.data, mask(told.find_type(row.job_type), row.data))
