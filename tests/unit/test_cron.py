"""Lines of cron: what is read, what is refused and with which words, and the days that are meant."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers.exceptions import InvalidJob
from handlers.recurrence.cron import Cron
from tests.unit import cron_oracle

pytestmark = pytest.mark.once

UTC_ZONE = ZoneInfo("UTC")
NEW_YORK = ZoneInfo("America/New_York")
START = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)  # a Sunday


def next_days(line: str, count: int, start: datetime = START) -> list[str]:
    """The next dates on which the line fires, in UTC."""
    found: list[str] = []
    at = start
    while len(found) < count:
        following = Cron.parse(line).next(at, UTC_ZONE)
        assert following is not None
        found.append(following.date().isoformat())
        at = following.replace(hour=23, minute=59, second=59)
    return found


def local(line: str, zone: ZoneInfo, start: str, count: int) -> list[str]:
    """The next firings after a wall time, as the zone's clocks show them."""
    cron, at = Cron.parse(line), datetime.fromisoformat(start).replace(tzinfo=zone)
    found = []
    for _ in range(count):
        following = cron.next(at, zone)
        assert following is not None
        at = following.astimezone(zone)
        found.append(f"{at:%d %H:%M} {at.tzname()}")
    return found


def test_equal_ends_of_a_range_are_that_value_alone() -> None:
    assert local("5-5 9-9 * * *", UTC_ZONE, "2026-11-29", 2) == ["29 09:05 UTC", "30 09:05 UTC"]
    assert next_days("0 0 1 JAN-JAN *", 2) == ["2027-01-01", "2028-01-01"]


@pytest.mark.parametrize(
    ("line", "days"),
    [
        ("0 0 13 * 5", ["2027-08-13", "2028-10-13"]),  # both must hold: Fridays that are a 13th
        ("0 0 */2 * MON", ["2026-12-07", "2026-12-21"]),
        ("0 0 */1 * MON", ["2026-11-30", "2026-12-07"]),
        ("0 0 1-31 * MON", ["2026-11-30", "2026-12-07"]),
        ("0 9 * * mon-fri/2", ["2026-11-30", "2026-12-02", "2026-12-04", "2026-12-07"]),
        ("0 0 1-7 * 1", ["2026-12-07", "2027-01-04"]),
        ("0 9 15W * MON", ["2027-02-15", "2027-03-15"]),
        ("0 9 31W * *", ["2026-12-31", "2027-01-29"]),  # none in a month that has no 31st
        ("0 9 1W * *", ["2026-12-01", "2027-01-01", "2027-02-01", "2027-03-01", "2027-04-01", "2027-05-03"]),
        ("0 9 LW * *", ["2026-11-30", "2026-12-31", "2027-01-29"]),
        ("0 9 L * *", ["2026-11-30", "2026-12-31"]),
        ("0 9 L-3 2 *", ["2027-02-25", "2028-02-26"]),
        ("0 9 1,15W,L * *", ["2026-11-30", "2026-12-01", "2026-12-15", "2026-12-31"]),
        ("0 9 * * FRIL", ["2026-12-25", "2027-01-29"]),
        ("0 9 * * MON#2,5L", ["2026-12-14", "2026-12-25"]),
        ("0 9 * * MON#5", ["2026-11-30", "2027-03-29"]),
        ("0 9 * * fri-sun", ["2026-12-04", "2026-12-05", "2026-12-06"]),
        ("0 9 * * 7", ["2026-12-06"]),
        ("0 9 * * 0,7", ["2026-12-06", "2026-12-13"]),
        ("0 9 * * 1/2", ["2026-11-30", "2026-12-02", "2026-12-04", "2026-12-07"]),
        ("0 9 * * */2", ["2026-12-01", "2026-12-03", "2026-12-05", "2026-12-06"]),
        ("0 9 ? * mon", ["2026-11-30", "2026-12-07"]),
        ("0 0 29 2 *", ["2028-02-29"]),
        ("@weekly", ["2026-12-06", "2026-12-13"]),
        ("@Monthly", ["2026-12-01"]),
        ("@annually", ["2027-01-01"]),
    ],
)  # fmt: skip
def test_days_are_those_that_both_fields_name(line: str, days: list[str]) -> None:
    assert next_days(line, len(days)) == days


