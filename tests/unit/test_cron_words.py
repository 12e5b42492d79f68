"""Cron lines in words: what they say is what fires, and nothing is left out."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from itertools import product
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.recurrence.cron import Cron
from handlers.recurrence.words import words

pytestmark = pytest.mark.once

SECONDS = ["*", "0", "30", "*/10", "*/7", "5,35", "0-3,40"]
MINUTES = ["*", "0", "30", "*/15", "5/15", "*/7", "0,45", "0-10", "1-3,8,20-21"]
HOURS = [
    "*",
    "0",
    "9",
    "*/2",
    "8-18/2",
    "8-17",
    "8-17/1",
    "9,17",
    "0,12",
    "*/12",
    "*/5",
    "8-9,12",
    "1-3,5,22-23",
    "1,3,5,7",
]
DAYS = ["*", "1", "31", "1,15", "1-7", "*/2", "L", "L-3", "LW", "15W", "1W,15W", "1,15W", "1,L-3,L,LW"]
MONTHS = ["*", "1", "2", "1,7", "6-8", "*/2", "1-3,5"]
WEEKDAYS = ["*", "1", "1-5", "0", "fri-sun", "1,3,5", "MON#2", "FRIL", "FRI#5", "1,FRIL", "MON#2,FRIL", "*/2", "1-3,5"]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("* * * * *", "every minute"),
        ("*/15 * * * *", "every 15 minutes"),
        ("@hourly", "every hour"),
        ("30 * * * *", "at minute 30 of every hour"),
        ("5/15 * * * *", "at minutes 5, 20, 35 and 50 of every hour"),
        ("*/7 * * * *", "at every 7th minute from 0 to 56 of every hour"),
        ("*/10 * * * * *", "every 10 seconds"),
        ("30 * * * * *", "at second 30 of every minute"),
        ("15 30 9 * * *", "at 09:30:15 every day"),
        ("*/15 8-17 * * *", "every 15 minutes from 08:00 to 17:45"),
        ("* 8-9,12 * * *", "every minute from 08:00 to 09:59 and from 12:00 to 12:59"),
        ("0 8-17 * * *", "every hour from 08:00 to 17:00"),
        ("0 1-6,9 * * *", "at minute 0 of hours 1 to 6 and 9"),
        ("0 */2 * * *", "every 2 hours"),
        ("0 */5 * * *", "every 5 hours from 00:00 to 20:00"),
        ("30 8-18/2 * * *", "every 2 hours from 08:30 to 18:30"),
        ("0 9,17 * * *", "at 09:00 and 17:00 every day"),
        ("0 9/8 * * *", "every 8 hours from 09:00 to 17:00"),
        ("0 1,3,2-3/1 * * *", "at 01:00, 02:00 and 03:00 every day, also in an hour that the clocks repeat"),
        ("0 9 * * MON-FRI", "at 09:00 on Monday to Friday"),
        ("0 9 * * 7,6", "at 09:00 on Saturdays and Sundays"),
        ("0 9 * * 1,5-7", "at 09:00 on Monday and Friday to Sunday"),
        ("30 2 L * *", "at 02:30 on the last day of each month"),
        ("0 0 1,15 * *", "at 00:00 on the 1st and 15th of each month"),
        ("0 0 1-3,22 * *", "at 00:00 on the 1st to 3rd and 22nd of each month"),
        ("0 0 31 * *", "at 00:00 on the 31st of each month, where there is one"),
        ("0 0 29 2 *", "at 00:00 on the 29th of February, where there is one"),
        ("@yearly", "at 00:00 on the 1st of January"),
        ("*/5 * * 6-8 *", "every 5 minutes in June to August"),
        ("0 9 15W * *", "at 09:00 on the working day nearest the 15th of each month"),
        ("0 9 1W,15W * *", "at 09:00 on the working days nearest the 1st and 15th of each month"),
        ("0 9 LW 3,6 *", "at 09:00 on the last working day of March and June"),
        ("0 9 L-3 * *", "at 09:00 on the 3rd day before the last of each month"),
        ("0 9 * * MON#2", "at 09:00 on the second Monday of each month"),
        ("0 9 * * 5L", "at 09:00 on the last Friday of each month"),
        ("0 9 * 1 3,FRIL", "at 09:00 on Wednesdays in January and on the last Friday of January"),
        ("0 0 13 * FRI", "at 00:00 on the 13th of each month but only on Fridays"),
        ("0 0 31 * FRI", "at 00:00 on the 31st of each month, where there is one, but only on Fridays"),
    ],
)  # fmt: skip
def test_words_read_as_a_person_would_say_it(line: str, told: str) -> None:
    assert words(Cron.parse(line)) == told


def test_words_end_with_the_zone_where_it_is_given() -> None:
    cron = Cron.parse("0 9 * * *")
    assert words(cron, "Europe/London") == "at 09:00 every day, Europe/London time"
    assert words(cron, "UTC") == "at 09:00 every day, UTC"


def test_lines_that_fire_differently_have_different_words() -> None:
    times = [f"{second} {minute} {hour} * * *" for second, minute, hour in product(SECONDS, MINUTES, HOURS)]
    dates = [f"0 {day} {month} {weekday}" for day, month, weekday in product(DAYS, MONTHS, WEEKDAYS)]
    told: dict[str, Cron] = {}
    for line in times + [f"0 {rest}" for rest in dates]:
        cron = Cron.parse(line)
        assert meaning(told.setdefault(words(cron), cron)) == meaning(cron), f"{line} and {told[words(cron)].text}"


fields = [st.sampled_from(values) for values in (SECONDS, MINUTES, HOURS, DAYS, MONTHS, WEEKDAYS)]


@given(st.tuples(*fields), st.tuples(*fields), st.integers(0, 5))
def test_no_field_is_left_out_whatever_the_others_are(
    line: tuple[str, ...], other: tuple[str, ...], place: int
) -> None:
    one = Cron.parse(" ".join(line))
    two = Cron.parse(" ".join([*line[:place], other[place], *line[place + 1 :]]))
    assert (words(one) == words(two)) == (meaning(one) == meaning(two))


def meaning(cron: Cron) -> tuple[object, ...]:
    """By what a line fires."""
    return cron.seconds, cron.minutes, cron.hours, cron.months, cron.days, cron.repeats


@given(*fields[:3])
def test_the_times_that_are_said_are_those_that_fire(second: str, minute: str, hour: str) -> None:
    cron = Cron.parse(f"{second} {minute} {hour} * * *")
    midnight = datetime(2026, 6, 3, tzinfo=UTC)
    fired = list(cron.between(midnight - timedelta(seconds=1), midnight + timedelta(seconds=86_399), ZoneInfo("UTC")))
    assert times_said(words(cron)) == [(each - midnight).total_seconds() for each in fired]


def times_said(told: str) -> list[int]:
    """The seconds of a day that words name, read by someone who knows no cron."""
    told = told.removesuffix(", also in an hour that the clocks repeat").removesuffix(" every day")
    if match := re.fullmatch(r"every (?:(\d+) )?(second|minute|hour)s?(?: from (.*))?", told):
        number, unit, spans = match.groups()
        step = int(number or 1) * {"second": 1, "minute": 60, "hour": 3600}[unit]
        ends = [span.split(" to ") for span in (spans or "00:00 to 23:59:59").split(" and from ")]
        return [at for start, end in ends for at in range(clock(start), clock(end) + 1, step)]
    told = told.removeprefix("at ")
    if ":" in told:
        return [clock(each) for each in re.split(", | and ", told)]
    parts = {"second": {0}, "minute": set(range(60)), "hour": set(range(24))}
    for part in told.split(" of "):
        if match := re.fullmatch(r"every (\d+)\w\w (\w+) from (\d+) to (\d+)", part):
            step, unit, low, high = int(match[1]), match[2], int(match[3]), int(match[4])
            parts[unit] = set(range(low, high + 1, step))
        elif part.startswith("every "):
            parts[part[6:]] = set(range(24 if part == "every hour" else 60))
        else:
            unit, _, values = part.partition(" ")
            pairs = [each.split(" to ") for each in re.split(", | and ", values)]
            parts[unit.removesuffix("s")] = {n for pair in pairs for n in range(int(pair[0]), int(pair[-1]) + 1)}
    return [
        hour * 3600 + minute * 60 + second
        for hour, minute, second in product(sorted(parts["hour"]), sorted(parts["minute"]), sorted(parts["second"]))
    ]


def clock(text: str) -> int:
    """The second of the day at which clocks show it."""
    hour, minute, *second = map(int, text.split(":"))
    return hour * 3600 + minute * 60 + sum(second)
