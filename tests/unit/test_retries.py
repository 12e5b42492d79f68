"""RetryPolicy and the backoffs: properties that hold for every number of failures and every draw."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers import (
    ExponentialBackoff,
    FixedBackoff,
    GiveUp,
    InvalidJob,
    LinearBackoff,
    PolynomialBackoff,
    RetryAfter,
    RetryPolicy,
)
from handlers.retries import LONGEST_DELAY, Backoff, Exhausted, Retry, in_words

ZERO = timedelta(0)
durations = st.timedeltas(min_value=ZERO, max_value=timedelta(days=10_000))
growing = (
    st.builds(LinearBackoff, durations)
    | st.builds(ExponentialBackoff, durations, st.floats(1, 1e6))
    | st.builds(PolynomialBackoff)
)
backoffs = growing | st.builds(FixedBackoff, durations)
failures = st.integers(1, 2**31)
draws = st.floats(0, 1, exclude_max=True)
shares = st.floats(0, 1)


def retry_delay(policy: RetryPolicy, number: int, draw: float = 0.0, error: BaseException | None = None) -> timedelta:
    decision = policy.decide(failures=number, error=error or ValueError(), draw=draw)
    assert isinstance(decision, Retry)
    return decision.delay


def seconds(policy: RetryPolicy) -> list[float]:
    return [delay.total_seconds() for delay in policy.delays()]


@given(backoff=growing, number=st.integers(1, 2**31 - 1))
def test_growing_backoff_never_shrinks_with_more_failures(backoff: Backoff, number: int) -> None:
    policy = RetryPolicy(max_attempts=2**32, backoff=backoff, jitter=0)
    assert retry_delay(policy, number) <= retry_delay(policy, number + 1)


@given(backoff=backoffs, number=failures, draw=draws, jitter=shares, cap=st.none() | durations)
def test_delay_stays_between_zero_and_the_cap_however_many_failures(
    backoff: Backoff, number: int, draw: float, jitter: float, cap: timedelta | None
) -> None:
    policy = RetryPolicy(max_attempts=2**32, backoff=backoff, jitter=jitter, max_delay=cap)
    assert ZERO <= retry_delay(policy, number, draw) <= min(cap or LONGEST_DELAY, LONGEST_DELAY) or cap == ZERO


@given(backoff=backoffs, number=failures, draw=draws, jitter=shares)
def test_jitter_takes_off_at_most_its_share(backoff: Backoff, number: int, draw: float, jitter: float) -> None:
    full = retry_delay(RetryPolicy(max_attempts=2**32, backoff=backoff, jitter=0), number)
    delay = retry_delay(RetryPolicy(max_attempts=2**32, backoff=backoff, jitter=jitter), number, draw)
    assert full * (1 - jitter) - timedelta(microseconds=1) <= delay <= full


def test_jitter_follows_the_draw_also_at_the_cap() -> None:
    policy = RetryPolicy(backoff=FixedBackoff(timedelta(hours=9)), max_delay=timedelta(seconds=100), jitter=0.5)
    assert [retry_delay(policy, 1, draw).total_seconds() for draw in (0.0, 0.5, 0.9)] == [100, 75, 55]


def test_jitter_of_zero_ignores_the_draw() -> None:
    policy = RetryPolicy(backoff=FixedBackoff(timedelta(seconds=7)), jitter=0)
    assert retry_delay(policy, 1, 0.99) == timedelta(seconds=7)


@given(limit=st.integers(1, 50), number=st.integers(1, 60), draw=draws)
def test_decide_is_exhausted_exactly_from_max_attempts_on(limit: int, number: int, draw: float) -> None:
    decision = RetryPolicy(max_attempts=limit).decide(failures=number, error=ValueError(), draw=draw)
    assert isinstance(decision, Exhausted) == (number >= limit)


@pytest.mark.parametrize("outcome", ["fail", "delete"])
def test_decide_exhausted_ends_as_on_exhausted_says(outcome: Any) -> None:
    decision = RetryPolicy(max_attempts=1, on_exhausted=outcome).decide(failures=1, error=ValueError(), draw=0)
    assert decision == Exhausted(outcome, "attempt failed with ValueError; the only attempt is used up")


def test_fixed_backoff_always_waits_the_same() -> None:
    assert seconds(RetryPolicy(max_attempts=4, backoff=FixedBackoff(delay=timedelta(seconds=9)))) == [9, 9, 9]


def test_linear_backoff_adds_a_step_each_time() -> None:
    assert seconds(RetryPolicy(max_attempts=4, backoff=LinearBackoff(step=timedelta(seconds=9)))) == [9, 18, 27]


def test_exponential_backoff_doubles_unless_told_otherwise() -> None:
    assert seconds(RetryPolicy(max_attempts=5, backoff=ExponentialBackoff(base=timedelta(seconds=3)))) == [3, 6, 12, 24]
    tripled = ExponentialBackoff(base=timedelta(seconds=3), factor=3)
    assert seconds(RetryPolicy(max_attempts=4, backoff=tripled)) == [3, 9, 27]


def test_polynomial_backoff_is_the_middle_of_hangfires_and_the_default() -> None:
    assert seconds(RetryPolicy()) == [(n - 1) ** 4 + 15 + 15 * n for n in range(1, 10)]
    assert RetryPolicy() == RetryPolicy(max_attempts=10, backoff=PolynomialBackoff(), jitter=0.2)


def test_delays_respect_the_cap_and_the_limit() -> None:
    policy = RetryPolicy(max_attempts=10**9, max_delay=timedelta(seconds=100))
    assert seconds(policy)[:5] == [30, 46, 76, 100, 100]
    assert len(policy.delays()) == 100
    assert len(policy.delays(limit=3)) == 3
    assert RetryPolicy(max_attempts=1).delays() == []


def test_custom_backoff_is_bounded_when_it_is_negative_or_overflows() -> None:
    class Wild:
        def after(self, failures: int) -> timedelta:
            return timedelta(days=-1) if failures == 1 else timedelta.max * 2

        def __str__(self) -> str:
            return "wild"

    policy = RetryPolicy(backoff=Wild())
    assert retry_delay(policy, 1) == ZERO
    assert retry_delay(policy, 2) == LONGEST_DELAY


def test_decide_says_why_in_words() -> None:
    policy = RetryPolicy(jitter=0)
    decision = policy.decide(failures=3, error=ValueError("secret"), draw=0)
    assert decision == Retry(timedelta(seconds=76), "attempt failed with ValueError; retry 3 of 9 in 1 min 16 s")
    assert policy.decide(failures=10, error=ValueError(), draw=0).reason == (
        "attempt failed with ValueError; all 10 attempts are used up"
    )


def test_give_up_ends_the_retries_as_failed_with_its_reason() -> None:
    decision = RetryPolicy(on_exhausted="delete").decide(failures=1, error=GiveUp("card stolen"), draw=0)
    assert decision == Exhausted("fail", "gave up: card stolen")


def test_give_up_with_a_reason_that_cannot_be_printed_still_decides() -> None:
    class Hostile:
        def __str__(self) -> str:
            raise RuntimeError

    reason: Any = Hostile()
    decision = RetryPolicy().decide(failures=1, error=GiveUp(reason), draw=0)
    assert decision == Exhausted("fail", "gave up: (a reason that cannot be shown)")
    assert len(RetryPolicy().decide(failures=1, error=GiveUp("x" * 10**6), draw=0).reason) < 500


def test_retry_after_names_its_own_delay_free_of_jitter_cap_and_classes() -> None:
    policy = RetryPolicy(max_delay=timedelta(seconds=1), jitter=1, retry_on=(OSError,), give_up_on=(RetryAfter,))
    error = RetryAfter(timedelta(minutes=2))
    decision = policy.decide(failures=1, error=error, draw=0.9)
    assert isinstance(decision, Retry)
    assert decision.delay == timedelta(minutes=2)
    assert decision.reason == "attempt failed with RetryAfter; asked to be retried: retry 1 of 9 in 2 min"


def test_retry_after_counts_as_a_failure_and_is_exhausted_too() -> None:
    decision = RetryPolicy(max_attempts=2).decide(failures=2, error=RetryAfter(ZERO), draw=0)
    assert isinstance(decision, Exhausted)


def test_retry_after_of_centuries_is_bounded() -> None:
    assert retry_delay(RetryPolicy(), 1, error=RetryAfter(timedelta.max)) == LONGEST_DELAY


@pytest.mark.parametrize(
    ("policy", "error", "retried"),
    [
        (RetryPolicy(), ValueError(), True),
        (RetryPolicy(), SystemExit(1), True),
        (RetryPolicy(), KeyboardInterrupt(), True),
        (RetryPolicy(retry_on=(OSError,)), ConnectionError(), True),
        (RetryPolicy(retry_on=(OSError,)), ValueError(), False),
        (RetryPolicy(retry_on=(OSError,)), SystemExit(1), False),
        (RetryPolicy(give_up_on=(ValueError,)), UnicodeError(), False),
        (RetryPolicy(give_up_on=(ValueError,)), OSError(), True),
        (RetryPolicy(retry_on=(OSError,), give_up_on=(ConnectionError,)), ConnectionResetError(), False),
        (RetryPolicy(give_up_on=(SystemExit,)), SystemExit(1), False),
        (RetryPolicy(retry_on=()), ValueError(), False),
    ],
)
def test_decide_retries_by_class(policy: RetryPolicy, error: BaseException, retried: bool) -> None:
    decision = dataclasses.replace(policy, on_exhausted="delete").decide(failures=1, error=error, draw=0)
    assert isinstance(decision, Retry if retried else Exhausted)
    if isinstance(decision, Exhausted):  # an error that is not retried is shown, not deleted
        assert decision.outcome == "fail"
        assert type(error).__name__ in decision.reason


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"max_attempts": 0}, "max_attempts"),
        ({"max_attempts": True}, "max_attempts"),
        ({"max_attempts": 2.0}, "max_attempts"),
        ({"backoff": PolynomialBackoff}, "backoff"),
        ({"backoff": timedelta(1)}, "backoff"),
        ({"max_delay": 30}, "max_delay"),
        ({"max_delay": timedelta(-1)}, "max_delay"),
        ({"jitter": 1.1}, "jitter"),
        ({"jitter": -0.1}, "jitter"),
        ({"jitter": float("nan")}, "jitter"),
        ({"jitter": "0.1"}, "jitter"),
        ({"retry_on": ValueError}, "retry_on"),
        ({"retry_on": [ValueError]}, "retry_on"),
        ({"give_up_on": (ValueError(),)}, "give_up_on"),
        ({"give_up_on": ("ValueError",)}, "give_up_on"),
        ({"on_exhausted": "explode"}, "on_exhausted"),
    ],
)
def test_policy_refuses_wrong_options_and_says_how_to_mend_them(options: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidJob, match=f"RetryPolicy: {field} must be .*") as caught:
        RetryPolicy(**options)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: FixedBackoff(5), "delay"),  # type: ignore[arg-type]
        (lambda: FixedBackoff(timedelta(-1)), "delay"),
        (lambda: LinearBackoff(timedelta(-1)), "step"),
        (lambda: ExponentialBackoff(timedelta(-1)), "base"),
        (lambda: ExponentialBackoff(timedelta(1), factor=0.5), "factor"),
        (lambda: ExponentialBackoff(timedelta(1), factor=float("inf")), "factor"),
        (lambda: ExponentialBackoff(timedelta(1), factor=float("nan")), "factor"),
    ],
)
def test_backoff_refuses_wrong_options(make: Any, field: str) -> None:
    with pytest.raises(InvalidJob) as caught:
        make()
    assert caught.value.field == field


def test_policy_is_frozen_and_hashable() -> None:
    assert hash(RetryPolicy()) == hash(RetryPolicy())
    with pytest.raises(dataclasses.FrozenInstanceError):
        RetryPolicy().max_attempts = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (RetryPolicy(), "10 attempts, backoff polynomial, up to 20 % less at random, then failed"),
        (RetryPolicy(max_attempts=1, on_exhausted="delete"), "1 attempt, no retry, then deleted"),
        (
            RetryPolicy(
                max_attempts=3,
                backoff=ExponentialBackoff(timedelta(seconds=1)),
                max_delay=timedelta(hours=1),
                jitter=0,
                retry_on=(OSError, ValueError),
                give_up_on=(ConnectionError,),
            ),
            (
                "3 attempts, backoff exponential, from 1 s, times 2, at most 1 h, only on OSError or ValueError,"
                " never on ConnectionError, then failed"
            ),
        ),
    ],
)
def test_describe_puts_the_policy_in_words(policy: RetryPolicy, words: str) -> None:
    assert policy.describe() == words


@pytest.mark.parametrize(
    ("duration", "words"),
    [
        (ZERO, "0 s"),
        (timedelta(milliseconds=500), "0.5 s"),
        (timedelta(seconds=94), "1 min 34 s"),
        (timedelta(seconds=59.7), "1 min"),
        (timedelta(hours=2), "2 h"),
        (timedelta(hours=2, seconds=30), "2 h"),
        (timedelta(days=365), "365 d"),
        (timedelta(days=1, hours=2, minutes=3), "1 d 2 h"),
    ],
)
def test_in_words_names_the_two_largest_units(duration: timedelta, words: str) -> None:
    assert in_words(duration) == words
