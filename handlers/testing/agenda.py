"""When something happens next that nobody has to do anything for but wait."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.db.models import Model, QuerySet

from handlers.admission import terms
from handlers.lifecycle import database
from handlers.models import (
    JobPayload,
    JobRecord,
    LimitKey,
    LimitStart,
    LimitWaiter,
    QueueSwitch,
    RecurringJob,
    TypeSwitch,
)
from handlers.states import UNSTARTED, State


def next_event(after: datetime) -> datetime | None:
    """The next moment after ``after`` at which a job is due, fired, let through or given up; None when there is none.

    A moment, perhaps, at which nothing comes of it.
    """
    return min((at for at in _events(after) if at > after), default=None)


def _events(after: datetime) -> Iterator[datetime]:
    using = database()
    scheduled = JobRecord.objects.using(using).filter(state__in=[State.SCHEDULED, State.WAITING])
    yield from _first(scheduled, "run_at", after)
    yield from _first(RecurringJob.objects.using(using).all(), "next_at", after)
    unstarted = JobPayload.objects.using(using).filter(job__state__in=UNSTARTED)
    yield from _first(unstarted, "expires_at", after)
    for switch in (QueueSwitch, TypeSwitch):
        yield from _first(switch._default_manager.using(using).all(), "until", after)
    yield from _rates(using)


def _first(rows: QuerySet[Model], field: str, after: datetime) -> Iterator[datetime]:
    found = rows.filter(**{f"{field}__gt": after}).order_by(field).values_list(field, flat=True).first()
    if found is not None:
        yield found


def _rates(using: str) -> Iterator[datetime]:
    """When starts no longer count, of limits for which some wait."""
    waited_for = LimitWaiter.objects.using(using).values_list("key_id", flat=True).distinct()
    names = dict(LimitKey.objects.using(using).filter(pk__in=list(waited_for)).values_list("pk", "name"))
    known = terms.terms_of(set(names.values()), using)
    for number, name in names.items():
        if (found := known.get(name)) and found.rate:
            starts = LimitStart.objects.using(using).filter(key_id=number).values_list("at", flat=True)
            yield from (at + timedelta(seconds=found.rate.seconds) for at in starts)
