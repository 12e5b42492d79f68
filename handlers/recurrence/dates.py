"""The days that a cron line names, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from handlers.recurrence.days import Days
from handlers.recurrence.phrases import joined, ordinal, ranges

_MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_PLACES = ("first", "second", "third", "fourth", "fifth")


def dates(days: Days, months: Sequence[int]) -> str:
    """When both day fields hold in these months: "on the last day of each month"; empty: every day of the year."""
    named = month_names(months) if len(months) < 12 else ""
    if not days.of_month_restricted:
        if days.of_week_restricted:
            return f"on {of_week(days, named)}"
        return f"in {named}" if named else ""
    found = f"on {of_month(days, months)}"
    if _is_lacking(days, months):
        found += ", where there is one,"
    if days.of_week_restricted:
        found += f" but only on {of_week(days)}"
    return found.removesuffix(",")


def month_names(months: Sequence[int]) -> str:
    """``January and June to August``."""
    return joined(ranges(months, lambda month: _MONTHS[month - 1]))


def of_month(days: Days, months: Sequence[int]) -> str:
    """What the day of month names: ``the 1st and 15th of each month``."""
    return f"{joined(_of_month(days))} of {month_names(months) if len(months) < 12 else 'each month'}"


def _of_month(days: Days) -> Iterator[str]:
    if days.numbers:
        yield f"the {joined(ranges(days.numbers, ordinal))}"
    if days.nearest:
        working = "working day" if len(days.nearest) == 1 else "working days"
        yield f"the {working} nearest the {joined(map(ordinal, days.nearest))}"
    for before in reversed(days.from_end):
        yield "the last day" if before == 0 else f"the {ordinal(before)} day before the last"
    if days.last_working:
        yield "the last working day"


def _is_lacking(days: Days, months: Sequence[int]) -> bool:
    """Whether a month has not all the days that are named."""
    latest = max((*days.numbers, *days.nearest, *(before + 1 for before in days.from_end)), default=1)
    shortest = min(28 if month == 2 else _LONGEST[month - 1] for month in months)
    return latest > shortest


def of_week(days: Days, months: str = "") -> str:
    """What the day of week names: ``Monday to Friday``."""
    found = []
    if days.weekdays:
        order = sorted((day - 1) % 7 for day in days.weekdays)  # from Monday on
        each = list(ranges(order, _WEEKDAYS.__getitem__))
        has_range = any(" to " in part for part in each)
        found.append(joined(each if has_range else [f"{part}s" for part in each]) + (f" in {months}" if months else ""))
    placed = [f"the {_PLACES[place - 1]} {_name(day)}" for day, place in days.nth]
    placed += [f"the last {_name(day)}" for day in days.last]
    if placed:
        found.append(f"{joined(placed)} of {months or 'each month'}")
    return " and on ".join(found)


def _name(day: int) -> str:
    return _WEEKDAYS[(day - 1) % 7]
