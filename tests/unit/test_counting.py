"""Buckets of durations, quantiles out of them, and what each move counts as. No database."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from dashboard.kit.metrics import quantile
from handlers.folding import periods
from handlers.lifecycle.counting import bucket, outcome_of
from handlers.models.count import BUCKET_FIELDS, BUCKETS, Outcome
from handlers.states import State


@pytest.mark.parametrize(("seconds", "place"), [(0, 0), (0.001, 0), (0.0011, 1), (1, 9), (1800, 16), (1801, 17)])
def test_bucket_is_the_first_that_reaches_so_far(seconds: float, place: int) -> None:
    assert bucket(seconds) == place


def test_quantile_is_linear_inside_a_bucket() -> None:
    buckets = [0] * len(BUCKET_FIELDS)
    buckets[10] = 4  # 1 s to 2 s
    assert quantile(buckets, 0.5) == pytest.approx(1.5)
    assert quantile(buckets, 1.0) == pytest.approx(2.0)


def test_quantile_of_what_has_no_end_is_its_beginning() -> None:
    buckets = [0] * len(BUCKETS) + [3]
    assert quantile(buckets, 0.95) == BUCKETS[-1]


def test_quantile_of_nothing_is_unknown() -> None:
    assert quantile([0] * len(BUCKET_FIELDS), 0.5) is None
    assert quantile([], 0.5) is None


@pytest.mark.parametrize(
    ("source", "targets", "outcome"),
    [
        (State.PROCESSING, [State.SUCCEEDED], Outcome.SUCCEEDED),
        (State.PROCESSING, [State.FAILED], Outcome.FAILED),
        (State.PROCESSING, [State.FAILED, State.SCHEDULED], Outcome.RETRIED),
        (State.PROCESSING, [State.FAILED, State.DELETED], Outcome.FAILED),
        (State.PROCESSING, [State.ENQUEUED], Outcome.HANDED_BACK),
        (State.PROCESSING, [State.SCHEDULED], Outcome.SNOOZED),
        (State.PROCESSING, [State.DELETED], Outcome.DROPPED),
        (State.ENQUEUED, [State.DELETED], Outcome.DELETED),
        (State.FAILED, [State.ENQUEUED], Outcome.REVIVED),
        (State.DELETED, [State.FAILED], Outcome.REVIVED),
        (State.SCHEDULED, [State.ENQUEUED], Outcome.REVIVED),
        (State.AWAITING, [State.ENQUEUED], None),
    ],
)
def test_move_counts_as_one_outcome(source: State, targets: list[State], outcome: Outcome | None) -> None:
    assert outcome_of(source, targets) == outcome


def test_minute_counts_in_its_hour_and_day() -> None:
    minute = datetime(2026, 3, 1, 13, 37, tzinfo=UTC)
    assert [at.isoformat()[:16] for _, at in periods(minute)] == [
        "2026-03-01T13:37", "2026-03-01T13:00", "2026-03-01T00:00"
    ]  # fmt: skip
