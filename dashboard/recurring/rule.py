"""When a recurring job is due, in words and as times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.utils.formats import date_format
from django.utils.translation import gettext as _

from dashboard.kit.fields import in_full
from dashboard.kit.languages import in_language
from dashboard.kit.text import inert
from handlers.exceptions import InvalidJob
from handlers.models import RecurringJob
from handlers.recurrence.cron import Cron
from handlers.recurrence.definition import columns_of, times_of
from handlers.recurrence.times import Times, zone_of
from handlers.recurrence.words import words

SHOWN = 5  # firings that a page tells in advance


@dataclass(frozen=True)
class Upcoming:
    """One time at which it will be due."""

    due: datetime
    local: str  # in its zone
    fired: datetime  # after its part of the jitter


def rule_words(columns: Mapping[str, Any]) -> str:
    """The rule of these columns of RecurringJob in words."""
    if columns["every_seconds"] is not None:
        return _("Every %(span)s") % {"span": in_full(timedelta(seconds=columns["every_seconds"]))}
    try:
        told = in_language(words(Cron.parse(columns["cron"]), columns["zone"]))
    except InvalidJob as error:
        told = inert(in_language(error))
    return f"{told[:1].upper()}{told[1:]}"


def warnings(columns: Mapping[str, Any]) -> tuple[str, ...]:
    """What may surprise of the rule."""
    return tuple(map(in_language, Cron.parse(columns["cron"]).warnings())) if columns["cron"] else ()


def upcoming(times: Times, first: datetime | None, count: int = SHOWN) -> list[Upcoming]:
    """The first ``count`` times from ``first`` on, which is one. Raises InvalidJob where the rule cannot be read."""
    zone, due = zone_of(times.zone), first
    found: list[Upcoming] = []
    while due is not None and len(found) < count:
        there = due.astimezone(zone)
        found.append(
            Upcoming(due, f"{date_format(there.date(), 'D')} {there:%Y-%m-%d %H:%M:%S %Z}", times.fired_at(due))
        )
        due = times.after(due)
    return found


def coming(row: RecurringJob, now: datetime) -> list[Upcoming]:
    """The next times of a stored one; of one that is paused for good those that there would be if it were resumed."""
    try:
        times = times_of(row.name, columns_of(row))
        return upcoming(times, row.due_at or times.after(now))
    except InvalidJob:
        return []
