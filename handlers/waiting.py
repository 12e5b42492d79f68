"""What waits on the queues, oldest first, as the database has it; read through its index, a piece at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime
from typing import NamedTuple

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import BooleanField, Exists, OuterRef, Q, QuerySet
from django.db.models.expressions import RawSQL

from handlers.conf import jobs_settings
from handlers.lifecycle import database
from handlers.models import JobRecord, LimitWaiter, StrandedJob, Workflow, WorkflowNode
from handlers.models.sql import database_now, is_postgresql, to_time
from handlers.states import State
from handlers.transport import Message

JOBS = JobRecord._meta.db_table
COLUMNS = ("pk", "token", "job_type", "priority", "enqueued_at")


class Place(NamedTuple):
    """A job's place on its queue."""

    enqueued_at: datetime
    job_id: int


class Waiting(NamedTuple):
    """A job that waits."""

    message: Message
    job_type: str
    place: Place


def queues() -> Iterator[str]:
    """The queues on which jobs wait, found by hops through the index."""
    enqueued = _enqueued()
    name = ""
    while found := enqueued.filter(queue__gt=name).order_by("queue").values_list("queue", flat=True).first():
        name = found
        yield name


def oldest(
    queue: str,
    limit: int,
    *,
    after: Place | None = None,
    since: Place | None = None,
    only: Collection[str] = (),
    without: Collection[str] = (),
    aside: bool = True,
    passed: bool = True,
) -> list[Waiting]:
    """Up to ``limit`` jobs: behind ``after``, or from ``since`` on; none of a type that ``without`` names.

    ``only``: of these types, if it names any.

    None of a paused workflow. ``aside``: also those that are on no queue meanwhile: they wait for a worker that can run
    them, or for a slot. ``passed``: also those that let others pass for a time, by a priority below 0.
    """
    rows = _enqueued().filter(queue=queue)
    if since is not None:
        rows = _from(rows, since, Q(pk__gte=since.job_id))
    if after is not None:
        rows = _from(rows, after, Q(pk__gt=after.job_id))
    if only:
        rows = rows.filter(job_type__in=only)
    if without:
        rows = rows.exclude(job_type__in=without)
    if not aside:
        for model in (StrandedJob, LimitWaiter):
            rows = rows.exclude(Exists(model._default_manager.filter(pk=OuterRef("pk"), token=OuterRef("token"))))
    if not passed:
        rows = rows.filter(_has_come(connections[rows.db]))
    if paused := list(Workflow.objects.using(database()).filter(paused_at__isnull=False).values_list("pk", flat=True)):
        nodes = WorkflowNode.objects.filter(pk=OuterRef("pk"), workflow_id__in=paused)
        rows = rows.exclude(Q(watched=True) & Exists(nodes))
    rows = rows.order_by("enqueued_at", "pk")
    return [
        Waiting(Message(pk, token, queue, priority=priority, enqueued_at=at), job_type, Place(at, pk))
        for pk, token, job_type, priority, at in rows.values_list(*COLUMNS)[:limit]
        if at is not None
    ]


def last(queue: str) -> Place | None:
    """The place of the job that was enqueued last."""
    rows = _enqueued().filter(queue=queue).order_by("-enqueued_at", "-pk").values_list("enqueued_at", "pk")
    for at, pk in rows[:1]:
        return None if at is None else Place(at, pk)
    return None


def _enqueued() -> QuerySet[JobRecord]:
    return JobRecord.objects.using(database()).filter(state=State.ENQUEUED)


def _has_come(connection: BaseDatabaseWrapper) -> RawSQL:
    """Whether a job ranks before whatever is enqueued now."""
    seconds = jobs_settings().priority_seconds
    if is_postgresql(connection):
        sql = f"{JOBS}.enqueued_at - make_interval(secs => {JOBS}.priority * %s) <= clock_timestamp()"
        return RawSQL(sql, [seconds], output_field=BooleanField())  # noqa: S611 - no value in it
    sql = f"julianday({JOBS}.enqueued_at) - {JOBS}.priority * %s / 86400 <= julianday(%s)"
    now = to_time(connection, database_now(connection))
    return RawSQL(sql, [seconds, now], output_field=BooleanField())  # noqa: S611


def _from(rows: QuerySet[JobRecord], place: Place, beside: Q) -> QuerySet[JobRecord]:
    # The first condition is the index's; the second alone would let it begin at the queue's head.
    return rows.filter(Q(enqueued_at__gt=place.enqueued_at) | beside, enqueued_at__gte=place.enqueued_at)