@pytest.mark.parametrize(
    ("line", "times"),
    [
        ("5/15 * * * *", ["29 00:05", "29 00:20", "29 00:35", "29 00:50", "29 01:05"]),
        ("0 10-20/3 * * *", ["29 10:00", "29 13:00", "29 16:00", "29 19:00", "30 10:00"]),
        ("0 22-23,0-6/3 * * *", ["29 03:00", "29 06:00", "29 22:00", "29 23:00", "30 00:00"]),
        ("0 0 9 * * *", ["29 09:00", "30 09:00"]),
        ("@hourly", ["29 01:00", "29 02:00"]),
    ],
)
def test_times_are_those_that_a_line_names(line: str, times: list[str]) -> None:
    assert local(line, UTC_ZONE, "2026-11-29", len(times)) == [f"{time} UTC" for time in times]


def test_a_sixth_field_is_the_second_and_stands_first() -> None:
    cron = Cron.parse("*/10 * * * * *")
    assert cron.has_seconds
    assert cron.next(START, UTC_ZONE) == START + timedelta(seconds=10)
    assert not Cron.parse("* * * * *").has_seconds


@pytest.mark.parametrize(
    ("line", "spring"),
    [
        ("30 2 * * *", ["08 03:00 EDT", "09 02:30 EDT"]),
        ("*/15 2 * * *", ["08 03:00 EDT", "09 02:00 EDT"]),
        ("0 */2 * * *", ["08 03:00 EDT", "08 04:00 EDT"]),
        ("*/30 * * * *", ["08 01:30 EST", "08 03:00 EDT", "08 03:30 EDT"]),
    ],
)
def test_what_the_clocks_skip_fires_once_when_they_go_on(line: str, spring: list[str]) -> None:
    assert local(line, NEW_YORK, "2026-03-08 01:00", len(spring)) == spring


@pytest.mark.parametrize(
    ("line", "autumn"),
    [
        ("30 1 * * *", ["01 01:30 EDT", "02 01:30 EST"]),
        ("15 1 1 11 *", ["01 01:15 EDT"]),
        ("*/30 * * * *", ["01 01:00 EDT", "01 01:30 EDT", "01 01:00 EST", "01 01:30 EST", "01 02:00 EST"]),
        ("0 */1 * * *", ["01 01:00 EDT", "01 01:00 EST", "01 02:00 EST"]),
        ("0 0-23 * * *", ["01 01:00 EDT", "01 01:00 EST", "01 02:00 EST"]),
        ("0 1-22 * * *", ["01 01:00 EDT", "01 02:00 EST"]),
    ],
)
def test_what_the_clocks_repeat_fires_once_unless_the_hours_are_a_star_a_step_or_all(
    line: str, autumn: list[str]
) -> None:
    assert local(line, NEW_YORK, "2026-11-01 00:59", len(autumn)) == autumn


def test_each_hour_of_a_year_fires_once_where_clocks_are_changed_by_half_an_hour() -> None:
    zone = ZoneInfo("Australia/Lord_Howe")
    start, end = datetime(2026, 1, 1, tzinfo=zone), datetime(2027, 1, 1, tzinfo=zone)
    firings = list(Cron.parse("0 * * * *").between(start, end, zone))
    assert len(firings) == 8_760
    # 02:00 of the spring night is skipped, and fires at 02:30.
    assert [at for at in firings if at.astimezone(zone).minute] == [datetime(2026, 10, 4, 2, 30, tzinfo=zone)]


