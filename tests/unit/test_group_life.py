"""Which failures show that what was resolved came back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from handlers.group_life import Resolved, Seen, regression, with_versions

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
MARKS = {"1": NOON - 3 * HOUR, "2": NOON - 2 * HOUR, "3": NOON + HOUR}


def comes_back(fixed_in: str, version: str, *, seen: str = "", after: str = "", at: datetime = NOON + 2 * HOUR) -> bool:
    resolved = Resolved(NOON, fixed_in, after, frozenset(seen.split()))
    return regression(resolved, [Seen(version, at)], MARKS) is not None


@pytest.mark.parametrize("version", ["", "1", "2", "unknown"])
def test_any_later_failure_reopens_what_was_resolved_now(version: str) -> None:
    assert comes_back("", version)
    assert not comes_back("", version, at=NOON)


@pytest.mark.parametrize(
    ("fixed_in", "version", "expected"),
    [
        ("2", "1", False),  # an old worker
        ("2", "2", True),
        ("2", "3", True),
        ("2", "", True),
        ("2", "unknown", True),
        ("4", "3", False),  # 4 is not in use yet
        ("4", "4", True),
        ("1", "2", True),
        ("next", "1", False),
        ("next", "2", False),
        ("next", "3", True),
        ("next", "unknown", True),
        ("next", "", True),
    ],
)
def test_versions_compare_by_when_they_were_first_marked(fixed_in: str, version: str, expected: bool) -> None:
    assert comes_back(fixed_in, version) is expected


def test_versions_that_nobody_marked_are_old_where_it_was_seen_in_them() -> None:
    assert not comes_back("b", "a", seen="a")
    assert comes_back("b", "b", seen="a b")
    assert not comes_back("next", "a", seen="a")
    assert not comes_back("next", "a", after="a")
    assert comes_back("2", "3", seen="3"), "the marks count more"


def test_first_failure_of_the_mend_is_told() -> None:
    failures = [Seen("1", NOON + HOUR), Seen("3", NOON - HOUR), Seen("3", NOON + HOUR), Seen("2", NOON + 2 * HOUR)]
    assert regression(Resolved(NOON, "2", "", frozenset()), failures, MARKS) == failures[2]


def test_a_group_remembers_its_last_versions() -> None:
    known = with_versions([("1", 2), ("2", 3)], {"1": 1, "": 9})
    assert known == [("2", 3), ("1", 3)]
    for number in range(30):
        known = with_versions(known, {f"v{number}": 1})
    assert (len(known), known[-1]) == (20, ("v29", 1))
