"""What a scheduler does for limits: it admits who waits for time to pass, and mends what a crash has left."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import connections
from django.db.models import Exists, OuterRef, Q, QuerySet

from handlers import lifecycle
from handlers.admission.book import NO_LIMIT, WAITERS
from handlers.admission.giving import Slot, admit_waiting, forget_outdated, give_back, slots_of
from handlers.admission.keys import Pair
from handlers.admission.limited_jobs import claimable
from handlers.exceptions import TransportUnavailable
from handlers.limited import LONGEST_PERIOD
from handlers.models import JobRecord, LimitKey, LimitSlot, LimitStart, LimitWaiter
from handlers.models.sql import (
    chunks,
    database_now,
    fetch,
    from_time,
    go_by_index,
    is_postgresql,
    lock_jobs,
)
from handlers.publishing import publish, publish_on_commit
from handlers.registry import registry
from handlers.states import State
from handlers.transport import Message, get_transport
from handlers.writing import writing

LINES = 1_000  # looked at in one pass
CHUNK = 100  # of them in one transaction, which locks their keys
SLOTS = 1_000  # looked at in one pass, and as many who wait
SETTLED_SECONDS = 2.0  # of younger slots the jobs may be just on their way
UNCLAIMED_SECONDS = 30.0  # a slot that no worker has come for in this time goes to somebody else
UNKNOWN_SECONDS = 60.0  # after which who waits for a limit that this code does not know is sent to a worker again
PASS_SECONDS = 1.0


class LimitDuties:
    """One scheduler's, with where it goes on from pass to pass."""

    def __init__(self) -> None:
        self._line = NO_LIMIT
        self._slot = self._waiter = 0  # the job that was looked at last

    def look_after(self) -> int:
        """One pass; how many jobs it helped on. Raises the database's errors."""
        until = time.monotonic() + PASS_SECONDS
        helped = self._look_after_slots()
        self._forget_outdated()
        lines = self._lines()
        for some in chunks(lines, CHUNK):
            helped += admit_waiting(some, lifecycle.database())
            if time.monotonic() >= until:
                self._line = some[-1]
                break
        return helped + _let_unknown_go(lines)

    def _lines(self) -> Sequence[int]:
        """The keys for which some wait, found by hops through the index, going on where the last pass ended."""
        connection = connections[lifecycle.database()]
        sql = f"""
            WITH RECURSIVE hops(key_id) AS (
                SELECT MIN(key_id) FROM {WAITERS} WHERE key_id > %s
                UNION ALL
                SELECT (SELECT MIN(w.key_id) FROM {WAITERS} w WHERE w.key_id > hops.key_id)
                FROM hops WHERE hops.key_id IS NOT NULL
            )
            SELECT key_id FROM hops WHERE key_id IS NOT NULL LIMIT %s
        """
        found = [number for (number,) in fetch(connection, sql, [self._line, LINES])]
        self._line = found[-1] if len(found) == LINES else NO_LIMIT
        return found

    def _look_after_slots(self) -> int:
        """Slots whose jobs need them no more, cannot use them now, or were lost on the way."""
        using = lifecycle.database()
        rows = LimitSlot.objects.using(using).order_by("job_id").filter(job_id__gt=self._slot).distinct()
        ids = list(rows.values_list("job_id", flat=True)[:SLOTS])
        self._slot = ids[-1] if len(ids) == SLOTS else 0
        now = database_now(connections[using])
        slots = [(slot, from_time(slot.taken_at) or now) for slot in slots_of(ids, using)]
        # Slots of times to come are from before the clock was set back.
        old = {slot: at for slot, at in slots if not _is_since(at, now, SETTLED_SECONDS)}
        unclaimed = [slot for slot in old if slot.is_held and slot.state == State.ENQUEUED]
        can = claimable({(slot.job_id, slot.token) for slot in unclaimed}, using)
        give_back([slot for slot in old if not slot.is_held], using)
        late = {slot for slot in unclaimed if not _is_since(old[slot], now, UNCLAIMED_SECONDS)}
        _take_back([slot for slot in unclaimed if slot.job_id not in can or slot in late], using)
        return _publish_lost([job.message for job in can.values()])

    def _forget_outdated(self) -> None:
        """Those who are in a line and wait no more: what moved them could not say so."""
        using = lifecycle.database()
        rows = LimitWaiter.objects.using(using)
        ids = list(rows.filter(job_id__gt=self._waiter).order_by("job_id").values_list("job_id", flat=True)[:SLOTS])
        self._waiter = ids[-1] if len(ids) == SLOTS else 0
        forget_outdated(ids, using)


