"""A time zone as a row of spans, in each of which its clocks keep one offset to UTC."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)


class Span(NamedTuple):
    """``start`` and ``end`` are naive and UTC, ``[start, end)``; the other two are naive local times.

    ``after_gap``: the first wall time that falls to this span: its own first, or that of the gap before it.
    ``unseen``: the first wall time that the clocks had not shown before: later than the first, if they went back.
    """

    start: datetime
    end: datetime
    offset: timedelta
    after_gap: datetime
    unseen: datetime


def spans(zone: ZoneInfo, start: datetime, until: datetime) -> Iterator[Span]:
    """The spans that overlap ``start`` to ``until``, in order; both are naive, UTC, of the years 2 to 9995."""
    for year in range(start.year, until.year + 1):
        for span in _of_year(zone, year):
            if span.start > until:
                return
            if span.end > start:
                yield span


@lru_cache(maxsize=4096)
def _of_year(zone: ZoneInfo, year: int) -> tuple[Span, ...]:
    # From some days before, since a wall time that is repeated after New Year may have been shown before it.
    new_year, next_year = datetime(year, 1, 1), datetime(year + 1, 1, 1)  # noqa: DTZ001 - UTC, as all here
    start = new_year - 3 * _DAY
    offset = before = _offset(zone, start)
    unseen = start + offset
    found = []
    for end, after in [*_changes(zone, start, next_year), (next_year, offset)]:
        if end > new_year:
            if start < new_year:
                start, before, unseen = new_year, offset, max(unseen, new_year + offset)
            found.append(Span(start, end, offset, start + min(before, offset), unseen))
        unseen = end + offset  # no zone ever went back by more than the time to its next change
        start, before, offset = end, offset, after
    return tuple(found)


def _changes(zone: ZoneInfo, start: datetime, end: datetime) -> Iterator[tuple[datetime, timedelta]]:
    """When clocks are changed, and the offset from then on. A day has one change at most: no zone ever had two."""
    offset = _offset(zone, start)
    while start < end:
        upper = min(start + _DAY, end)
        after = _offset(zone, upper)
        if after != offset:
            low, high = start, upper
            while high - low > _SECOND:
                middle = low + (high - low) // _SECOND // 2 * _SECOND
                low, high = (middle, high) if _offset(zone, middle) == offset else (low, middle)
            if high < end:
                yield high, after
        start, offset = upper, after


def _offset(zone: ZoneInfo, moment: datetime) -> timedelta:
    offset = moment.replace(tzinfo=UTC).astimezone(zone).utcoffset()
    assert offset is not None
    return offset
