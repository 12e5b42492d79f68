"""When a recurring job is due: by a cron line in a zone, or each so many seconds. Pure: whoever asks has the time."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from handlers.exceptions import InvalidJob
from handlers.recurrence.cron import Cron
from handlers.wording import Figures, worded

SHORTEST, LONGEST = timedelta(seconds=1), timedelta(days=3650)


@dataclass(frozen=True, slots=True)
class Times:
    """The times of one recurring job.

    Either ``cron``, by the wall clock of ``zone``; or ``every`` from ``anchor`` on, in time that really passes. Not
    before ``start``, nor after ``end``. All are fired by one part of ``jitter`` later, which the name gives: so they
    keep their order and their distances, however long it is.
    """

    name: str
    cron: str
    every: timedelta | None
    anchor: datetime | None
    zone: str
    start: datetime | None
    end: datetime | None
    jitter: timedelta

    def after(self, moment: datetime) -> datetime | None:
        """The first time after ``moment``, UTC; None when there is none, or none within five years."""
        if self.start is not None and moment < self.start:
            moment = self.start - timedelta(microseconds=1)  # the start itself may be one
        if self.every is not None:
            found = self._by_interval(moment, self.every)
        else:
            found = Cron.parse(self.cron).next(moment, zone_of(self.zone))
        return None if found is None or (self.end is not None and found > self.end) else found

    def _by_interval(self, moment: datetime, every: timedelta) -> datetime | None:
        assert self.anchor is not None
        passed = (moment - self.anchor) // every + 1
        try:
            return self.anchor + max(passed, 0) * every
        except OverflowError:
            return None

    def fired_at(self, due: datetime) -> datetime:
        """When the occurrence that is due then is fired."""
        if not self.jitter:
            return due
        digest = hashlib.sha256(self.name.encode()).digest()
        try:
            return due + self.jitter * (int.from_bytes(digest[:6]) / 2**48)
        except OverflowError:  # at the calendar's end
            return due


def zone_of(name: str) -> ZoneInfo:
    """The time zone of this name. Raises InvalidJob."""
    try:
        return _zone(name)
    except (ZoneInfoNotFoundError, ValueError, OSError, TypeError):  # OSError: a folder of zones, or a name too long
        raise InvalidJob(
            worded(
                "timezone: %(name)s is not known; name one of the tz database, such as 'Europe/Berlin'",
                name=repr(str(name)[:100]),
            ),
            field="timezone",
        ) from None


_zone = lru_cache(maxsize=1_000)(ZoneInfo)


def check_span(field: str, value: object, *, least: timedelta = timedelta(0), most: timedelta = LONGEST) -> timedelta:
    """``value``, which must be a timedelta from ``least`` to ``most``. Raises InvalidJob, naming ``field``."""
    if not isinstance(value, timedelta) or not least <= value <= most:
        raise InvalidJob(
            worded(
                "%(field)s: must be a timedelta from %(least)s to %(days)s days, not %(value)s",
                field=field,
                least=least,
                days=Figures(f"{most.days:,}"),
                value=repr(value),
            ),
            field=field,
        )
    return value


def check_moment(field: str, value: object) -> datetime:
    """``value`` in UTC, which must be an aware datetime. Raises InvalidJob, naming ``field``."""
    if isinstance(value, datetime) and value.utcoffset() is not None:
        try:
            return value.astimezone(UTC)
        except OverflowError:
            pass
    raise InvalidJob(
        worded("%(field)s: must be an aware datetime, not %(value)s", field=field, value=repr(value)), field=field
    )
