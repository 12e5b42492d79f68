"""What may be wrong with a line that can be read: it never fires, or otherwise than its writer may think."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date

from handlers.recurrence.dates import month_names, of_month, of_week
from handlers.recurrence.days import EVERY_WEEKDAY, Days, matching, month_shape
from handlers.recurrence.fields import DAY, WEEKDAY, Field
from handlers.wording import worded

_STEP = re.compile(r"\*/([0-9]+)", re.ASCII)
_CALENDAR = 400  # years, after which it begins anew
_WITHIN = {
    "second": worded("minute"),
    "minute": worded("hour"),
    "hour": worded("day"),
    DAY.name: worded("month"),
    "month": worded("year"),
    WEEKDAY.name: worded("week"),
}
_UNITS = {
    "second": worded("second"),
    "minute": worded("minute"),
    "hour": worded("hour"),
    DAY.name: worded("day of month"),
    "month": worded("month"),
    WEEKDAY.name: worded("day of week"),
}


def why_never(days: Days, months: Sequence[int], after: date) -> str:
    """Why no day soon after ``after`` is one that both fields name in these months."""
    if found := _first_day(days, months, after):
        return f"the first day that fits is {found:%A}, {found.day} {found:%B} {found.year}"
    named = of_month(days, months)
    if _first_day(_in_any_week(days), months, after) is None:
        return worded("no year has %(days)s: name another day", days=named)
    return worded(
        "%(days)s never falls on %(weekdays)s: leave one of the two fields a star", days=named, weekdays=of_week(days)
    )


def doubts(days: Days, months: Sequence[int], written: Sequence[tuple[Field, str]]) -> Iterator[str]:
    """What people take for something else, in sentences. ``written``: the fields, each with its text."""
    if days.of_month_restricted and days.of_week_restricted:
        yield worded("Day of month and day of week must both hold; many crons fire where either does.")
    lacking = [month for month in months if not matching(_in_any_week(days), *month_shape(2001, month))]
    if lacking:
        leap = 2 in lacking and matching(_in_any_week(days), *month_shape(2004, 2))
        names = month_names(lacking)
        if leap and lacking == [2]:
            names = worded("%(months)s, but for leap years", months=names)
        yield worded("It leaves out %(months)s, where no such day is; L is the last day of each month.", months=names)
    for field, text in written:
        for part in text.split(","):
            match = _STEP.fullmatch(part)
            size = field.high - field.low + 1
            if match and size % int(match[1]):
                last = range(field.low, field.high + 1, int(match[1]))[-1]
                yield worded(
                    "Steps begin anew each %(span)s: after %(unit)s %(last)s comes %(first)s.",
                    span=_WITHIN[field.name], unit=_UNITS[field.name], last=last, first=field.low,
                )  # fmt: skip


def _first_day(days: Days, months: Sequence[int], after: date) -> date | None:
    """The first such day in the whole calendar."""
    for year in range(after.year, min(after.year + _CALENDAR, date.max.year) + 1):
        for month in months:
            for day in matching(days, *month_shape(year, month)):
                if date(year, month, day) >= after:
                    return date(year, month, day)
    return None


def _in_any_week(days: Days) -> Days:
    return replace(days, weekdays=EVERY_WEEKDAY, last=(), nth=())