def test_asked_within_the_repeated_hour_a_line_of_fixed_hours_is_due_tomorrow() -> None:
    within = datetime(2026, 11, 1, 6, 10, tzinfo=UTC)  # 01:10 for the second time
    assert Cron.parse("30 1 * * *").next(within, NEW_YORK) == datetime(2026, 11, 2, 6, 30, tzinfo=UTC)


def test_a_day_that_a_zone_left_out_fires_once_at_the_midnight_after_it() -> None:
    apia = ZoneInfo("Pacific/Apia")
    noon = datetime(2011, 12, 29, 12, tzinfo=apia)
    for line in ("0 9 30 12 *", "* * * * *", "30 23 30 12 *", "0 0 * * *"):
        firings = list(Cron.parse(line).between(noon, noon + timedelta(days=3), apia))
        assert firings.count(datetime(2011, 12, 31, tzinfo=apia)) == 1, line


PARTS = {
    "second": ["*", "0", "*/20", "59"],
    "minute": ["*", "0", "*/15", "5/15", "10-20/3", "7,7,3-4", "05"],
    "hour": ["*", "0", "*/5", "8-17", "23", "6,18"],
    "day": ["*", "?", "1", "*/2", "29-31", "L", "L-3", "LW", "15W", "1W,31W", "L-29", "30,L-1,7"],
    "month": ["*", "1", "2", "FEB,nov", "*/5", "1-3/2"],
    "weekday": [
        "*",
        "?",
        "0",
        "7",
        "mon-FRI",
        "SUN-TUE",
        "fri-sun",
        "5L",
        "FRIL,1",
        "MON#2",
        "7#5,2#1",
        "*/3",
        "1-7/2",
    ],
}
dates = st.builds("{} {} {}".format, *(st.sampled_from(PARTS[name]) for name in ("day", "month", "weekday")))


@given(dates, st.dates(date(1970, 1, 1), date(2090, 1, 1)))
@settings(max_examples=100)
def test_the_days_of_a_year_are_those_that_each_day_asked_by_itself_says(line: str, first: date) -> None:
    of_month, month, of_week = line.split()
    start = datetime(first.year, first.month, first.day, tzinfo=UTC) - timedelta(minutes=1)
    end = start + timedelta(days=15 * 31)
    found = {at.date() for at in Cron.parse(f"0 0 {line}").between(start, end, UTC_ZONE)}
    for number in range(15 * 31):
        today = first + timedelta(days=number)
        assert (today in found) == cron_oracle.holds(of_month, month, of_week, today), today


