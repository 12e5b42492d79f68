"""What the console reads, each bounded: capped counts, a few newest rows. Nothing counts or scans a whole table."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from django.db import connections
from django.db.models import BooleanField, Model, QuerySet
from django.db.models.expressions import RawSQL
from django.utils import timezone

from dashboard.kit import statements
from dashboard.kit.numbers import thousands
from handlers import bounded
from handlers.gateway import job_scheduler
from handlers.models import JobRecord, QueueSwitch, TypeSwitch
from handlers.models.kept import database
from handlers.models.sql import as_rows, from_time, is_postgresql, rows_cte, to_time
from handlers.queues import known_queues
from handlers.states import FINAL, State

CAP = statements.CAP  # a count above this reads "1,000+"

RETRYING = bounded.RETRYING
_RUN, _DUE = State.PROCESSING, State.SCHEDULED
# The condition of the index jobs_ageing: of parameters SQLite could not tell that it fits.
AGES = RawSQL(  # noqa: S611 - no value in it
    f"state IN ('{State.SUCCEEDED.value}', '{State.DELETED.value}')", (), output_field=BooleanField()
)

# What the console tells apart, in the order in which it wants a person's attention.
STATES = (
    State.FAILED.value,
    RETRYING,
    State.SCHEDULED.value,
    State.ENQUEUED.value,
    State.PROCESSING.value,
    State.WAITING.value,
    State.SUCCEEDED.value,
    State.DELETED.value,
)


class Count(NamedTuple):
    """A count that stopped at the cap, or of a look at the first of them."""

    value: int
    more: bool = False

    def __str__(self) -> str:
        if self.is_unknown:
            return "?"
        return f"{thousands(self.value)}{'+' if self.more else ''}"

    @property
    def is_unknown(self) -> bool:
        """Whether it says nothing: none was met, and not all were looked at."""
        return self.more and not self.value

    @classmethod
    def of(cls, found: int, *, more: bool = False, cap: int = CAP) -> Count:
        """``found``, at most ``cap``; with ``more`` there may be others that nobody looked at."""
        return cls(min(found, cap), more or found > cap)


def capped(rows: QuerySet[Model], cap: int = CAP) -> Count:
    """How many ``rows`` there are, looking at no more than ``cap`` + 1 of them."""
    return Count.of(rows.order_by().values("pk")[: cap + 1].count(), cap=cap)


def state_counts() -> dict[str, Count]:
    """Capped counts by what the console tells apart, in one statement. ``retrying`` is a part of ``scheduled``.

    Without ``succeeded``: no index tells them from the deleted ones, and nearly all jobs are. Counters tell of them.
    """
    return {state: Count.of(found) for state, found in bounded.state_counts(statements.STATES, CAP).items()}


class Failing(NamedTuple):
    """What is failed now, and what waits for a person because of it."""

    failed: Count
    last_at: datetime | None  # when the last of those failed
    paused_runs: int  # bulk operations, of the newest
    incidents: int  # of alerts, that are open
    sagas: int = 0  # that failed, are stuck, or of which a job failed, up to CAP of each


def failing() -> Failing:
    """What is failed now, in one statement."""
    [(number, last, paused, incidents, sagas)] = _now(statements.failing)
    return Failing(Count.of(number), from_time(last), paused, incidents, sagas)


class Told(NamedTuple):
    """What every page says."""

    queues: dict[str, QueueSwitch]  # paused
    types: dict[str, TypeSwitch]  # paused
    hooks: bool  # whether some have gone wrong within the last hour


def told() -> Told:
    """That of now, in one statement: every page asks."""
    queues, types, hooks = dict[str, QueueSwitch](), dict[str, TypeSwitch](), False
    for kind, name, at, until, by, reason in _now(statements.paused):
        facts: dict[str, Any] = {"paused_at": from_time(at), "until": from_time(until), "by": by, "reason": reason}
        if kind == statements.HOOK:
            hooks = True
        elif kind == QueueSwitch.kind:
            queues[name] = QueueSwitch(name=name, **facts)
        else:
            types[name] = TypeSwitch(name=name, **facts)
    return Told(queues, types, hooks)


def failed_of_groups(fingerprints: Collection[str], *, few: bool = False) -> dict[str, Count]:
    """How many jobs of each failure group are failed now, in one statement. ``few``: up to a hundred of each."""
    cap = statements.FEW if few else CAP
    connection = connections[database()]
    named = rows_cte("named", {"name": "text"}, postgresql=is_postgresql(connection))
    with connection.cursor() as cursor:
        rows = as_rows(connection, [(name,) for name in fingerprints])
        cursor.execute(f"WITH {named} {statements.failed_of_groups(cap)}", [rows])
        return {name: Count.of(found, cap=cap) for name, found in cursor.fetchall()}


def last_failures(limit: int = 8) -> list[JobRecord]:
    """The jobs that failed last, newest first."""
    return list(JobRecord.objects.filter(state=State.FAILED.value).order_by("-finished_at", "-id")[:limit])


def ended(state: str, since: datetime, until: datetime, limit: int) -> list[JobRecord]:
    """The jobs that are ``state`` (failed, or succeeded) since a time in that span, newest first."""
    rows = JobRecord.objects.filter(state=state, finished_at__gte=since, finished_at__lt=until)
    if state != State.FAILED.value:
        rows = rows.filter(AGES)
    return list(rows.order_by("-finished_at", "-id")[:limit])


class Waits(NamedTuple):
    """What waits on one queue."""

    queue: str
    number: Count
    since: datetime | None  # when the first of it was enqueued


def waiting(without: Collection[str] = ()) -> list[Waits]:
    """The queues on which jobs wait, but for some, in one statement that hops from queue to queue."""
    known = known_queues()
    named, most = known.difference(without), bounded.most_of_each(CAP, len(known))  # as queue_rows has it
    return [
        Waits(found.queue, Count.of(found.number, cap=most), found.since)
        for found in bounded.depths(named, most, without=without)
        if found.number
    ]


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
    """Every queue with capped counts, in one statement, however many queues there are.

    What runs and what is scheduled is told apart among the first 2,000; beyond them a count is the least there is, and
    unknown where none was among them.
    ``paused``: the switches, where the caller has read them.
    """
    if paused is None:
        paused = job_scheduler.paused_queues()
    declared = {*known_queues(), *paused}
    most = bounded.most_of_each(CAP, len(declared))
    ctes, names = bounded.named_tables({"named": declared, "left_out": ()})
    waits = dict[str, tuple[int, datetime | None]]()
    in_hand: dict[str, dict[str, int]] = {_RUN.value: {}, _DUE.value: {}}
    connection = connections[database()]
    told = statements.on_queues(most, postgresql=is_postgresql(connection))
    with connection.cursor() as cursor:
        cursor.execute(f"WITH RECURSIVE {ctes} {bounded.met(len(declared))} {told}", names)
        for state, name, found, since in cursor.fetchall():
            if state == State.ENQUEUED:
                waits[name] = found, from_time(since)
            else:
                in_hand[state][name] = found
    running, scheduled = _among_first(in_hand[_RUN.value]), _among_first(in_hand[_DUE.value])
    return [
        QueueRow(
            name, Count.of(number, cap=most), since, running(name), scheduled(name), paused.get(name), name in declared
        )
        for name in sorted({*declared, *waits, *in_hand[_RUN.value], *in_hand[_DUE.value]})
        for number, since in (waits.get(name, (0, None)),)
    ]


def _among_first(found: Mapping[str, int]) -> Callable[[str], Count]:
    """How many jobs of a state each queue has, of the first that were looked at: ``found``."""
    more = sum(found.values()) > statements.LOOK
    counts = {name: Count.of(number, more=more) for name, number in found.items()}
    none = Count.of(0, more=more)  # what most of a thousand queues have
    return lambda name: counts.get(name, none)


def moment(record: JobRecord) -> datetime | None:
    """The time that matters most of ``record`` where it is now: due, waiting since, running since, ended."""
    state = State(record.state)
    if state is State.SCHEDULED or (state is State.WAITING and record.run_at):
        return record.run_at
    if state is State.PROCESSING:
        return record.started_at or record.enqueued_at
    if state in FINAL:
        return record.finished_at
    return record.enqueued_at or record.created_at


def _now(statement: Callable[..., str]) -> list[tuple[Any, ...]]:
    """The rows of a statement that asks what is so now, by the database's clock."""
    connection = connections[database()]
    postgresql = is_postgresql(connection)
    params = None if postgresql else {"now": to_time(connection, timezone.now())}
    with connection.cursor() as cursor:
        cursor.execute(statement(postgresql=postgresql), params)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows
