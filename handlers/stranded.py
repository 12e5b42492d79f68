"""Jobs that wait for a worker whose code can run them, as in the middle of a deploy.

A worker that has no handler for a job, or whose code does not read the arguments that another release wrote, gives it
back unstarted. It is put on no queue then, where the same worker would take it at once: each release refuses a job only
once, and workers of the others fetch it from here. Where none comes in time, the job fails.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import connections
from django.db.models import Count, Exists, F, Min, OuterRef, QuerySet

from handlers import fleet, lifecycle
from handlers.exceptions import NoHandler
from handlers.failure_log import log_failures
from handlers.failures import Failure, class_path
from handlers.lifecycle import Change, Move, Refused, Step
from handlers.models import JobRecord, StrandedJob, TypeSwitch
from handlers.models.sql import database_now
from handlers.publishing import publish
from handlers.states import State
from handlers.transport import Message, get_transport

CHUNK = 1_000  # jobs failed at once
OFFERED = 100  # jobs of a queue that are offered at once to workers that tell nothing of themselves
COUNTED = 10_000  # jobs that are counted at most
PASS_SECONDS = 1.0  # of them in one pass: a scheduler's other duties wait meanwhile
NO_HANDLER = class_path(NoHandler(""))


class Stranded(NamedTuple):
    """How many jobs of a type wait for a worker that can run them."""

    job_type: str
    lacking: bool  # nobody had a handler; else, the arguments could not be read
    number: int  # up to COUNTED in all
    since: datetime


def keep(refused: Sequence[Refused]) -> None:
    """Remember jobs that this code has just refused, and since when they wait. Raises the database's errors."""
    rows = _rows()
    now = database_now(connections[rows.db])
    before = rows.in_bulk([each.message.job_id for each in refused])
    found = []
    for message, former_token, refusal in refused:
        row = before.get(message.job_id)
        if row is None or row.token != former_token:  # the job has moved on since
            row = StrandedJob(job_id=message.job_id, since=now, refused_by="")
        releases = dict.fromkeys([*row.refused_by.split(), refusal.release])
        row.token, row.queue, row.job_type = message.token, message.queue, refusal.job_type
        row.exception, row.reason, row.refused_by = refusal.exception, refusal.reason, " ".join(releases)
        found.append(row)
    fields = ["token", "queue", "job_type", "since", "refused_by", "exception", "reason"]
    rows.bulk_create(found, update_conflicts=True, unique_fields=["job_id"], update_fields=fields)


def servable(queues: Collection[str], release: str) -> QuerySet[StrandedJob]:
    """Jobs on ``queues`` that workers of ``release`` have not refused, and that may be claimed now; oldest first."""
    paused = TypeSwitch.on().values("name")
    return _waiting().filter(queue__in=queues).exclude(refused_by__contains=release).exclude(job_type__in=paused)


def take(queues: Collection[str], release: str, limit: int) -> list[Message]:
    """Messages of up to ``limit`` of them. They stay, and whoever else takes them is refused the claim."""
    found = servable(queues, release).values_list("job_id", "token", "queue")[:limit]
    return [Message(*facts) for facts in found]


def summary() -> list[Stranded]:
    """What waits, by type; the longest wait first."""
    counted = _rows().filter(pk__in=_waiting().values("pk")[:COUNTED])
    told = counted.values_list("job_type", "exception").annotate(Count("pk"), first=Min("since")).order_by("first")
    return [Stranded(name, error == NO_HANDLER, count, since) for name, error, count, since in told]


def of(job_id: int, token: str) -> StrandedJob | None:
    """Why the job waits, if it does so for a worker that can run it."""
    return _rows().filter(pk=job_id, token=token).first()


def look_after(*, hours: float) -> None:
    """Fail what waited for ``hours``, as far as a second goes; forget what moved on. Raises the database's errors."""
    until = time.monotonic() + PASS_SECONDS
    while _give_up(hours) == CHUNK and time.monotonic() < until:
        pass
    held = JobRecord.objects.using(lifecycle.database()).filter(
        pk=OuterRef("pk"), token=OuterRef("token"), state__in=[State.ENQUEUED, State.PROCESSING]
    )
    _rows().filter(~Exists(held)).delete()


def _give_up(hours: float) -> int:
    rows = _rows()
    late = _waiting().filter(since__lt=database_now(connections[rows.db]) - timedelta(hours=hours))
    stranded = {row.job_id: row for row in late[:CHUNK]}
    jobs = JobRecord.objects.using(rows.db).filter(pk__in=stranded).annotate(correlation=F("arguments__correlation"))
    moves = []
    for job in jobs:
        row = stranded[job.pk]
        why = f"no worker could run it for {hours:g} hours: {row.reason}"
        failure = Failure(
            row.exception, why, job_type=job.job_type, queue=job.queue, attempt=job.attempt,
            correlation=job.correlation or "",
        )  # fmt: skip
        change = Change(State.ENQUEUED, (Step(State.FAILED, why, {"exception": row.exception}),), failure=failure)
        moves.append(Move(job.pk, row.token, change))
    applied = lifecycle.apply(moves, actor="recovery")
    log_failures(applied.failures)
    return len(stranded)


def offer() -> None:
    """Where no worker lives that fetches jobs from here, put a few on their queues: RQ's own workers fetch nothing.

    Raises the database's errors and TransportUnavailable.
    """
    served = {queue for worker in fleet.live_workers() for queue in worker.queues}
    for queue in set(_waiting().order_by().values_list("queue", flat=True).distinct()) - served:
        oldest = _waiting().filter(queue=queue).values_list("job_id", "token")[:OFFERED]
        publish(get_transport().missing(queue, lifecycle.still_enqueued(list(oldest))))


def _waiting() -> QuerySet[StrandedJob]:
    job = JobRecord.objects.filter(pk=OuterRef("pk"), token=OuterRef("token"), state=State.ENQUEUED)
    return _rows().filter(Exists(job)).order_by("since", "pk")


def _rows() -> QuerySet[StrandedJob]:
    return StrandedJob.objects.using(lifecycle.database())
