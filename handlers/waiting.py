"""What waits on the queues, oldest first, as the database has it; read through its index, a piece at a time."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Any, NamedTuple

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import QuerySet

from handlers.conf import jobs_settings
from handlers.lifecycle import database
from handlers.models import JobRecord, LimitWaiter, StrandedJob, Workflow, WorkflowNode
from handlers.models.sql import database_now, fetch_anew, from_time, is_postgresql, to_time
from handlers.states import State
from handlers.transport import Message

JOBS = JobRecord._meta.db_table
ON_QUEUE = " AND ".join(
    f"NOT EXISTS (SELECT 1 FROM {model._meta.db_table} a WHERE a.job_id = j.id AND a.token = j.token)"
    for model in (StrandedJob, LimitWaiter)
)
NOT_PAUSED = (
    f"NOT (j.watched AND EXISTS (SELECT 1 FROM {WorkflowNode._meta.db_table} n"
    f" JOIN {Workflow._meta.db_table} w ON w.id = n.workflow_id WHERE n.job_id = j.id AND w.paused_at IS NOT NULL))"
)


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
    connection = connections[database()]
    statement = _Statement(connection, queue)
    if since is not None:
        statement.begin(since, ">=")
    if after is not None:
        statement.begin(after, ">")
    if only:
        statement.of_types("", only)
    if without:
        statement.of_types("NOT", without)
    if not aside:
        statement.add(ON_QUEUE)
    if not passed:
        statement.that_have_come()
    statement.add(NOT_PAUSED)
    return [
        Waiting(Message(pk, token, queue, priority=priority, enqueued_at=at), job_type, Place(at, pk))
        for pk, token, job_type, priority, enqueued_at in fetch_anew(connection, *statement.limited(limit))
        if (at := from_time(enqueued_at)) is not None
    ]


def last(queue: str) -> Place | None:
    """The place of the job that was enqueued last."""
    rows = _enqueued().filter(queue=queue).order_by("-enqueued_at", "-pk").values_list("enqueued_at", "pk")
    for at, pk in rows[:1]:
        return None if at is None else Place(at, pk)
    return None


def _enqueued() -> QuerySet[JobRecord]:
    return JobRecord.objects.using(database()).filter(state=State.ENQUEUED)


class _Statement:
    """What finds jobs that wait on one queue. By hand, since each worker asks once a second, and more often."""

    def __init__(self, connection: BaseDatabaseWrapper, queue: str) -> None:
        self._connection, self._params = connection, list[Any]([queue])
        self._conditions = [f"j.state = '{State.ENQUEUED}'", "j.queue = %s"]

    def add(self, condition: str, *params: Any) -> None:
        self._conditions.append(condition)
        self._params += params

    def begin(self, place: Place, sign: str) -> None:
        # The first condition is the index's; the second alone would let it begin at the queue's head.
        at = to_time(self._connection, place.enqueued_at)
        self.add(f"j.enqueued_at >= %s AND (j.enqueued_at > %s OR j.id {sign} %s)", at, at, place.job_id)

    def of_types(self, sign: str, names: Collection[str]) -> None:
        if is_postgresql(self._connection):
            self.add(f"{sign} (j.job_type = ANY (%s))", [*names])
        else:
            self.add(f"j.job_type {sign} IN (SELECT value FROM json_each(%s))", json.dumps([*names]))

    def that_have_come(self) -> None:
        """Those that rank before whatever is enqueued now."""
        seconds = jobs_settings().priority_seconds
        if is_postgresql(self._connection):
            self.add("j.enqueued_at - make_interval(secs => j.priority * %s) <= clock_timestamp()", seconds)
        else:
            now = to_time(self._connection, database_now(self._connection))
            self.add("julianday(j.enqueued_at) - j.priority * %s / 86400 <= julianday(%s)", seconds, now)

    def limited(self, limit: int) -> tuple[str, list[Any]]:
        """Its text and its parameters, for so many."""
        where, order = " AND ".join(self._conditions), "ORDER BY j.enqueued_at, j.id LIMIT %s"
        columns = "j.id, j.token, j.job_type, j.priority, j.enqueued_at"
        return f"SELECT {columns} FROM {JOBS} j WHERE {where} {order}", [*self._params, limit]
