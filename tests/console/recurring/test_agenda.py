"""The day of recurring jobs: each firing is in its quarter, whatever its rule and whatever the clocks do."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from dashboard.recurring import agenda as module
from dashboard.recurring.agenda import COLUMNS, Who, agenda
from handlers.recurrence.definition import times_of

pytestmark = pytest.mark.once

DAY = date(2026, 10, 25)  # in Berlin an hour is there twice
BERLIN = ZoneInfo("Europe/Berlin")


def entry(pk: int = 1, **given: Any) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    return row | {"id": pk, "name": f"n{pk}", "cron": "", "zone": "UTC", "jitter_seconds": 0.0} | given


def told(*entries: dict[str, Any]) -> list[tuple[Any, ...]]:
    """As they are read."""
    return [tuple(row[column] for column in COLUMNS) for row in entries]


def one_by_one(row: dict[str, Any], starts: list[datetime], end: datetime) -> list[int]:
    """The same by asking for each firing in turn."""
    times, counts = times_of(row["name"], row), Counter[int]()
    start = starts[0].astimezone(UTC)
    due = times.after(start - times.jitter - timedelta(microseconds=1))
    while due is not None and due < end:
        if row["paused_until"] is None or due >= row["paused_until"]:
            counts[(times.fired_at(due) - start) // module.QUARTER] += 1
        due = times.after(due)
    return [counts[quarter] for quarter in range(len(starts))]


HOUR = timedelta(hours=1)
AT = datetime(2026, 10, 25, 3, 7, 11, tzinfo=UTC)
RULES: list[dict[str, Any]] = [
    {"cron": "*/20 * * * *", "zone": "Europe/Berlin"},
    {"cron": "30 2 * * *", "zone": "Europe/Berlin"},
    {"cron": "*/7 */10 1-5 * * *", "zone": "Asia/Kolkata"},
    {"cron": "20,25 */30 0-11,13 * * MON-SUN", "zone": "America/New_York"},
    {"cron": "* * * * *", "end_at": AT},
    {"cron": "0 * * * *", "jitter_seconds": 5_000.0},
    {"cron": "0 * * * *", "start_at": AT, "end_at": AT + timedelta(hours=3)},
    {"cron": "0 * * * *", "paused_until": AT},
    {"every_seconds": 3.0, "anchor_at": AT},
    {"every_seconds": 1.0, "anchor_at": AT - 9_000 * HOUR, "paused_until": AT.replace(hour=5, minute=0, second=0)},
    {"every_seconds": 1_000.0, "anchor_at": AT - timedelta(days=400)},
    {"every_seconds": 7_200.0, "anchor_at": AT, "jitter_seconds": 900.0},
    {"every_seconds": 86_400.0 * 3, "anchor_at": datetime(2026, 10, 22, 12, tzinfo=UTC)},
]  # fmt: skip


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("zone", [BERLIN, ZoneInfo("UTC"), ZoneInfo("Asia/Kathmandu")], ids=str)
def test_each_firing_is_in_its_quarter(rule: dict[str, Any], zone: ZoneInfo) -> None:
    row = entry(**rule)
    found = agenda(DAY, zone, told(row))
    assert len(found.starts) == (100 if zone is BERLIN else 96)
    end = found.starts[-1].astimezone(UTC) + module.QUARTER
    assert found.counts == one_by_one(row, found.starts, end)
    assert found.total


def test_what_the_clocks_skip_is_in_the_quarter_in_which_it_is_fired() -> None:
    row = entry(cron="30 2 * * *", zone="Europe/Berlin")
    found = agenda(date(2026, 3, 29), BERLIN, told(row))
    assert len(found.starts) == 92
    assert found.counts == one_by_one(row, found.starts, found.starts[-1].astimezone(UTC) + module.QUARTER)
    assert f"{found.starts[found.counts.index(1)]:%H:%M}" == "03:00"


def test_busiest_quarter_names_its_entries_and_counts_those_that_fire_all_the_time() -> None:
    rows = [entry(n, cron="30 2 * * *") for n in (3, 1, 2)]
    rows += [entry(7, every_seconds=5.0, anchor_at=AT - timedelta(days=9)), entry(8, cron="*/5 * * * *")]
    found = agenda(DAY, ZoneInfo("UTC"), told(*rows))
    assert (found.entries, found.left_out, found.busiest) == (5, 0, 10)
    assert found.counts[10] == 3 + 180 + 3
    assert found.who(10) == ([Who(1, "n1", 1), Who(2, "n2", 1), Who(3, "n3", 1), Who(8, "n8", 3)], 1)
    assert found.who(11) == ([Who(8, "n8", 3)], 1)


def test_a_line_that_cannot_be_read_any_more_fires_nothing() -> None:
    assert agenda(DAY, BERLIN, told(entry(cron="99 * * * *"), entry(2, cron="@daily", zone="Mars/Olympus"))).total == 0


def test_too_many_firings_are_not_looked_at_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CAP", 40)  # each of these is looked at 24 times, and once more
    rows = [entry(n, cron=f"{n} * * * *") for n in range(5)]
    rows += [entry(5 + n, cron="0 * * * *") for n in range(5)]  # as the first: looked at once
    found = agenda(DAY, ZoneInfo("UTC"), told(*rows))
    assert (found.entries, found.left_out, found.total) == (7, 3, 7 * 24)
