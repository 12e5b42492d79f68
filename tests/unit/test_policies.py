"""A stored policy as the engine's own, and the bounds of what people may store."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from handlers import FixedBackoff, InvalidJob, RetryPolicy
from handlers.models import StoredPolicy
from handlers.policies import as_policy
from handlers.policy_edits import draft
from handlers.retries import ExponentialBackoff, LinearBackoff, PolynomialBackoff

CODE = RetryPolicy(max_attempts=2, retry_on=(ValueError,), give_up_on=(KeyError,))


@pytest.mark.parametrize(
    ("backoff", "expected"),
    [
        ("fixed", FixedBackoff(timedelta(seconds=5))),
        ("linear", LinearBackoff(timedelta(seconds=5))),
        ("exponential", ExponentialBackoff(timedelta(seconds=5), 3)),
        ("polynomial", PolynomialBackoff()),
    ],
)
def test_stored_policy_becomes_the_engines_own(backoff: str, expected: Any) -> None:
    stored = StoredPolicy(
        name="x", max_attempts=7, backoff=backoff, delay_seconds=5, factor=3, max_delay_seconds=60, jitter=0.5,
        on_exhausted="delete",
    )  # fmt: skip
    assert as_policy(stored, CODE) == RetryPolicy(
        max_attempts=7,
        backoff=expected,
        max_delay=timedelta(seconds=60),
        jitter=0.5,
        retry_on=(ValueError,),
        give_up_on=(KeyError,),
        on_exhausted="delete",
    )


def test_policy_without_a_cap_has_none() -> None:
    assert as_policy(StoredPolicy(name="x"), CODE).max_delay is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "x" * 61),
        ("name", " x"),
        ("name", "a/b"),
        ("name", "a\n"),
        ("name", "<b>"),
        ("max_attempts", 0),
        ("max_attempts", 10_001),
        ("max_attempts", True),
        ("max_attempts", 2.5),
        ("backoff", "sometimes"),
        ("delay_seconds", -1),
        ("delay_seconds", float("nan")),
        ("delay_seconds", 366 * 86400),
        ("max_delay_seconds", float("inf")),
        ("max_delay_seconds", -0.1),
        ("factor", 0.9),
        ("factor", 1_001),
        ("jitter", 1.1),
        ("jitter", float("nan")),
        ("on_exhausted", "explode"),
        ("retry_on", "ValueError"),
    ],
)
def test_value_out_of_bounds_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(InvalidJob, match=f"^{field}: ") as caught:
        draft({"name": "x", field: value})
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_attempts", 1),
        ("max_attempts", 10_000),
        ("delay_seconds", 0),
        ("delay_seconds", 365 * 86400),
        ("factor", 1_000),
        ("jitter", 1),
        ("name", "Übrige E-Mail_2.0"),
    ],
)
def test_value_at_a_bound_is_taken(field: str, value: Any) -> None:
    assert getattr(draft({"name": "x", field: value}), field) == value


def test_draft_lies_over_the_policy_that_it_changes() -> None:
    before = StoredPolicy(name="x", max_attempts=4, jitter=0)
    after = draft({"max_attempts": 5}, over=before)
    assert (after.name, after.max_attempts, after.jitter) == ("x", 5, 0)
    assert before.max_attempts == 4
