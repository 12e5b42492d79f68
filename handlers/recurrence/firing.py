"""Firing what is due: job, occurrence and next time in one transaction, so that any number of schedulers may."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import connections, transaction
from django.db.models import F, Q, QuerySet, Window
from django.db.models.functions import RowNumber

from handlers import lifecycle, uniqueness
from handlers.audit import audit
from handlers.conf import jobs_settings
from handlers.exceptions import JobsError, NoHandler
from handlers.failures import clean
from handlers.lifecycle import NewJob
from handlers.models import How, JobRecord, Misfire, Occurrence, Overlap, RecurringJob
from handlers.models.sql import as_rows, database_now, fetch, from_time, insert, is_postgresql, rows_cte, to_time
from handlers.publishing import publish_on_commit
from handlers.recurrence.definition import RULE, times_of
from handlers.recurrence.times import Times
from handlers.registry import registry
from handlers.states import ACTIVE, State
from handlers.unique import ERROR, EXISTING, Hold
from handlers.uniqueness import Made

CHUNK = 200  # recurring jobs in one transaction
LOOK_BACK = 20_000  # of one's missed occurrences at once; what lies further on has its turn in the next transaction
ACTOR = "recurring jobs"
RECURRING = RecurringJob._meta.db_table
COLUMNS = (
    "id", "name", "job_type", "data", "queue", *RULE, "anchor_at", "misfire", "catch_up", "catch_up_seconds", "overlap",
    "pause_after", "heartbeat_url", "due_at", "held_at", "last_job_id", "resumed_at",
)  # fmt: skip
# Columns that are written in batches, with their kinds.
OCCURRENCE = {
    "recurring_id": "id", "due_at": "time", "fired_at": "time", "how": "text", "job_id": "id", "skipped": "id",
    "heartbeat": "bool",
}  # fmt: skip
UPDATE = {
    "id": "id", "due_at": "time", "next_at": "time", "held_at": "time", "last_at": "time", "last_job_id": "id",
    "fired": "id", "skipped": "id",
}  # fmt: skip


class Fired(NamedTuple):
    """What one transaction came to."""

    jobs: int
    looked_at: int  # recurring jobs: as many as were asked for, and there may be more


@dataclass(slots=True)
class Plan:
    """What becomes of one recurring job's occurrences that are due. Pure."""

    fire: list[tuple[datetime, How]] = field(default_factory=list)
    missed: list[datetime] = field(default_factory=list)
    overlapped: list[datetime] = field(default_factory=list)
    due: datetime | None = None  # the next one
    held: datetime | None = None


def plan(row: Mapping[str, Any], times: Times, now: datetime, *, is_busy: bool, patience: timedelta) -> Plan:
    """Decide on what is due ``now``. ``is_busy``: the job before has not ended. Late by ``patience`` is a misfire."""
    found = Plan(due=row["due_at"], held=row["held_at"])
    dues: list[datetime] = []
    while found.due is not None and times.fired_at(found.due) <= now and len(dues) < LOOK_BACK:
        dues.append(found.due)
        found.due = times.after(found.due)
    late = [due for due in dues if now - times.fired_at(due) > patience]
    on_time = dues[len(late) :]
    if row["misfire"] == Misfire.EACH:
        oldest = now - timedelta(seconds=row["catch_up_seconds"])
        kept = [due for due in late if due >= oldest][-row["catch_up"] :]
    elif row["misfire"] == Misfire.ONE and not on_time and not (found.due and times.fired_at(found.due) <= now):
        kept = late[-1:]
    else:
        kept = []
    found.missed = late[: len(late) - len(kept)]
    found.fire = [*((due, How.LATE) for due in kept), *((due, How.DUE) for due in on_time)]
    if row["overlap"] != Overlap.ALLOW:
        _let_overlap(found, row["overlap"], is_busy=is_busy)
    return found


def _let_overlap(found: Plan, overlap: str, *, is_busy: bool) -> None:
    """Of all that would run now, one does; and one may wait."""
    waiting = [(found.held, How.HELD)] if found.held else []
    runs = [*waiting, *found.fire]
    first = [] if is_busy else runs[:1]
    rest = [due for due, _ in runs[len(first) :]]
    held = rest[:1] if overlap == Overlap.QUEUE else []
    found.fire, found.held, found.overlapped = first, held[0] if held else None, rest[len(held) :]


class Agenda(NamedTuple):
    """What there is to do about recurring jobs."""

    due_in: float | None  # seconds until the next occurrence, not below 0; None when there is none
    held: bool  # whether one waits for the job before
    heartbeats: bool  # whether one may be to be sent


