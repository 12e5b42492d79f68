"""Firing what is due: job, occurrence and next time in one transaction, so that any number of schedulers may."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import DatabaseError, DataError, IntegrityError, InterfaceError, connections
from django.db.models import Exists, F, Max, OuterRef, Q, Window
from django.db.models.functions import RowNumber

from handlers import lifecycle, uniqueness
from handlers.audit import audit
from handlers.conf import jobs_settings
from handlers.exceptions import JobsError, NoHandler
from handlers.failures import clean
from handlers.lifecycle import NewJob
from handlers.models import How, JobRecord, Occurrence, Overlap, RecurringJob
from handlers.models.sql import (
    as_rows,
    chunks,
    database_now,
    fetch,
    fetch_anew,
    from_time,
    insert,
    is_postgresql,
    prepared,
    rows_cte,
    to_time,
)
from handlers.publishing import publish_on_commit
from handlers.recurrence.definition import RULE, times_of
from handlers.recurrence.plans import LOOK_BACK, Plan, plan
from handlers.registry import registry
from handlers.states import ACTIVE, State
from handlers.unique import ERROR, EXISTING, Hold
from handlers.uniqueness import Made
from handlers.writing import writing

logger = logging.getLogger(__name__)

CHUNK = 200  # recurring jobs in one transaction
AGAIN = timedelta(minutes=1)  # until one that could not be fired is tried again
ACTOR = "recurring jobs"
ROWS = 1_000  # occurrences in one statement
RECURRING, OCCURRENCES = RecurringJob._meta.db_table, Occurrence._meta.db_table
COLUMNS = (
    "id", "name", "job_type", "data", "queue", "context", *RULE, "anchor_at", "misfire", "catch_up", "catch_up_seconds",
    "overlap", "pause_after", "heartbeat_url", "due_at", "held_at", "last_job_id", "resumed_at",
)  # fmt: skip
TIMES = ("start_at", "end_at", "anchor_at", "due_at", "held_at", "resumed_at", "now")
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
    return _fire(lambda: _taken("next_at <= {now}", "next_at, id", [limit]))


def fire_held(limit: int = CHUNK) -> Fired:
    """Fire the occurrences that waited for the job before, where that has ended."""

    def free() -> list[dict[str, Any]]:
        alias = lifecycle.database()
        busy = JobRecord.objects.using(alias).filter(pk=OuterRef("last_job_id"), state__in=ACTIVE)
        rows = RecurringJob.objects.using(alias).filter(~Exists(busy), held_at__isnull=False)
        pks = list(rows.values_list("pk", flat=True)[:limit])
        if not pks:
            return []
        return _taken(f"id IN ({', '.join(map(str, pks))}) AND held_at IS NOT NULL", "id", [limit], once=True)

    return _fire(free)


def _taken(condition: str, order: str, params: list[Any], *, once: bool = False) -> list[dict[str, Any]]:
    """Those rows, ours until the transaction ends; what another scheduler has in hand is left to it.

    ``now``: the database's clock, by which they were found. ``is_ahead``: whether there are occurrences already of what
    is to be fired, as far as one may see before it is ours. ``once``: the statement's text is another one each time.
    """
    connection = connections[lifecycle.database()]
    now, lock = "statement_timestamp()", "FOR UPDATE SKIP LOCKED"
    if not is_postgresql(connection):
        now, lock, stamp = "%s", "", to_time(connection, database_now(connection))
        params = [*[stamp] * (1 + condition.count("{now}")), *params]
    sql = f"""
        SELECT {", ".join(COLUMNS)}, {now},
            EXISTS (
                SELECT 1 FROM {OCCURRENCES} o WHERE o.recurring_id = r.id AND o.due_at >= COALESCE(r.held_at, r.due_at)
            )
        FROM {RECURRING} r WHERE {condition.format(now=now)} ORDER BY {order} LIMIT %s {lock}
    """
    found = (fetch_anew if once else fetch)(connection, sql, params)
    rows = [dict(zip((*COLUMNS, "now", "is_ahead"), row, strict=True)) for row in found]
    for row in rows:
        row |= {name: from_time(row[name]) for name in TIMES}
        if isinstance(row["data"], str):
            row["data"] = json.loads(row["data"])
    return rows


def _fire(find: Callable[[], list[dict[str, Any]]]) -> Fired:
    """Fire the rows that ``find`` takes, now: together, without a savepoint to go back to; where one of them cannot be
    fired all are found once more, and fired one by one."""
    try:
        return _fired(find, _fire_together)
    except Exception as error:
        if not _is_their_own(error):
            raise
    return _fired(find, lambda rows, now, alias: sum(_fire_alone(row, now, alias) for row in rows))


def _fired(
    find: Callable[[], list[dict[str, Any]]], act: Callable[[Sequence[dict[str, Any]], datetime, str], int]
) -> Fired:
    alias = lifecycle.database()
    with writing(alias):
        rows = find()
        return Fired(act(rows, rows[0]["now"], alias) if rows else 0, len(rows))


def _fire_alone(row: dict[str, Any], now: datetime, alias: str) -> int:
    """Fire it, or let it wait: one that cannot be fired must not hold up the others."""
    try:
        with writing(alias):
            return _fire_together([row | {"is_ahead": True}], now, alias)  # who knows what came meanwhile
    except Exception as error:
        if not _is_their_own(error):
            raise
        logger.exception("recurring job %r cannot be fired: tried again in %d s", row["name"], AGAIN.total_seconds())
        RecurringJob.objects.using(alias).filter(pk=row["id"]).update(next_at=now + AGAIN)
        return 0


def _is_their_own(error: Exception) -> bool:
    """Whether it is of what was to be written, and not of the database."""
    return isinstance(error, DataError | IntegrityError) or not isinstance(error, DatabaseError | InterfaceError)


def _fire_together(rows: Sequence[dict[str, Any]], now: datetime, alias: str) -> int:
    busy = _in_states([row["last_job_id"] for row in rows if row["overlap"] != Overlap.ALLOW], ACTIVE, alias)
    failing = _failing(rows, alias)
    patience = timedelta(seconds=jobs_settings().misfire_seconds)
    plans: dict[int, Plan] = {}
    looked_at = 0  # occurrences
    for row in rows:
        if looked_at >= LOOK_BACK:  # the others have their turn in the next transaction
            break
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
        else:
            looked_at += len(plans[pk].fire) + len(plans[pk].missed) + len(plans[pk].overlapped)
    _leave_out({row["id"]: plans[row["id"]] for row in rows if row["is_ahead"] and row["id"] in plans}, alias)
    planned = [(row, plans[row["id"]]) for row in rows if row["id"] in plans]
    new = [job for row, found in planned for job in jobs_of(row, len(found.fire))]
    made = create(new, actor=ACTOR, using=alias)
    _write(planned, made.ids, now, alias)
    publish_on_commit(made.messages, using=alias, stale=made.stale)
    return len(made.ids)


def jobs_of(row: Mapping[str, Any], count: int) -> list[NewJob]:
    """The jobs of so many occurrences of the recurring job with these columns."""
    job_type, queue, priority, limited = row["job_type"], row["queue"], 0, True
    try:
        known = registry.find(job_type)
        queue, priority, limited = queue or known.queue, known.priority, bool(known.limits)
    except NoHandler:  # it waits there for a worker that has one, as any such job, and that knows its limits
        queue = queue or "default"
    payload = json.dumps(row["data"], ensure_ascii=False).encode()
    context = row["context"]
    if context is not None and not isinstance(context, str):  # as a model has it, not as it is stored
        context = json.dumps(context, ensure_ascii=False)
    return [NewJob(job_type, payload, queue, limited=limited, priority=priority, context=context)] * count


def create(new: Sequence[NewJob], *, actor: str, using: str) -> Made:
    """Insert the jobs of occurrences: those of types that are unique only where none is there."""
    holds = [_hold(job) for job in new]
    return uniqueness.create(new, holds if any(holds) else None, actor=actor, using=using)


def _hold(job: NewJob) -> Hold | None:
    try:
        job_type = registry.find(job.job_type)
        if (rule := job_type.unique) is None:
            return None
        if rule.on_conflict == ERROR:  # nobody is there to hear it
            rule = dataclasses.replace(rule, on_conflict=EXISTING)
        # As this code would enqueue it: what a release before has stored may lack a field of the key.
        payload = json.loads(job_type.encode(job_type.decode(job.payload)))
        return job_type.hold_of(rule, payload)
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
    Occurrence.objects.using(alias).bulk_create(skipped, ignore_conflicts=True)
    first, cte = [], ""
    if is_postgresql(connection):  # with what is written of their rows: a statement less, which is cold
        first, occurrences = occurrences[:ROWS], occurrences[ROWS:]
        names = ", ".join(OCCURRENCE)
        cte = f"""{rows_cte("o", OCCURRENCE)}, fired AS (
            INSERT INTO {OCCURRENCES} ({names}) SELECT {names} FROM o
        ), """
    insert(connection, Occurrence, OCCURRENCE, occurrences)
    cte += rows_cte("v", UPDATE, postgresql=is_postgresql(connection))
    with prepared(connection) as cursor:
        cursor.execute(
            f"""
            WITH {cte} UPDATE {RECURRING} SET due_at = v.due_at, next_at = v.next_at, held_at = v.held_at,
                last_at = COALESCE(v.last_at, {RECURRING}.last_at),
                last_job_id = COALESCE(v.last_job_id, {RECURRING}.last_job_id),
                fired = {RECURRING}.fired + v.fired, skipped = {RECURRING}.skipped + v.skipped,
                paused_at = NULL, paused_until = NULL, paused_by = '', paused_reason = ''
            FROM v WHERE {RECURRING}.id = v.id
            """,
            [*([as_rows(connection, first)] if is_postgresql(connection) else []), as_rows(connection, updates)],
        )


def _leave_out(plans: Mapping[int, Plan], alias: str) -> None:
    """What there is an occurrence of already is not fired again, nor skipped: a clock was set back, or somebody
    backfilled."""
    dues = sorted({due for found in plans.values() for due in found.dues})
    rows = Occurrence.objects.using(alias).filter(recurring__in=plans)
    there: dict[int, set[datetime]] = {}
    for some in chunks(dues, 1_000):
        for pk, due in rows.filter(due_at__in=some).values_list("recurring_id", "due_at"):
            there.setdefault(pk, set()).add(due)
    for pk, known in there.items():
        plans[pk].leave_out(known)


def _in_states(job_ids: Iterable[int | None], states: Iterable[State], alias: str) -> set[int]:
    """Which of these jobs are in one of ``states``."""
    jobs = JobRecord.objects.using(alias).filter(state__in=states)
    known = sorted({job_id for job_id in job_ids if job_id})
    return {pk for some in chunks(known, 1_000) for pk in jobs.filter(pk__in=some).values_list("pk", flat=True)}


def _failing(rows: Sequence[Mapping[str, Any]], alias: str) -> set[int]:
    """Which of these have had as many failed jobs in a row as they may."""
    judged = [row for row in rows if row["pause_after"]]
    failed = _in_states([row["last_job_id"] for row in judged], [State.FAILED], alias)
    limits = {row["id"]: row["pause_after"] for row in judged if row["last_job_id"] in failed}
    if not limits:
        return set()
    order = [F("fired_at").desc(), F("due_at").desc()]
    last = Occurrence.objects.using(alias).filter(recurring__in=limits, job_id__isnull=False)
    last = last.filter(Q(recurring__resumed_at=None) | Q(fired_at__gt=F("recurring__resumed_at")))
    last = last.annotate(place=Window(RowNumber(), partition_by="recurring", order_by=order))
    jobs: dict[int, list[int]] = {}
    for pk, job_id, place in last.filter(place__lte=max(limits.values())).values_list("recurring", "job_id", "place"):
        if place <= limits[pk]:
            jobs.setdefault(pk, []).append(job_id or 0)
    failed = _in_states([job_id for found in jobs.values() for job_id in found], [State.FAILED], alias)
    return {pk for pk, found in jobs.items() if len(found) == limits[pk] and failed.issuperset(found)}


def _pause(row: Mapping[str, Any], why: str, now: datetime, alias: str) -> None:
    RecurringJob.objects.using(alias).filter(pk=row["id"]).update(
        due_at=None, next_at=None, held_at=None, paused_at=now, paused_until=None, paused_by=ACTOR,
        paused_reason=clean(why, 500),
    )  # fmt: skip
    audit(ACTOR, "pause_recurring", f"recurring {row['name']}", 1, why)


def forget(limit: int = 5_000) -> bool:
    """Erase up to ``limit`` occurrences that are past the retention of succeeded jobs; whether there may be more.

    Of recurring jobs that pause after failures the last ones stay, however rare they are.
    """
    days = jobs_settings().retention_days["succeeded"]
    if days is None:
        return False
    alias = lifecycle.database()
    rows = Occurrence.objects.using(alias)
    old = rows.filter(fired_at__lt=database_now(connections[alias]) - timedelta(days=days))
    judged = RecurringJob.objects.using(alias).filter(pause_after__gt=0)
    if most := judged.aggregate(most=Max("pause_after"))["most"]:  # the last ones tell of failures in a row
        newer = rows.filter(recurring=OuterRef("recurring"), due_at__gt=OuterRef("due_at"), job_id__isnull=False)
        old = old.exclude(~Exists(newer.order_by("due_at")[most - 1 : most]), recurring__in=judged)
    ids = list(old.values_list("pk", flat=True)[:limit])
    rows.filter(pk__in=ids).delete()
    return len(ids) == limit
