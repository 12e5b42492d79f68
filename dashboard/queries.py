"""What the console reads, each bounded: capped counts, a few newest rows. Nothing counts or scans a whole table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from django.db import connections, router
from django.db.models import Model, QuerySet

from dashboard import statements
from handlers.gateway import job_scheduler, known_queues
from handlers.models import JobRecord, QueueSwitch
from handlers.models.sql import as_rows, from_time, is_postgresql, rows_cte
from handlers.states import FINAL, State

CAP = statements.CAP  # a count above this reads "1,000+"

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


def state_counts() -> dict[str, Count]:
    """Capped counts by what the console tells apart, in one statement. ``retrying`` is a part of ``scheduled``.

    Without ``succeeded``: no index tells them from the deleted ones, and nearly all jobs are. Counters tell of them.
    """
    with connections[router.db_for_read(JobRecord)].cursor() as cursor:
        cursor.execute(statements.STATE_COUNTS)
        rows = cursor.fetchall()
    found = {(part, state): number for part, state, number in rows}
    looked: Counter[str] = Counter()
    for part, _, number in rows:
        looked[part] += number

    def count(part: str, state: str, most: int = CAP) -> Count:
        number = found.get((part, state), 0)
        return Count(min(number, CAP), number > CAP or looked[part] > most)

    # As in the list: a job that waits for its next attempt is a scheduled one too.
    found["due", State.SCHEDULED.value] = looked["due"]
    due = {state: count("due", state, statements.LOOK) for state in (RETRYING, State.SCHEDULED.value)}
    return {state: count(state, state) for state in STATES if state not in due and state != State.SUCCEEDED} | due


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
    known: bool = True  # False: only jobs name it, no setting and no job type


def queue_rows(paused: Mapping[str, QueueSwitch] | None = None) -> list[QueueRow]:
    """Every queue with capped counts, in two statements, however many queues there are.

    What runs and what is scheduled is told apart among the first 10,000; beyond them a count is the least there is.
    ``paused``: the switches, where the caller has read them.
    """
    if paused is None:
        paused = job_scheduler.paused_queues()
    declared = {*known_queues(), *paused}
    connection = connections[router.db_for_read(JobRecord)]
    named = rows_cte("named", {"name": "text"}, postgresql=is_postgresql(connection))
    with connection.cursor() as cursor:
        cursor.execute(
            f"WITH RECURSIVE {named}, {statements.WAITING}", [as_rows(connection, [(name,) for name in declared])]
        )
        waiting = cursor.fetchall()
        cursor.execute(statements.IN_HAND)
        in_hand = {(state, name): found for state, name, found in cursor.fetchall()}
    waits = Counter({name: found for name, found, _ in waiting})
    oldest = {name: from_time(at) for name, _, at in waiting}
    looked: Counter[str] = Counter()
    for (state, _), found in in_hand.items():
        looked[state] += found

    def count(state: State, name: str) -> Count:
        found = in_hand.get((state.value, name), 0)
        return Count(min(found, CAP), found > CAP or looked[state.value] > statements.LOOK)

    return [
        QueueRow(
            name,
            Count(min(waits[name], CAP), waits[name] > CAP),
            oldest.get(name),
            count(State.PROCESSING, name),
            count(State.SCHEDULED, name),
            paused.get(name),
            name in declared,
        )
        for name in sorted({*waits, *(name for _, name in in_hand)})
    ]


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