def agenda() -> Agenda:
    """What there is to do by the database's clock: one statement, as every idle scheduler asks once a second."""
    connection = connections[lifecycle.database()]
    now_sql, params = "clock_timestamp()", []
    if not is_postgresql(connection):
        now_sql, params = "%s", [to_time(connection, database_now(connection))]
    ((next_at, held, heartbeats, now),) = fetch(
        connection,
        f"""
        SELECT (SELECT next_at FROM {RECURRING} WHERE next_at IS NOT NULL ORDER BY next_at, id LIMIT 1),
            EXISTS (SELECT 1 FROM {RECURRING} WHERE held_at IS NOT NULL),
            EXISTS (SELECT 1 FROM {Occurrence._meta.db_table} WHERE heartbeat),
            {now_sql}
        """,
        params,
    )
    due, clock = from_time(next_at), from_time(now)
    assert clock is not None
    due_in = None if due is None else max((due - clock).total_seconds(), 0.0)
    return Agenda(due_in, bool(held), bool(heartbeats))


def fire_due(limit: int = CHUNK) -> Fired:
    """Fire what is due, of ``limit`` recurring jobs at most. Raises the database's errors."""
    alias = lifecycle.database()
    with transaction.atomic(using=alias):
        now = database_now(connections[alias])
        return _fire(_taken(Q(next_at__lte=now), limit, "next_at", "id"), now, alias)


def fire_held(limit: int = CHUNK) -> Fired:
    """Fire the occurrences that waited for the job before, where that has ended."""
    alias = lifecycle.database()
    with transaction.atomic(using=alias):
        rows = RecurringJob.objects.using(alias)
        held = dict(rows.filter(held_at__isnull=False).values_list("pk", "last_job_id")[: 10 * limit])
        busy = _busy(held.values(), alias) if held else set()
        free = [pk for pk, job_id in held.items() if job_id not in busy][:limit]
        if not free:
            return Fired(0, 0)
        return _fire(
            _taken(Q(pk__in=free, held_at__isnull=False), limit, "id"), database_now(connections[alias]), alias
        )


def _taken(which: Q, limit: int, *order: str) -> list[dict[str, Any]]:
    """Those rows, ours until the transaction ends; what another scheduler has in hand is left to it."""
    alias = lifecycle.database()
    rows: QuerySet[RecurringJob] = RecurringJob.objects.using(alias).filter(which)
    if is_postgresql(connections[alias]):
        rows = rows.select_for_update(skip_locked=True)
    return list(rows.order_by(*order).values(*COLUMNS)[:limit])


def _fire(rows: Sequence[dict[str, Any]], now: datetime, alias: str) -> Fired:
    if not rows:
        return Fired(0, 0)
    busy = _busy([row["last_job_id"] for row in rows if row["overlap"] != Overlap.ALLOW], alias)
    failing = _failing(rows, alias)
    patience = timedelta(seconds=jobs_settings().misfire_seconds)
    plans: dict[int, Plan] = {}
    for row in rows:
        pk = row["id"]
        if pk in failing:
            _pause(row, f"{row['pause_after']} failed jobs in a row", now, alias)
            continue
        try:
            plans[pk] = plan(
                row, times_of(row["name"], row), now, is_busy=row["last_job_id"] in busy, patience=patience
            )
        except JobsError as error:
            _pause(row, f"its rule cannot be read: {error}", now, alias)
    _leave_out(plans, alias)
    planned = [(row, plans[row["id"]]) for row in rows if row["id"] in plans]
    new = [job for row, found in planned for job in [_job_of(row)] * len(found.fire)]
    made = create(new, actor=ACTOR, using=alias)
    _write(planned, made.ids, now, alias)
    publish_on_commit(made.messages, using=alias, stale=made.stale)
    return Fired(len(made.ids), len(rows))


def _job_of(row: Mapping[str, Any]) -> NewJob:
    return new_job(row["job_type"], json.dumps(row["data"], ensure_ascii=False).encode(), row["queue"])


def new_job(job_type: str, encoded: bytes, queue: str) -> NewJob:
    """The job of an occurrence."""
    if not queue:
        try:
            queue = registry.get(job_type).queue
        except NoHandler:  # it waits there for a worker that has one, as any such job
            queue = "default"
    return NewJob(job_type, encoded, queue)


def create(new: Sequence[NewJob], *, actor: str, using: str) -> Made:
    """Insert the jobs of occurrences: those of types that are unique only where none is there."""
    holds = [_hold(job) for job in new]
    if any(holds):
        return uniqueness.create(new, holds, actor=actor, using=using)
    messages = lifecycle.create(new, actor=actor, using=using)
    return Made([message.job_id for message in messages], messages)


def _hold(job: NewJob) -> Hold | None:
    try:
        job_type = registry.get(job.job_type)
        if (rule := job_type.unique) is None:
            return None
        if rule.on_conflict == ERROR:  # nobody is there to hear it
            rule = dataclasses.replace(rule, on_conflict=EXISTING)
        # As this code would enqueue it: what a release before has stored may lack a field of the key.
        payload = json.loads(job_type.encode(job_type.decode(job.payload)))
        return rule.hold_of(job_type.name, payload, job_type.aliases)
    except JobsError:
        return None  # its attempt says what is wrong with it


