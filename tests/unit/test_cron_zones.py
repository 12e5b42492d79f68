"""When cron lines fire where clocks are changed, beside an oracle that walks every minute."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import cast
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers.recurrence.cron import Cron
from tests.unit import cron_oracle
from tests.unit.cron_oracle import Walk

pytestmark = pytest.mark.once

MINUTE = timedelta(minutes=1)

# A year with both changes of each zone. Those of Troll are of two hours, of Lord Howe half an hour, of Casablanca and
# El Aaiun around Ramadan; those of Havana, Beirut, Cairo, Santiago and the Azores are at midnight.
YEARS = {
    "America/New_York": 2026,
    "Europe/London": 2026,
    "Europe/Dublin": 2026,
    "Atlantic/Azores": 2026,
    "America/St_Johns": 2026,
    "America/Havana": 2026,
    "America/Santiago": 2026,
    "Asia/Beirut": 2026,
    "Africa/Cairo": 2026,
    "Africa/Casablanca": 2026,
    "Africa/El_Aaiun": 2030,  # two Ramadans
    "Antarctica/Troll": 2026,
    "Australia/Lord_Howe": 2026,
    "Pacific/Apia": 2011,  # without 30 December
    "Asia/Kathmandu": 2026,  # without a change
}
# Around one change, in UTC, what comes seldom.
MOMENTS = (
    ("Pacific/Apia", "2011-12-30 10:00"),  # a day is left out
    ("Pacific/Kwajalein", "1969-09-30 13:00"),  # 23 hours are shown twice
    ("America/St_Johns", "2010-11-07 02:31"),  # at one minute past midnight, back to the day before
    ("America/New_York", "2026-11-01 06:00"),
    ("Europe/London", "2026-03-29 01:00"),
    ("Australia/Lord_Howe", "2026-04-04 15:00"),
    ("Antarctica/Troll", "2026-03-29 01:00"),
    ("Africa/Cairo", "2026-10-29 21:00"),
    ("America/Havana", "2026-11-01 05:00"),
    ("Africa/Casablanca", "2026-02-15 02:00"),
    ("Pacific/Kiritimati", "1994-12-31 10:00"),  # New Year's Eve is left out
    ("Africa/Monrovia", "1972-01-07 00:44:30"),  # by 44 minutes and 30 seconds
    ("Africa/Casablanca", "1985-12-31 23:00"),  # New Year's hour is shown twice, from one year of UTC to the next
    ("Antarctica/Casey", "1969-01-01 00:00"),  # eight hours on, likewise
    ("America/Rankin_Inlet", "1957-01-01 00:00"),  # six hours back, at the start of a year of UTC
)
LINES = (
    "*/15 22-23,0-3/1 * * *",
    "*/15 2 * * *",
    "0 */2 * * *",
    "30 * * * *",
    "30 2 * * *",
    "0 0,23 */2 * ?",
    "45 23 L * *",
    "0,15 1/2 * 3-11 SUN",
    "15 3,1 28W,LW,1-31/3 * FRIL,SUN#1,1-5",
)


@lru_cache(maxsize=1)
def year_of(name: str) -> Walk:
    year = YEARS[name]
    start, end = datetime(year - 1, 12, 30, tzinfo=UTC), datetime(year + 1, 1, 3, tzinfo=UTC)
    return cron_oracle.walk(ZoneInfo(name), start, end, 15 * MINUTE)


def of(line: str, name: str, walked: Walk) -> list[datetime]:
    start, end = walked[0][0].replace(tzinfo=UTC), walked[-1][0].replace(tzinfo=UTC)
    return list(Cron.parse(line).between(start, end, ZoneInfo(name)))


@pytest.mark.parametrize("name", YEARS)
def test_a_year_fires_as_an_oracle_that_walks_it_says(name: str) -> None:
    for line in LINES:
        assert of(line, name, year_of(name)) == cron_oracle.firings(line, year_of(name)), line


# What names the hours around the changes, and days that are not too seldom.
minutes = st.sampled_from(["*", "*/7", "0", "1", "30", "2,31,59", "5/20", "44-46", "0-30/10"])
hours = st.sampled_from(["*", "*/2", "1/3", "0-23", "0", "1", "2", "3", "23", "1-3", "0,23", "22-23,0-4/2", "2,*/5"])
days = st.sampled_from(["*", "?", "*/2", "1/2", "L", "1,L", "27-31,1-8", "LW,L-1", "30W,7W,29W"])
weekdays = st.sampled_from(["*", "?", "*/2", "SUN", "fri-sun", "0L,7#1,SAT,1-3", "THU,THUL,5"])
lines = st.builds("{} {} {} * {}".format, minutes, hours, days, weekdays)
moments = st.sampled_from(MOMENTS)


@lru_cache(maxsize=len(MOMENTS))
def around(name: str, at: str) -> Walk:
    moment = datetime.fromisoformat(at).replace(tzinfo=UTC)
    step = MINUTE if moment.second == 0 else timedelta(seconds=30)
    return cron_oracle.walk(ZoneInfo(name), moment - timedelta(hours=30), moment + timedelta(hours=30), step)


@given(lines, moments)
@settings(max_examples=250)
def test_any_line_fires_around_a_change_as_the_oracle_says(line: str, moment: tuple[str, str]) -> None:
    assert of(line, moment[0], around(*moment)) == cron_oracle.firings(line, around(*moment))


@given(lines, moments, st.integers(-1, 1))
@settings(max_examples=100)
def test_next_gives_the_same_firings_from_whatever_instant_it_is_asked(
    line: str, moment: tuple[str, str], microseconds: int
) -> None:
    """Around the change, at firings and beside them: also within an hour that is repeated."""
    cron, zone, walked = Cron.parse(line), ZoneInfo(moment[0]), around(*moment)
    expected = cron_oracle.firings(line, walked)
    middle = walked[len(walked) // 2][0].replace(tzinfo=UTC)
    later = cron.next(walked[-1][0].replace(tzinfo=UTC), zone)
    for asked in [middle + number * timedelta(minutes=17) for number in range(-15, 15)] + expected[::5]:
        after = asked + timedelta(microseconds=microseconds)
        due = next((at for at in expected if at > after), later)
        assert cron.next(after.astimezone(zone), zone) == due


@given(st.sampled_from(["*", "*/25", "0", "1,59", "30-45/5"]), lines, moments)
@settings(max_examples=60)
def test_a_line_with_seconds_fires_around_a_change_as_the_oracle_says(
    seconds: str, line: str, moment: tuple[str, str]
) -> None:
    name, at = moment[0], datetime.fromisoformat(moment[1]).replace(tzinfo=UTC)
    beside = timedelta(minutes=45)
    walked = cron_oracle.walk(ZoneInfo(name), at - beside, at + beside, timedelta(seconds=1))
    assert of(f"{seconds} {line}", name, walked) == cron_oracle.firings(f"{seconds} {line}", walked)


class Sylvester(tzinfo):
    """A zone whose clocks go back by two hours an hour before New Year in UTC: both years show the same times."""

    change = datetime(2025, 12, 31, 23, tzinfo=UTC)

    def fromutc(self, dt: datetime) -> datetime:
        is_after = dt.replace(tzinfo=UTC) >= self.change
        return (dt - timedelta(hours=2 * is_after)).replace(fold=is_after)

    def utcoffset(self, dt: datetime | None) -> timedelta:
        assert dt is not None
        wall, change = dt.replace(tzinfo=None, fold=0), self.change.replace(tzinfo=None)
        is_after = wall >= change or (dt.fold == 1 and wall >= change - timedelta(hours=2))
        return timedelta(hours=-2 * is_after)

    def dst(self, dt: datetime | None) -> None:
        """Unknown."""

    def tzname(self, dt: datetime | None) -> None:
        """None."""


@pytest.mark.parametrize("line", ["*/15 * * * *", "30 21-23 * * *", "30 0 * * *", "15,45 22 31 12 *"])
def test_times_shown_twice_across_new_year_in_utc_fire_as_the_oracle_says(line: str) -> None:
    zone = cast("ZoneInfo", Sylvester())
    walked = cron_oracle.walk(
        zone, Sylvester.change - timedelta(hours=9), Sylvester.change + timedelta(hours=9), MINUTE
    )
    start, end = (at.replace(tzinfo=UTC) for at, _ in (walked[0], walked[-1]))
    assert list(Cron.parse(line).between(start, end, zone)) == cron_oracle.firings(line, walked)
    for at, _ in walked[1::7]:
        after = at.replace(tzinfo=UTC)
        expected = [each for each in cron_oracle.firings(line, walked) if each > after]
        assert list(Cron.parse(line).between(after, end, zone)) == expected
