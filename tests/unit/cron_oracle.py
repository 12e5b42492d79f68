"""When a cron line fires, told by walking: looks at every instant and shares no code with what it judges."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")

Walk = Sequence[tuple[datetime, datetime]]  # instants and what the clocks show then, both naive


def walk(zone: ZoneInfo, start: datetime, end: datetime, step: timedelta) -> Walk:
    """What the clocks show at each instant of the grid from ``start`` to ``end``, both UTC."""
    steps = range((end - start) // step + 1)
    instants = (start.astimezone(UTC) + number * step for number in steps)
    return [(each.replace(tzinfo=None), each.astimezone(zone).replace(tzinfo=None)) for each in instants]


def firings(line: str, walked: Walk) -> list[datetime]:
    """The instants at which the line fires, without the walk's first; every time named must lie on the grid."""
    fields = line.split()
    second, minute, hour, day, month, weekday = fields if len(fields) == 6 else ["0", *fields]
    seconds, minutes = _named(second, 0, 59), _named(minute, 0, 59)
    hours = _named(hour, 0, 23)
    days: dict[date, bool] = {}

    def is_named(wall: datetime) -> bool:
        if wall.minute not in minutes or wall.hour not in hours or wall.second not in seconds:
            return False
        today = wall.date()
        if today not in days:
            days[today] = holds(day, month, weekday, today)
        return days[today]

    twice = "*" in hour or "/" in hour or len(hours) == 24
    return [at.replace(tzinfo=UTC) for at in (_showing if twice else _reaching)(walked, is_named)]


def _showing(walked: Walk, is_named: Callable[[datetime], bool]) -> Iterator[datetime]:
    """Whenever the clocks show a time that is named, or jump over one."""
    step = walked[1][0] - walked[0][0]
    before = walked[0][1]
    for at, wall in walked[1:]:
        if is_named(wall) or (wall - before > step and _any_between(before, wall, step, is_named)):
            yield at
        before = wall


def _reaching(walked: Walk, is_named: Callable[[datetime], bool]) -> Iterator[datetime]:
    """Whenever the clocks reach, for the first time, a time that is named."""
    step = walked[1][0] - walked[0][0]
    reached = walked[0][1]
    for at, wall in walked[1:]:
        if wall > reached:
            if is_named(wall) or (wall - reached > step and _any_between(reached, wall, step, is_named)):
                yield at
            reached = wall


def _any_between(low: datetime, high: datetime, step: timedelta, is_named: Callable[[datetime], bool]) -> bool:
    return any(is_named(low + step * number) for number in range(1, (high - low) // step + 1))


def holds(of_month: str, month: str, of_week: str, today: date) -> bool:
    """Whether the three fields, as written, all name that day."""
    return (
        today.month in _named(month, 1, 12, MONTHS)
        and any(_holds_of_month(part, today) for part in of_month.upper().split(","))
        and any(_holds_of_week(part, today) for part in of_week.lower().split(","))
    )


def _holds_of_month(part: str, today: date) -> bool:
    month = _month_of(today.year, today.month)
    working = [day.day for day in month if day.isoweekday() < 6]
    if part == "LW":
        return today.day == working[-1]
    if part.startswith("L"):
        return today.day == len(month) - int(part[2:] or 0)
    if part.endswith("W"):
        number = int(part[:-1])
        return number <= len(month) and today.day == min(working, key=lambda day: abs(day - number))
    return part == "?" or today.day in _named(part, 1, 31)


def _holds_of_week(part: str, today: date) -> bool:
    same = [day for day in _month_of(today.year, today.month) if day.isoweekday() == today.isoweekday()]
    if "#" in part:
        weekday, _, place = part.partition("#")
        return _is(weekday, today) and same.index(today) + 1 == int(place)
    if part.endswith("l"):
        return _is(part[:-1], today) and same[-1] == today
    return part == "?" or today.isoweekday() % 7 in {day % 7 for day in _named(part, 0, 6, WEEKDAYS)}


@lru_cache
def _month_of(year: int, month: int) -> list[date]:
    days = (date(year, month, 1) + timedelta(days=number) for number in range(31))
    return [day for day in days if day.month == month]


def _is(weekday: str, today: date) -> bool:
    return today.isoweekday() % 7 == _number(weekday, 0, WEEKDAYS) % 7


@lru_cache
def _named(text: str, low: int, high: int, names: tuple[str, ...] = ()) -> set[int]:
    found = set()
    for part in text.lower().split(","):
        span, _, step = part.partition("/")
        start, _, end = span.partition("-")
        first = low if start == "*" else _number(start, low, names)
        last = _number(end, low, names) if end else high if step or start == "*" else first
        if names is WEEKDAYS and end and last < first:
            last += 7
        found |= {value for value in range(100) if first <= value <= last and (value - first) % int(step or 1) == 0}
    return found


def _number(text: str, low: int, names: Sequence[str]) -> int:
    return low + names.index(text) if text in names else int(text)
