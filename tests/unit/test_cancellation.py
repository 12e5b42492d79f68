"""CancellationToken: what a handler sees of being asked to stop."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from types import FrameType

import pytest

from handlers import CancellationToken, JobCancelled
from handlers.cancellation import CancelReason

LONG = 30.0  # far beyond what a passing test waits


def make(probe: Callable[[], CancelReason | None] | None = None) -> CancellationToken:
    return CancellationToken(probe, job_id=17, attempt=2)


def test_new_token_is_not_cancelled_and_knows_its_run() -> None:
    token = make()
    assert (token.job_id, token.attempt, token.is_cancelled, token.reason) == (17, 2, False, None)
    token.raise_if_cancelled()


@pytest.mark.parametrize("reason", list(CancelReason))
def test_cancel_sets_the_token_with_its_reason(reason: CancelReason) -> None:
    token = make()
    token.cancel(reason)
    assert token.is_cancelled
    assert token.reason is reason
    with pytest.raises(JobCancelled, match=f"job 17 was asked to stop: {reason.value.replace('_', ' ')}"):
        token.raise_if_cancelled()


def test_cancel_again_keeps_the_first_reason() -> None:
    token = make()
    token.cancel(CancelReason.STOPPING)
    token.cancel(CancelReason.TIMEOUT)
    assert token.reason is CancelReason.STOPPING


def test_probe_is_asked_until_it_names_a_reason() -> None:
    answers = iter([None, None, CancelReason.DELETED])
    token = make(lambda: next(answers))  # would raise StopIteration if asked once more
    assert [token.is_cancelled for _ in range(4)] == [False, False, True, True]
    assert token.reason is CancelReason.DELETED


def test_wait_returns_false_after_its_timeout() -> None:
    started = time.monotonic()
    assert make().wait(0.02) is False
    assert make(lambda: None).wait(timedelta(milliseconds=20)) is False
    assert time.monotonic() - started >= 0.04


@pytest.mark.parametrize("timeout", [0, -1, timedelta(0)])
def test_wait_without_time_only_looks(timeout: float | timedelta) -> None:
    token = make()
    assert token.wait(timeout) is False
    token.cancel(CancelReason.DELETED)
    assert token.wait(timeout) is True


def test_wait_notices_the_probe_without_being_woken() -> None:
    asked = []

    def probe() -> CancelReason | None:
        asked.append(time.monotonic())
        return CancelReason.LEASE_LOST if len(asked) == 4 else None

    assert make(probe).wait(LONG) is True
    assert asked[-1] - asked[0] < LONG / 2


def test_cancel_wakes_every_thread_that_waits() -> None:
    token = make()
    results: list[bool] = []
    threads = [threading.Thread(target=lambda: results.append(token.wait(LONG))) for _ in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(0.05)  # most likely they wait by now; if not, the test proves less, but does not fail
    token.cancel(CancelReason.DELETED)
    cancelled_at = time.monotonic()
    for thread in threads:
        thread.join()
    assert results == [True, True, True]
    assert time.monotonic() - cancelled_at < LONG / 2  # woken, and not by their own timeout
    assert token.wait() is True  # and the next one does not wait at all


def test_cancel_in_a_signal_handler_wakes_the_thread_it_interrupts() -> None:
    token = make()

    def stop(_number: int, _frame: FrameType | None) -> None:
        token.cancel(CancelReason.STOPPING)

    before = signal.signal(signal.SIGALRM, stop)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        assert token.wait(LONG) is True
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert token.reason is CancelReason.STOPPING


def test_cancelled_returns_the_reason_to_an_async_handler() -> None:
    token = make()

    async def handler() -> CancelReason:
        threading.Timer(0.02, token.cancel, [CancelReason.TIMEOUT]).start()
        return await asyncio.wait_for(token.cancelled(), LONG)

    assert asyncio.run(handler()) is CancelReason.TIMEOUT


def test_cancelled_keeps_waiting_while_nobody_asked() -> None:
    async def handler() -> None:
        await asyncio.wait_for(make().cancelled(), 0.02)

    with pytest.raises(TimeoutError):
        asyncio.run(handler())