def _is_since(at: datetime, now: datetime, seconds: float) -> bool:
    """Whether ``at`` is no longer ago than so many seconds, and not to come."""
    return timedelta(seconds=-SETTLED_SECONDS) <= now - at <= timedelta(seconds=seconds)


def admit_lines_of(name: str) -> int:
    """Admit who waits for this limit, as far as a second goes; how many. Raises the database's errors."""
    until, admitted, using = time.monotonic() + PASS_SECONDS, 0, lifecycle.database()
    waits = Exists(LimitWaiter.objects.using(using).filter(key_id=OuterRef("pk")))
    keys = LimitKey.objects.using(using).filter(waits, name=name).order_by("pk")
    for some in chunks(list(keys.values_list("pk", flat=True)[:LINES]), CHUNK):
        admitted += admit_waiting(some, using)
        if time.monotonic() >= until:
            break
    return admitted


def forget() -> bool:
    """Forget keys that nobody has or wants a slot of, and starts that no rate looks back to; whether there may be more.

    One chunk of them. Raises the database's errors.
    """
    using = lifecycle.database()
    with writing(using):
        since = database_now(connections[using]) - timedelta(seconds=LONGEST_PERIOD)
        starts = LimitStart.objects.using(using)
        starts.filter(pk__in=list(starts.filter(at__lt=since).values_list("pk", flat=True)[:SLOTS]))._raw_delete(using)
        rows = _unused_keys(using).order_by("pk")
        if is_postgresql(connections[using]):
            rows = rows.select_for_update(skip_locked=True)
        idle = list(rows.values_list("pk", flat=True)[:SLOTS])
        # Read anew now that they are locked: meanwhile somebody may have come.
        _unused_keys(using).filter(pk__in=idle)._raw_delete(using)
    return len(idle) == SLOTS


def _unused_keys(using: str) -> QuerySet[LimitKey]:
    rows = LimitKey.objects.using(using).all()
    for model in (LimitSlot, LimitWaiter, LimitStart):
        rows = rows.filter(~Exists(model._default_manager.using(using).filter(key_id=OuterRef("pk"))))
    return rows


def _take_back(unclaimed: Sequence[Slot], using: str) -> None:
    """Take these for others, unless a worker comes at this very moment: whom we have locked it passes over."""
    if not unclaimed:
        return
    with writing(using):
        jobs = JobRecord.objects.using(using).filter(pk__in={slot.job_id for slot in unclaimed}, state=State.ENQUEUED)
        if is_postgresql(connections[using]):
            jobs = lock_jobs(jobs, skip=True).order_by("pk")
        tokens = dict(jobs.values_list("pk", "token"))
        give_back([slot for slot in unclaimed if tokens.get(slot.job_id) == slot.token], using)


def _publish_lost(messages: Sequence[Message]) -> int:
    """Publish again those that have a slot, are on no queue, and so would keep it from others."""
    lost: list[Message] = []
    try:
        for queue in {message.queue for message in messages}:
            lost += get_transport().missing(queue, [message for message in messages if message.queue == queue])
    except TransportUnavailable:
        return 0
    if lost:
        publish(lost, front=True)
    return len(lost)


def _let_unknown_go(lines: Sequence[int]) -> int:
    """Send those who wait for limits that this code does not know to a worker: it has another code, or lets them go."""
    using = lifecycle.database()
    known = registry.limits()
    pairs = LimitKey.objects.using(using).filter(pk__in=lines).values_list("pk", "name", "key")
    unknown = [number for number, *pair in pairs if Pair(*pair).name not in known]
    if not unknown:
        return 0
    with writing(using):
        go_by_index(connections[using])
        now = database_now(connections[using])
        recently = Q(since__gte=now - timedelta(seconds=UNKNOWN_SECONDS), since__lte=now)
        rows = LimitWaiter.objects.using(using).filter(~recently, key_id__in=unknown)
        if is_postgresql(connections[using]):
            rows = rows.select_for_update(skip_locked=True)
        found = dict(rows.order_by("job_id").values_list("job_id", "token")[:SLOTS])
        jobs = claimable(list(found.items()), using)
        LimitWaiter.objects.using(using).filter(job_id__in=found)._raw_delete(using)
        publish_on_commit([job.message for job in jobs.values()], using=using)
    return len(jobs)
