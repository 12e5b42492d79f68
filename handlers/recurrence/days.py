"""Which days of a month a cron line names: by number, from the month's end, nearest a working day, or by weekday."""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from functools import lru_cache

from handlers.recurrence.fields import DAY, WEEKDAY

EVERY_WEEKDAY = (0, 1, 2, 3, 4, 5, 6)
_FROM_END = re.compile(r"L(?:-([0-9]{1,3}))?", re.ASCII)
_NEAREST = re.compile(r"([0-9]{1,3})W", re.ASCII)
_LAST = re.compile(r"([0-7]|[A-Z]{3})L", re.ASCII)
_NTH = re.compile(r"([0-9]+|[A-Z]+)#([0-9]+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Days:
    """The two day fields. Both must hold; each holds if one of its parts does.

    Of the month: ``numbers``; ``from_end``, days before the last (0: ``L``); ``nearest``, working days nearest a number
    (``15W``); ``last_working`` (``LW``). Of the week, Sunday being 0: ``weekdays``; ``last``, the last such in the
    month (``5L``); ``nth``, pairs of a weekday and its place from 1 to 5 (``MON#2``).
    """

    numbers: tuple[int, ...]
    from_end: tuple[int, ...]
    nearest: tuple[int, ...]
    last_working: bool
    weekdays: tuple[int, ...]
    last: tuple[int, ...]
    nth: tuple[tuple[int, int], ...]

    @classmethod
    def read(cls, of_month: str, of_week: str) -> Days:
        """From the texts of the two fields. Raises InvalidJob."""
        numbers, from_end, nearest, last_working = _read_of_month(of_month)
        weekdays, last, nth = _read_of_week(of_week)
        return cls(
            _sorted(numbers),
            _sorted(from_end),
            _sorted(nearest),
            last_working,
            _sorted(weekdays),
            _sorted(last),
            tuple(sorted(nth)),
        )

    @property
    def of_month_restricted(self) -> bool:
        """Whether the day of month leaves out any."""
        return len(self.numbers) < 31

    @property
    def of_week_restricted(self) -> bool:
        """Whether the day of week leaves out any."""
        return len(self.weekdays) < 7


@lru_cache(maxsize=8192)
def month_shape(year: int, month: int) -> tuple[int, int]:
    """The weekday of its first day, Monday being 0, and its length in days."""
    return calendar.monthrange(year, month)


@lru_cache(maxsize=8192)
def matching(days: Days, first: int, length: int) -> tuple[int, ...]:
    """The days, sorted, of a month of ``length`` days whose first is the weekday ``first`` (Monday being 0)."""
    return tuple(sorted(_of_month(days, first, length) & _of_week(days, first, length)))


def _of_month(days: Days, first: int, length: int) -> set[int]:
    found = set(days.numbers)
    found |= {length - before for before in days.from_end}
    found |= {_working_day(day, first, length) for day in days.nearest if day <= length}
    if days.last_working:
        found.add(_working_day(length, first, length))
    return found


def _of_week(days: Days, first: int, length: int) -> set[int]:
    found = {day for day in range(1, length + 1) if (first + day) % 7 in days.weekdays}
    found |= {day for day in range(length - 6, length + 1) if (first + day) % 7 in days.last}
    found |= {day for day in range(1, length + 1) if ((first + day) % 7, (day + 6) // 7) in days.nth}
    return found


def _working_day(day: int, first: int, length: int) -> int:
    """The day from Monday to Friday nearest ``day``, in the same month."""
    match (first + day) % 7:
        case 6:  # Saturday
            return day - 1 if day > 1 else day + 2
        case 0:  # Sunday
            return day + 1 if day < length else day - 2
        case _:
            return day


def _read_of_month(text: str) -> tuple[set[int], set[int], set[int], bool]:
    numbers: set[int] = set()
    from_end: set[int] = set()
    nearest: set[int] = set()
    last_working = False
    for part in ("*" if text == "?" else text).split(","):
        upper = part.upper()
        if upper == "LW":
            last_working = True
        elif match := _FROM_END.fullmatch(upper):
            from_end.add(_before_last(part, match[1]))
        elif match := _NEAREST.fullmatch(upper):
            nearest.add(DAY.value(match[1]))
        else:
            numbers.update(DAY.values(part))
    return numbers, from_end, nearest, last_working


def _before_last(part: str, digits: str | None) -> int:
    before = int(digits or 0)
    if digits is not None and not 1 <= before <= 30:
        DAY.refuse(f"{part!r} is out of range", "write L-1 to L-30, or L for the last day")
    return before


def _read_of_week(text: str) -> tuple[set[int], set[int], set[tuple[int, int]]]:
    weekdays: set[int] = set()
    last: set[int] = set()
    nth: set[tuple[int, int]] = set()
    for part in ("*" if text == "?" else text).split(","):
        upper = part.upper()
        if upper == "L":
            WEEKDAY.refuse("L alone has two meanings", "write SAT for Saturday, or FRIL for the last Friday of a month")
        elif match := _LAST.fullmatch(upper):
            last.add(WEEKDAY.value(match[1]) % 7)
        elif match := _NTH.fullmatch(upper):
            if match[2] not in ("1", "2", "3", "4", "5"):
                WEEKDAY.refuse(f"{part[:40]!r} is out of range", "write #1 to #5, such as MON#2 for the second Monday")
            nth.add((WEEKDAY.value(match[1]) % 7, int(match[2])))
        else:
            weekdays.update(WEEKDAY.values(part))
    return weekdays, last, nth


def _sorted(values: set[int]) -> tuple[int, ...]:
    return tuple(sorted(values))