def _write(planned: Sequence[tuple[Mapping[str, Any], Plan]], ids: Sequence[int], now: datetime, alias: str) -> None:
    connection, left = connections[alias], iter(ids)
    occurrences: list[tuple[Any, ...]] = []
    skipped: list[Occurrence] = []
    updates: list[tuple[Any, ...]] = []
    for row, found in planned:
        pk, last, heartbeat = row["id"], None, bool(row["heartbeat_url"])
        for due, how in found.fire:
            last = next(left)
            occurrences.append((pk, due, now, how.value, last, 0, heartbeat))
        for dues, how in ((found.missed, How.MISSED), (found.overlapped, How.OVERLAPPED)):
            if dues:
                skipped.append(Occurrence(recurring_id=pk, due_at=dues[-1], fired_at=now, how=how, skipped=len(dues)))
        updates.append(
            (
                pk, found.due, found.due and times_of(row["name"], row).fired_at(found.due), found.held,
                now if last else None, last, len(found.fire), len(found.missed) + len(found.overlapped),
            )
        )  # fmt: skip
    insert(connection, Occurrence, OCCURRENCE, occurrences)
    Occurrence.objects.using(alias).bulk_create(skipped, ignore_conflicts=True)
    cte = rows_cte("v", UPDATE, postgresql=is_postgresql(connection))
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            WITH {cte} UPDATE {RECURRING} SET due_at = v.due_at, next_at = v.next_at, held_at = v.held_at,
                last_at = COALESCE(v.last_at, {RECURRING}.last_at),
                last_job_id = COALESCE(v.last_job_id, {RECURRING}.last_job_id),
                fired = {RECURRING}.fired + v.fired, skipped = {RECURRING}.skipped + v.skipped,
                paused_at = NULL, paused_until = NULL, paused_by = '', paused_reason = ''
            FROM v WHERE {RECURRING}.id = v.id
            """,
            [as_rows(connection, updates)],
        )


def _leave_out(plans: Mapping[int, Plan], alias: str) -> None:
    """What there is an occurrence of already is not fired again: a clock was set back, or somebody backfilled."""
    dues = {due for found in plans.values() for due, _ in found.fire}
    rows = Occurrence.objects.using(alias).filter(recurring__in=plans, due_at__in=dues)
    for pk, due in rows.values_list("recurring_id", "due_at") if dues else ():
        found = plans[pk]
        found.fire = [(at, how) for at, how in found.fire if at != due]


def _busy(job_ids: Iterable[int | None], alias: str) -> set[int]:
    """Which of these jobs have not ended."""
    ids = [job_id for job_id in job_ids if job_id]
    return {*JobRecord.objects.using(alias).filter(pk__in=ids, state__in=ACTIVE).values_list("pk", flat=True)}


def _failing(rows: Sequence[Mapping[str, Any]], alias: str) -> set[int]:
    """Which of these have had as many failed jobs in a row as they may."""
    limits = {row["id"]: row["pause_after"] for row in rows if row["pause_after"]}
    if not limits:
        return set()
    order = F("due_at").desc()
    last = Occurrence.objects.using(alias).filter(recurring__in=limits, job_id__isnull=False)
    last = last.filter(Q(recurring__resumed_at=None) | Q(fired_at__gt=F("recurring__resumed_at")))
    last = last.annotate(place=Window(RowNumber(), partition_by="recurring", order_by=order))
    jobs: dict[int, list[int]] = {}
    for pk, job_id, place in last.filter(place__lte=max(limits.values())).values_list("recurring", "job_id", "place"):
        if place <= limits[pk]:
            jobs.setdefault(pk, []).append(job_id or 0)
    ids = [job_id for found in jobs.values() for job_id in found]
    failed = {*JobRecord.objects.using(alias).filter(pk__in=ids, state=State.FAILED).values_list("pk", flat=True)}
    return {pk for pk, found in jobs.items() if len(found) == limits[pk] and failed.issuperset(found)}


def _pause(row: Mapping[str, Any], why: str, now: datetime, alias: str) -> None:
    RecurringJob.objects.using(alias).filter(pk=row["id"]).update(
        due_at=None, next_at=None, held_at=None, paused_at=now, paused_until=None, paused_by=ACTOR,
        paused_reason=clean(why, 500),
    )  # fmt: skip
    audit(ACTOR, "pause_recurring", f"recurring {row['name']}", 1, why)


def forget(limit: int = 5_000) -> bool:
    """Erase up to ``limit`` occurrences that are past the retention of succeeded jobs; whether there may be more."""
    days = jobs_settings().retention_days["succeeded"]
    if days is None:
        return False
    alias = lifecycle.database()
    rows = Occurrence.objects.using(alias)
    old = rows.filter(fired_at__lt=database_now(connections[alias]) - timedelta(days=days))
    ids = list(old.values_list("pk", flat=True)[:limit])
    rows.filter(pk__in=ids).delete()
    return len(ids) == limit