# How lines are refused: the field, and a part of what is said.
REFUSED = {
    "60 * * * *": "minute: '60' is out of range: write 0 to 59",
    "0 24 * * *": "hour: '24' is out of range: write 0 to 23",
    "0 0 0 * *": "day of month: '0' is out of range: write 1 to 31",
    "0 0 * 13 *": "month: '13' is out of range: write 1 to 12",
    "0 0 * * 8": "day of week: '8' is out of range: write 0 to 7",
    "60 0 0 * * *": "second: '60' is out of range",
    f"{'9' * 190} * * *": "has 4 fields",
    f"{'9' * 180} * * * *": "minute: '999",
    f"*/{'9' * 180} * * * *": "reaches nothing after 0",
    "0 22-6 * * *": "hour: '22-6' runs backwards: write 22-23,0-6",
    "0 22-6/3 * * *": "hour: '22-6/3' runs backwards: write 22-23,0-6, each with a step of its own",
    "0 0 * * FRI-MON": "day of week: 'FRI-MON' runs backwards: write FRI-SAT,SUN-MON",
    "0 0 * nov-feb *": "month: 'nov-feb' runs backwards: write NOV-DEC,JAN-FEB",
    "0 0 * * 7-2": "write 0-2",
    "*/0 * * * *": "minute: the step in '*/0' is zero: write a step of 1 or more",
    "*/60 * * * *": "minute: the step in '*/60' reaches nothing after 0: write 0 alone",
    "0 5-5/2 * * *": "hour: the step in '5-5/2' reaches nothing after 5: write 5 alone",
    "0 10-12/3 * * *": "write 10 alone",
    "0 0 * * FRI/2": "day of week: the step in 'FRI/2' reaches nothing after 5",
    "1,,2 * * * *": "minute: a part is empty",
    ", * * * *": "minute: a part is empty",
    "*/ * * * *": "minute: '*/' cannot be read",
    "1-2-3 * * * *": "minute: '1-2-3' cannot be read",
    "-5 * * * *": "minute: '-5' cannot be read",
    "? * * * *": "minute: '?' cannot be read",
    "L * * * *": "minute: 'L' is not known",
    "\u0665 * * * *": "cannot be read",
    "0 0 * foo *": "month: 'foo' is not known: write a number from 1 to 12, or a name such as FEB",
    "0 0 * * monday": "day of week: 'monday' is not known",
    "0 0 32W * *": "day of month: '32' is out of range",
    "0 0 1-5W * *": "day of month: '1-5W' cannot be read",
    "0 0 L-0 * *": "day of month: 'L-0' is out of range: write L-1 to L-30",
    "0 0 L-31 * *": "day of month: 'L-31' is out of range: write L-1 to L-30",
    "0 0 * * L": "day of week: L alone has two meanings: write SAT",
    "0 0 * * MON#6": "day of week: 'MON#6' is out of range: write #1 to #5",
    "0 0 * * MON#0": "day of week: 'MON#0' is out of range: write #1 to #5",
    "0 0 * * 8#1": "day of week: '8' is out of range",
    "@reboot": "'@reboot' is not known: write five fields, or one of @yearly",
    "@every 5m": "'@every 5m' is not known",
    "0 0 * *": "has 4 fields: write five",
    "0 0 0 1 1 * 2027": "has 7 fields: write five",
    "": "has 0 fields",
    "  ": "has 0 fields",
    "0 9 * * \0": "control character",
    "0 9 *\n* *": "control character",
    "*" * 201: "has 201 characters: at most 200",
}


@pytest.mark.parametrize("line", REFUSED)
def test_what_cannot_be_read_is_refused_with_the_field_and_the_mend(line: str) -> None:
    with pytest.raises(InvalidJob) as raised:
        Cron.parse(line)
    assert raised.value.field == "cron"
    assert REFUSED[line] in str(raised.value)
    assert len(str(raised.value)) < 250


@pytest.mark.parametrize("value", [None, 5, ["*"], b"* * * * *"])
def test_what_is_no_text_is_refused(value: object) -> None:
    with pytest.raises(InvalidJob, match="must be a text"):
        Cron.parse(value)  # type: ignore[arg-type]


@given(st.text(st.sampled_from("0123456789*/-,?LW#@ \tMONFEBmonx\0\u2028"), max_size=40) | st.text(max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        cron = Cron.parse(text)
    except InvalidJob as error:
        assert error.field == "cron"  # noqa: PT017 - most texts are refused, and none must do anything else
    else:
        assert cron.text == " ".join(text.split())
        assert Cron.parse(cron.text) is cron


def test_text_is_kept_as_given_with_single_blanks() -> None:
    assert Cron.parse("  0\t9 *   * mon ").text == "0 9 * * mon"
    assert Cron.parse("@daily").text == "@daily"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("0 0 30 2 *", "no year has the 30th of February: name another day"),
        ("0 0 31 4,6 *", "no year has the 31st of April and June"),
        ("0 9 31W 2 *", "no year has the working day nearest the 31st of February"),
        ("0 0 31W 4 *", "no year has the working day nearest the 31st of April"),
        ("0 0 L-29 2 *", "no year has the 29th day before the last of February"),
        ("0 0 1 * MON#2", "the 1st of each month never falls on the second Monday of each month: leave one of the two"),
        ("0 0 31 */2 MON#1", "never falls on the first Monday of each month"),
        ("0 0 LW * SAT,SUN", "the last working day of each month never falls on Saturdays and Sundays"),
        ("0 0 29 2 MON", "the first day that fits is Monday, 29 February 2044"),
        ("0 0 * 2 MON#5", "the first day that fits is Monday, 29 February 2044"),
    ],
)
def test_a_line_that_does_not_fire_is_read_and_fails_the_check_that_says_why(line: str, why: str) -> None:
    cron = Cron.parse(line)
    assert cron.next(START, UTC_ZONE) is None
    assert list(cron.between(START, START + timedelta(days=900), UTC_ZONE)) == []
    with pytest.raises(InvalidJob, match="does not fire within five years: ") as raised:
        cron.check(START, UTC_ZONE)
    assert raised.value.field == "cron"
    assert why in str(raised.value)


