"""The days that a cron line names, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce

from handlers.recurrence.days import Days
from handlers.recurrence.phrases import joined, ordinal, ranges, runs
from handlers.wording import nworded, worded

_MONTHS = (
    worded("January"), worded("February"), worded("March"), worded("April"), worded("May"), worded("June"),
    worded("July"), worded("August"), worded("September"), worded("October"), worded("November"), worded("December"),
)  # fmt: skip
_WEEKDAYS = (
    worded("Monday"), worded("Tuesday"), worded("Wednesday"), worded("Thursday"), worded("Friday"),
    worded("Saturday"), worded("Sunday"),
)  # fmt: skip
_EACH_WEEKDAY = (
    worded("Mondays"), worded("Tuesdays"), worded("Wednesdays"), worded("Thursdays"), worded("Fridays"),
    worded("Saturdays"), worded("Sundays"),
)  # fmt: skip
_LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def dates(days: Days, months: Sequence[int]) -> str:
    """When both day fields hold in these months: "on the last day of each month"; empty: every day of the year."""
    named = month_names(months) if len(months) < 12 else ""
    if not days.of_month_restricted:
        if days.of_week_restricted:
            return worded("on %(weekdays)s", weekdays=of_week(days, named))
        return worded("in %(months)s", months=named) if named else ""
    told, is_lacking = {"days": of_month(days, months)}, _is_lacking(days, months)
    if not days.of_week_restricted:
        return worded("on %(days)s, where there is one", **told) if is_lacking else worded("on %(days)s", **told)
    told["weekdays"] = of_week(days)
    if is_lacking:
        return worded("on %(days)s, where there is one, but only on %(weekdays)s", **told)
    return worded("on %(days)s but only on %(weekdays)s", **told)


def month_names(months: Sequence[int]) -> str:
    """``January and June to August``."""
    return joined(ranges(months, lambda month: _MONTHS[month - 1]))


def of_month(days: Days, months: Sequence[int]) -> str:
    """What the day of month names: ``the 1st and 15th of each month``."""
    named = joined(_of_month(days))
    if len(months) == 12:
        return worded("%(days)s of each month", days=named)
    return worded("%(days)s of %(months)s", days=named, months=month_names(months))


def _of_month(days: Days) -> Iterator[str]:
    if days.numbers:
        yield worded("the %(days)s", days=joined(ranges(days.numbers, ordinal)))
    if days.nearest:
        named = joined(map(ordinal, days.nearest))
        yield nworded(
            "the working day nearest the %(days)s", "the working days nearest the %(days)s", len(days.nearest),
            days=named,
        )  # fmt: skip
    for before in reversed(days.from_end):
        last = worded("the last day")
        yield last if before == 0 else worded("the %(nth)s day before the last", nth=ordinal(before))
    if days.last_working:
        yield worded("the last working day")


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
        has_range = any(len(run) > 2 for run in runs(order))
        each = joined(ranges(order, (_WEEKDAYS if has_range else _EACH_WEEKDAY).__getitem__))
        found.append(worded("%(weekdays)s in %(months)s", weekdays=each, months=months) if months else each)
    placed = [_placed(place, _name(day)) for day, place in days.nth]
    placed += [worded("the last %(weekday)s", weekday=_name(day)) for day in days.last]
    if placed:
        told = joined(placed)
        of_all = worded("%(weekdays)s of each month", weekdays=told)
        found.append(worded("%(weekdays)s of %(months)s", weekdays=told, months=months) if months else of_all)
    return reduce(lambda before, part: worded("%(before)s and on %(next)s", before=before, next=part), found)


def _placed(place: int, weekday: str) -> str:
    match place:
        case 1:
            return worded("the first %(weekday)s", weekday=weekday)
        case 2:
            return worded("the second %(weekday)s", weekday=weekday)
        case 3:
            return worded("the third %(weekday)s", weekday=weekday)
        case 4:
            return worded("the fourth %(weekday)s", weekday=weekday)
        case _fifth:
            return worded("the fifth %(weekday)s", weekday=weekday)


def _name(day: int) -> str:
    return _WEEKDAYS[(day - 1) % 7]
