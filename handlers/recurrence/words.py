"""A cron line in words, made from the values that it fires by and not from how it was written."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from itertools import product

from handlers.recurrence.cron import Cron
from handlers.recurrence.dates import dates
from handlers.recurrence.phrases import joined, ordinal, progression, ranges, runs
from handlers.wording import worded

_EVERY = {"second": worded("every second"), "minute": worded("every minute"), "hour": worded("every hour")}
_LISTED = 6  # times of day that are told one by one


def words(cron: Cron, zone_name: str = "") -> str:
    """When the line fires, in plain English, with the zone if it is given: "at 09:00 on Monday to Friday, UTC".

    Lines that fire differently have different words.
    """
    found, on = _times(cron), dates(cron.days, cron.months) or _daily(cron)
    if on:
        found = worded("%(times)s %(days)s", times=found, days=on)
    # Fixed hours fire once where the clocks repeat them, as is expected of "at 01:30".
    if cron.repeats and len(cron.hours) < 24 and not _is_every_some_hours(cron):
        found = worded("%(rule)s, also in an hour that the clocks repeat", rule=found)
    if zone_name == "UTC":
        return worded("%(rule)s, UTC", rule=found)
    return worded("%(rule)s, %(zone)s time", rule=found, zone=zone_name) if zone_name else found


def _times(cron: Cron) -> str:
    if _is_every_some_hours(cron):
        return _every_some_hours(cron)
    if _is_listed(cron):
        times = joined(_clock(cron, *each) for each in product(cron.hours, cron.minutes, cron.seconds))
        return worded("at %(times)s", times=times)
    every = _every(cron)
    if every is not None and len(cron.hours) == 24:
        return every
    stretches = list(runs(cron.hours))
    if every is not None and len(stretches) <= 2 and (every != "every hour" or min(map(len, stretches)) > 1):
        spans = joined(_stretch(cron, hours) for hours in stretches)
        return worded("%(every)s %(spans)s", every=every, spans=spans)
    return worded("at %(fields)s", fields=_each_field(cron))


def _daily(cron: Cron) -> str:
    return worded("every day") if _is_listed(cron) and not _is_every_some_hours(cron) else ""


def _is_listed(cron: Cron) -> bool:
    return len(cron.hours) * len(cron.minutes) * len(cron.seconds) <= _LISTED


def _is_every_some_hours(cron: Cron) -> bool:
    step = progression(cron.hours)
    return cron.repeats and len(cron.minutes) == len(cron.seconds) == 1 and step is not None and step > 1


def _every_some_hours(cron: Cron) -> str:
    step = progression(cron.hours)
    assert step is not None
    if (cron.seconds, cron.minutes, cron.hours) == ((0,), (0,), tuple(range(0, 24, step))) and 24 % step == 0:
        return worded("every %(step)s hours", step=step)
    return worded("every %(step)s hours %(span)s", step=step, span=_stretch(cron, cron.hours))


def _every(cron: Cron) -> str | None:
    """How often within an hour, if that is even: "every 15 minutes"."""
    if cron.seconds != (0,):
        return _evenly("second", cron.seconds) if len(cron.minutes) == 60 else None
    return worded("every hour") if cron.minutes == (0,) else _evenly("minute", cron.minutes)


def _evenly(unit: str, values: Sequence[int]) -> str | None:
    step = progression(values)
    if step is None or 60 % step or tuple(values) != tuple(range(0, 60, step)):
        return None
    if step == 1:
        return _EVERY[unit]
    return (
        worded("every %(step)s seconds", step=step) if unit == "second" else worded("every %(step)s minutes", step=step)
    )


def _stretch(cron: Cron, hours: Sequence[int]) -> str:
    """Its first and last time of day within these hours."""
    first = _clock(cron, hours[0], cron.minutes[0], cron.seconds[0])
    last = _clock(cron, hours[-1], cron.minutes[-1], cron.seconds[-1])
    return worded("from %(first)s to %(last)s", first=first, last=last)


def _clock(cron: Cron, hour: int, minute: int, second: int) -> str:
    return f"{hour:02}:{minute:02}" + (f":{second:02}" if cron.seconds != (0,) else "")


def _each_field(cron: Cron) -> str:
    """Field by field, what must hold."""
    named = [("minute", cron.minutes, 60), ("hour", cron.hours, 24)]
    if cron.seconds != (0,):
        named.insert(0, ("second", cron.seconds, 60))
    while len(named) > 1 and len(named[-1][1]) == named[-1][2] and len(named[-2][1]) == named[-2][2]:
        named.pop()
    *smaller, largest = (_field(*each) for each in named)
    return reduce(lambda of, part: worded("%(part)s of %(whole)s", part=part, whole=of), reversed(smaller), largest)


def _field(unit: str, values: Sequence[int], count: int) -> str:
    if len(values) == count:
        return _EVERY[unit]
    if len(values) == 1:
        return _one(unit, values[0])
    step = progression(values)
    if step is not None and step > 1 and len(values) > 4:
        return _each(unit, ordinal(step), values[0], values[-1])
    return _some(unit, joined(ranges(values)))


def _one(unit: str, value: int) -> str:
    match unit:
        case "second":
            return worded("second %(value)s", value=value)
        case "minute":
            return worded("minute %(value)s", value=value)
        case _hour:
            return worded("hour %(value)s", value=value)


def _each(unit: str, nth: str, first: int, last: int) -> str:
    match unit:
        case "second":
            return worded("every %(nth)s second from %(first)s to %(last)s", nth=nth, first=first, last=last)
        case "minute":
            return worded("every %(nth)s minute from %(first)s to %(last)s", nth=nth, first=first, last=last)
        case _hour:
            return worded("every %(nth)s hour from %(first)s to %(last)s", nth=nth, first=first, last=last)


def _some(unit: str, values: str) -> str:
    match unit:
        case "second":
            return worded("seconds %(values)s", values=values)
        case "minute":
            return worded("minutes %(values)s", values=values)
        case _hour:
            return worded("hours %(values)s", values=values)