def test_a_line_that_fires_in_five_years_passes_the_check_and_later_is_none() -> None:
    cron = Cron.parse("0 0 29 2 *")
    cron.check(datetime(2024, 3, 1, tzinfo=UTC), UTC_ZONE)
    before_a_year_without = datetime(2096, 3, 1, tzinfo=UTC)
    assert cron.next(before_a_year_without, UTC_ZONE) is None
    assert list(cron.between(before_a_year_without, before_a_year_without.replace(year=2105), UTC_ZONE)) == [
        datetime(2104, 2, 29, tzinfo=UTC)
    ]


def test_between_leaves_out_its_start_and_has_its_end() -> None:
    cron, hour = Cron.parse("0 * * * *"), timedelta(hours=1)
    assert list(cron.between(START, START + 2 * hour, UTC_ZONE)) == [START + hour, START + 2 * hour]
    assert list(cron.between(START, START, UTC_ZONE)) == []
    assert list(cron.between(START + hour, START, UTC_ZONE)) == []


@pytest.mark.parametrize("after", [START.replace(tzinfo=None), "2026-01-01"])
def test_a_moment_without_zone_is_refused(after: datetime) -> None:
    with pytest.raises(InvalidJob, match="aware"):
        Cron.parse("* * * * *").next(after, UTC_ZONE)


def test_the_ends_of_time_are_no_error() -> None:
    cron = Cron.parse("* * * * *")
    for zone in (UTC_ZONE, NEW_YORK, ZoneInfo("Pacific/Kiritimati")):
        assert cron.next(datetime.max.replace(tzinfo=UTC), zone) is None
        assert cron.next(datetime.min.replace(tzinfo=UTC), zone) is not None


def test_a_warning_where_both_day_fields_are_restricted() -> None:
    assert "must both hold" in Cron.parse("0 0 13 * FRI").warnings()[0]
    for line in ("0 0 13 * *", "0 0 * * FRI", "0 0 1-31 * FRI", "0 0 13 * 0-6", "@weekly"):
        assert not any("both" in warning for warning in Cron.parse(line).warnings())


@pytest.mark.parametrize(
    ("line", "warnings"),
    [
        ("0 0 31 * *", ["It leaves out February, April, June, September and November, where no such day is"]),
        ("0 0 29 * *", ["It leaves out February, but for leap years, where no such day is"]),
        ("0 0 1,31 * *", []),
        ("*/7 * * * *", ["Steps begin anew each hour: after minute 56 comes 0."]),
        ("0 */5 */2 * *", ["Steps begin anew each day: after hour 20 comes 0.", "Steps begin anew each month: after"]),
        ("*/20 */15 */6 * */3 *", []),
        ("0 0 13 * FRI", ["Day of month and day of week must both hold"]),
        ("@monthly", []),
    ],
)
def test_warnings_say_what_is_not_as_it_may_seem(line: str, warnings: list[str]) -> None:
    found = Cron.parse(line).warnings()
    assert len(found) == len(warnings)
    assert all(told.startswith(warning) for told, warning in zip(found, warnings, strict=True))
