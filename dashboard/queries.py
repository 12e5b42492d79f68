"""What the console reads, each bounded: capped counts, a few newest rows. Nothing counts or scans a whole table."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import NamedTuple

from django.db.models import BooleanField, Model, Q, QuerySet
from django.db.models.expressions import RawSQL

from handlers.conf import SYSTEM_QUEUE, jobs_settings
from handlers.gateway import job_scheduler
from handlers.models import JobRecord, QueueSwitch
from handlers.registry import registry
from handlers.states import FINAL, State

CAP = 1000  # a count above this reads "1,000+"

RETRYING = "retrying"  # not a state: scheduled, after a failure

# What the console tells apart, in the order in which it wants a person's attention.
STATES = (
    State.FAILED.value,
    RETRYING,
    State.SCHEDULED.value,
    State.ENQUEUED.value,
    State.PROCESSING.value,
    State.SUCCEEDED.value,
    State.DELETED.value,
)


# The condition of the index of what ages out, word for word: SQLite sees that they are the same only in literals.
AGEING = RawSQL(  # noqa: S611 - no value in it
    f"state IN ('{State.SUCCEEDED.value}', '{State.DELETED.value}')",
    (),
    output_field=BooleanField(),
)


class Count(NamedTuple):
    """A count that stopped at the cap."""

    value: int
    more: bool = False

    def __str__(self) -> str:
        return f"{self.value:,}{'+' if self.more else ''}"


def capped(rows: QuerySet[Model], cap: int = CAP) -> Count:
    """How many ``rows`` there are, looking at no more than ``cap`` + 1 of them."""
    found = rows.order_by().values("pk")[: cap + 1].count()
    return Count(min(found, cap), found > cap)


def in_state(value: str) -> Q:
    """The jobs that the console lists under ``value``: a state, or ``retrying``, which is a part of ``scheduled``."""
    if value == RETRYING:
        return Q(state=State.SCHEDULED.value, failures__gt=0)
    return Q(state=value)


def state_counts() -> dict[str, Count]:
    """Capped counts by state, and of ``retrying``; seven short index reads."""
    counts = {
        value: capped(JobRecord.objects.filter(in_state(value)))
        for value in (State.FAILED, RETRYING, State.SCHEDULED, State.ENQUEUED, State.PROCESSING)
    }
    # One index holds both of the states that age out, by time: what its newest entries show is the least there is.
    ageing = list(
        JobRecord.objects.filter(AGEING).order_by("-finished_at", "-id").values_list("state", flat=True)[: CAP + 1]
    )
    seen = Counter(ageing)
    for state in (State.SUCCEEDED, State.DELETED):
        counts[state] = Count(min(seen[state], CAP), len(ageing) > CAP)
    return {str(value): count for value, count in counts.items()}


def last_failures(limit: int = 8) -> list[JobRecord]:
    """The jobs that failed last, newest first."""
    return list(JobRecord.objects.filter(state=State.FAILED.value).order_by("-finished_at", "-id")[:limit])


class QueueRow(NamedTuple):
    """One queue, as the Queues page shows it."""

    name: str
    waiting: Count
    oldest_at: datetime | None  # when the first of those that wait was enqueued
    processing: Count
    scheduled: Count
    switch: QueueSwitch | None  # present: paused


def queue_names() -> list[str]:
    """Every queue that exists: of the settings, of the job types, and the reserved one."""
    return sorted({*jobs_settings().queues, *registry.queues(), SYSTEM_QUEUE})


def queue_rows() -> list[QueueRow]:
    """Every queue with capped counts."""
    paused = job_scheduler.paused_queues()
    rows = []
    for name in sorted({*queue_names(), *paused}):
        jobs = JobRecord.objects.filter(queue=name)
        waiting = jobs.filter(state=State.ENQUEUED.value)
        oldest = waiting.order_by("enqueued_at", "id").values_list("enqueued_at", flat=True).first()
        rows.append(
            QueueRow(
                name,
                capped(waiting),
                oldest,
                capped(jobs.filter(state=State.PROCESSING.value)),
                capped(jobs.filter(state=State.SCHEDULED.value)),
                paused.get(name),
            )
        )
    return rows


def moment(record: JobRecord) -> datetime | None:
    """The time that matters most of ``record`` where it is now: due, waiting since, running since, ended."""
    state = State(record.state)
    if state is State.SCHEDULED:
        return record.run_at
    if state is State.PROCESSING:
        return record.started_at or record.enqueued_at
    if state in FINAL:
        return record.finished_at
    return record.enqueued_at or record.created_at
