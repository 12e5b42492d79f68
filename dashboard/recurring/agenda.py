"""How many firings of recurring jobs fall into each quarter of an hour of a day, at a bounded cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from handlers.exceptions import InvalidJob
from handlers.recurrence.cron import Cron
from handlers.recurrence.definition import RULE, times_of
from handlers.recurrence.times import Times, zone_of

QUARTER = timedelta(minutes=15)
CAP = 100_000  # times that are looked at for one page: of entries that fire at the same times once
MANY = 15  # firings of one entry in a quarter, from which on it is counted, not named
EACH = 1_440  # firings of one entry in a day, from which on its jitter makes no difference
COLUMNS = ("id", "name", "paused_until", *RULE, "anchor_at")
JITTER = RULE.index("jitter_seconds")

Counts = tuple[tuple[int, int], ...]  # the quarters into which some fall, and how many


class Who(NamedTuple):
    """An entry that is fired in a quarter."""

    pk: int
    name: str
    times: int


@dataclass
class Agenda:
    """A day. Quarters are told apart by their number from its beginning on."""

    starts: list[datetime]  # of each quarter, in the day's zone
    counts: list[int]
    steady: list[int]  # of them those of entries that are fired many times in the quarter
    entries: int = 0  # that were looked at
    left_out: int = 0  # entries, because there were too many times to look at
    groups: list[tuple[Counts, list[tuple[int, str]]]] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Firings of the day."""
        return sum(self.counts)

    @property
    def busiest(self) -> int:
        """The quarter with most of them beside those that are fired all the time, the first of several."""
        return max(range(len(self.counts)), key=lambda place: (self.counts[place] - self.steady[place], -place))

    def who(self, quarter: int) -> tuple[list[Who], int]:
        """The entries that are fired in a quarter, by name; and how many of those that are fired many times."""
        named, many = [], 0
        for counts, members in self.groups:
            count = dict(counts).get(quarter, 0)
            if count >= MANY:
                many += len(members)
            elif count:
                named += [Who(pk, name, count) for pk, name in members]
        return sorted(named, key=lambda who: who.name), many


def agenda(day: date, zone: ZoneInfo, rows: Iterable[tuple[Any, ...]]) -> Agenda:
    """The day of ``zone``, with ``rows`` of RecurringJob's COLUMNS, in that order."""
    start, end = (_midnight(each, zone) for each in (day, day + timedelta(days=1)))
    starts = list(_quarters(start, end))
    found = Agenda([each.astimezone(zone) for each in starts], [0] * len(starts), [0] * len(starts))
    alike: dict[tuple[Any, ...], list[tuple[int, str]]] = {}
    for pk, name, paused, *rule in rows:  # some ten thousand, which are most of the page
        if paused is None or paused < end:
            # What makes two entries fire at the same times on that day. Jitter is spread by name.
            key = (name if rule[JITTER] else "", *rule, paused if paused is not None and paused > start else None)
            alike.setdefault(key, []).append((pk, name))
    looked = 0
    for alike_in, members in alike.items():
        if looked >= CAP:
            found.left_out += len(members)
            continue
        counts, times = _counts(alike_in, start, end)
        looked += times
        found.entries += len(members)
        found.groups.append((counts, members))
        for quarter, count in counts:
            found.counts[quarter] += count * len(members)
            found.steady[quarter] += count * len(members) if count >= MANY else 0
    return found


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


def _quarters(start: datetime, end: datetime) -> Iterator[datetime]:
    while start < end:
        yield start
        start += QUARTER


@lru_cache(maxsize=20_000)
def _counts(rule: tuple[Any, ...], start: datetime, end: datetime) -> tuple[Counts, int]:
    """What falls into each quarter, and at how many times that took a look."""
    name, *columns, anchor, paused = rule
    times = times_of(name, dict(zip(RULE, columns, strict=True)) | {"anchor_at": anchor})
    counts: Counter[int] = Counter()
    try:
        found = list(_of_interval(times, start, end) if times.every else _of_cron(times, start, end))
    except InvalidJob:  # it cannot be read any more: nothing is fired
        return (), 1
    first = max((moment for moment in (times.start, paused) if moment), default=start - times.jitter)
    for at, count in found:
        if at >= first and (times.end is None or at <= times.end):
            counts[(at + _late(times, at, count) - start) // QUARTER] += count
    last = -((start - end) // QUARTER)
    return tuple(sorted((quarter, count) for quarter, count in counts.items() if 0 <= quarter < last)), len(found) + 1


def _late(times: Times, at: datetime, count: int) -> timedelta:
    return times.fired_at(at) - at if times.jitter and count == 1 else timedelta(0)


def _of_cron(times: Times, start: datetime, end: datetime) -> Iterator[tuple[datetime, int]]:
    """Its firings, minute by minute; those of a quarter at once, where no time between two of them matters."""
    cron, zone = Cron.parse(times.cron), zone_of(times.zone)
    bounds = [moment for moment in (times.start, times.end) if moment is not None and start < moment < end]
    if times.jitter or bounds or start.astimezone(zone).utcoffset() != end.astimezone(zone).utcoffset():
        of_minute = replace(cron, seconds=cron.seconds[:1])
        for at in of_minute.between(start - times.jitter - timedelta(minutes=1), end, zone):
            yield at, len(cron.seconds)
        return
    in_hour = Counter(minute // 15 for minute in cron.minutes)
    of_hour = replace(cron, minutes=(0,), seconds=(0,))
    for at in of_hour.between(start - timedelta(hours=1, seconds=1), end, zone):
        for quarter, count in in_hour.items():
            yield at + quarter * QUARTER, count * len(cron.seconds)


def _of_interval(times: Times, start: datetime, end: datetime) -> Iterator[tuple[datetime, int]]:
    """Its firings one by one; where there are very many, quarter by quarter."""
    assert times.every is not None
    assert times.anchor is not None
    if (end - start) / times.every <= EACH:
        at = times.anchor + max(-((times.anchor - start + times.jitter) // times.every), 0) * times.every
        while at < end:
            yield at, 1
            at += times.every
        return
    for quarter in _quarters(start, end):
        before = max(-((times.anchor - quarter) // times.every), 0)
        after = max(-((times.anchor - quarter - QUARTER) // times.every), 0)
        if after > before:
            yield max(quarter, times.anchor), after - before
