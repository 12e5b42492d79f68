"""Lines of cron, and when they fire in a time zone. Pure: no clock, and nothing kept from call to call.

Both day fields must hold. A wall time that the clocks skip fires when they go on. One that they show twice fires the
first time; if the hours are a star, have a step or are all of them, both times.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from handlers.exceptions import InvalidJob
from handlers.recurrence.days import Days, matching, month_shape
from handlers.recurrence.doubts import doubts, why_never
from handlers.recurrence.fields import DAY, HOUR, MINUTE, MONTH, SECOND, WEEKDAY
from handlers.recurrence.spans import spans
from handlers.wording import Figures, worded

MAX_TEXT = 200  # characters of a line
HORIZON = timedelta(days=5 * 365 + 2)  # how far ahead is looked: five years

_SECOND = timedelta(seconds=1)
_FIELDS = (SECOND, MINUTE, HOUR, DAY, MONTH, WEEKDAY)
# Within these no sum with an offset overflows.
_FIRST, _LAST = datetime.fromisoformat("0002-01-01"), datetime.fromisoformat("9990-12-31")
_MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


@dataclass(frozen=True, slots=True)
class Cron:
    """A line of cron that was read. ``text`` is the line as given, with single blanks.

    ``seconds``, ``minutes``, ``hours`` and ``months`` are sorted values, ``days`` both day fields. ``repeats``: whether
    wall times that the clocks show twice fire twice. ``has_seconds``: whether the line has six fields.
    """

    text: str
    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    months: tuple[int, ...]
    days: Days
    repeats: bool
    has_seconds: bool

    @staticmethod
    def parse(text: str) -> Cron:
        """Read a line: five fields, six with seconds first, or ``@daily`` and its kin.

        Raises InvalidJob, which names the field and the mend.
        """
        if not isinstance(text, str):
            raise InvalidJob(
                worded("cron: must be a text such as '0 9 * * MON-FRI', not %(text)s", text=f"{text!r:.60}"),
                field="cron",
            )
        if len(text) > MAX_TEXT:
            raise InvalidJob(
                worded(
                    "cron: has %(text)s characters: at most %(max_text)s are read",
                    text=Figures(f"{len(text):,}"),
                    max_text=MAX_TEXT,
                ),
                field="cron",
            )
        stripped = text.strip()
        for character in stripped:
            if unicodedata.category(character) == "Cc" and character != "\t":
                raise InvalidJob(
                    worded("cron: holds the control character %(character)s: leave it out", character=repr(character)),
                    field="cron",
                )
        return _parse(" ".join(stripped.split()))

    def next(self, after: datetime, zone: ZoneInfo) -> datetime | None:
        """The first firing after the aware ``after``, in UTC; None if there is none within five years."""
        start = _naive("after", after)
        return next(self._firings(start, start + HORIZON, zone), None)

    def between(self, start: datetime, end: datetime, zone: ZoneInfo) -> Iterator[datetime]:
        """The firings after the aware ``start``, up to and with the aware ``end``, in UTC and in order."""
        return self._firings(_naive("start", start), _naive("end", end), zone)

    def check(self, after: datetime, zone: ZoneInfo) -> None:
        """Raise InvalidJob unless the line fires within five years after the aware ``after``."""
        if self.next(after, zone) is None:
            why = why_never(self.days, self.months, after.date())
            raise InvalidJob(
                worded("cron: %(text)s does not fire within five years: %(why)s", text=repr(self.text), why=why),
                field="cron",
            )

    def warnings(self) -> tuple[str, ...]:
        """What the line does otherwise than its writer may think, in sentences."""
        return tuple(doubts(self.days, self.months, tuple(zip(_FIELDS, _texts(self.text), strict=True))))

    def _firings(self, after: datetime, until: datetime, zone: ZoneInfo) -> Iterator[datetime]:
        """The firings after ``after``, up to and with ``until``; both naive and UTC."""
        earliest = max(after.replace(microsecond=0) + _SECOND, _FIRST)
        latest = min(until, _LAST)
        for span in spans(zone, earliest, latest):
            first = span.start + span.offset
            end = min(span.end, latest + _SECOND) + span.offset
            if earliest > span.start:
                wall = earliest + span.offset
                if not self.repeats:
                    wall = max(wall, span.unseen)
            else:
                wall = span.after_gap if self.repeats else span.unseen
                if wall < first:
                    # The clocks were put forward: what they skipped, and what is due now, is one firing.
                    if self._first(wall, first + _SECOND):
                        yield span.start.replace(tzinfo=UTC)
                    wall = first + _SECOND
            while found := self._first(wall, end):
                yield (found - span.offset).replace(tzinfo=UTC)
                wall = found + _SECOND

    def _first(self, wall: datetime, end: datetime) -> datetime | None:
        """The first wall time named from ``wall`` on, before ``end``."""
        day, time = self._day(wall.year, wall.month, wall.day, end), None
        if day == (wall.year, wall.month, wall.day):
            time = self._time(wall.hour, wall.minute, wall.second)
            if time is None:
                day = self._day(wall.year, wall.month, wall.day + 1, end)
        if day is None:
            return None
        hour, minute, second = time or (self.hours[0], self.minutes[0], self.seconds[0])
        found = datetime(*day, hour, minute, second)  # noqa: DTZ001 - a wall time
        return found if found < end else None

    def _day(self, year: int, month: int, day: int, end: datetime) -> tuple[int, int, int] | None:
        """The first day named from that one on (``day`` may be one too high), not after the month of ``end``."""
        while (year, month) <= (end.year, end.month):
            if month in self.months:
                days = matching(self.days, *month_shape(year, month))
                place = bisect_left(days, day)
                if place < len(days):
                    return year, month, days[place]
            year, month, day = (year, month + 1, 1) if month < 12 else (year + 1, 1, 1)
        return None

    def _time(self, hour: int, minute: int, second: int) -> tuple[int, int, int] | None:
        """The first time of day named from that one on."""
        if second > self.seconds[-1]:
            second, minute = 0, minute + 1
        if minute > self.minutes[-1]:
            second, minute, hour = 0, 0, hour + 1
        place = bisect_left(self.hours, hour)
        if place == len(self.hours):
            return None
        if self.hours[place] > hour:
            return self.hours[place], self.minutes[0], self.seconds[0]
        found = self.minutes[bisect_left(self.minutes, minute)]
        if found > minute:
            return hour, found, self.seconds[0]
        return hour, found, self.seconds[bisect_left(self.seconds, second)]


@lru_cache(maxsize=16_384)
def _parse(text: str) -> Cron:
    second, minute, hour, day, month, weekday = _texts(text)
    hours = HOUR.read(hour)
    return Cron(
        text=text,
        seconds=SECOND.read(second),
        minutes=MINUTE.read(minute),
        hours=hours,
        months=MONTH.read(month),
        days=Days.read(day, weekday),
        repeats="/" in hour or len(hours) == 24,
        has_seconds=text.count(" ") == 5,
    )


def _texts(text: str) -> list[str]:
    """The texts of the six fields."""
    parts = _expanded(text).split(" ")
    if len(parts) not in (5, 6):
        raise InvalidJob(
            worded(
                "cron: has %(count)s fields: write five (minute, hour, day of month, month, day of week), "
                "or six with the second first",
                count=len(parts) if text else 0,
            ),
            field="cron",
        )
    return parts if len(parts) == 6 else ["0", *parts]


def _expanded(text: str) -> str:
    if not text.startswith("@"):
        return text
    if text.lower() not in _MACROS:
        raise InvalidJob(
            worded(
                "cron: %(text)s is not known: write five fields, or one of %(names)s",
                text=repr(text[:40]),
                names=", ".join(_MACROS),
            ),
            field="cron",
        )
    return _MACROS[text.lower()]


def _naive(name: str, moment: datetime) -> datetime:
    """The same moment without its zone, in UTC."""
    if not isinstance(moment, datetime) or moment.utcoffset() is None:
        raise InvalidJob(f"{name}: must be an aware datetime, not {moment!r:.60}", field=name)
    if not _FIRST.year < moment.year < _LAST.year:
        return _FIRST if moment.year <= _FIRST.year else _LAST
    return moment.astimezone(UTC).replace(tzinfo=None)
