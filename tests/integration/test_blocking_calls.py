"""What is told of a call that blocks an event loop has no secrets, no matter how the code came by its names."""

from __future__ import annotations

import logging
import sys
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any

import pytest

from handlers import job_scheduler
from handlers.models import BlockingCall
from handlers.rq_transport.blocking import BlockingCalls, HeldUp
from tests.app.jobs import Pay
from tests.running import NotingTransport, claim

pytestmark = pytest.mark.django_db(transaction=True)


def frame_in(name: str) -> FrameType:
    """A frame of code that was made from text, in a thread: few others are above it, whatever runs the tests."""
    place: dict[str, Any] = {"here": sys._getframe}
    exec(compile("def f():\n    return here()\n", name, "exec"), place)  # noqa: S102 - that is the point
    with ThreadPoolExecutor(1) as thread:
        found: FrameType = thread.submit(place["f"]).result()
    return found


def test_blocking_call_is_told_without_secrets_and_in_bounds(
    noting: NotingTransport, caplog: pytest.LogCaptureFixture
) -> None:
    job_id = int(job_scheduler.enqueue(Pay(1, "t0psecret")))
    (claimed,) = claim(job_id)
    frame = frame_in("<made for t0psecret \ud800>" + "x" * 50_000)
    with caplog.at_level(logging.WARNING):
        BlockingCalls("w").tell(HeldUp(claimed, 1.5, 3, frame))
    stored = BlockingCall.objects.get()
    assert (stored.job_type, stored.job_id, stored.others) == ("app.Pay", job_id, 3)
    assert "<made for" in stored.stack
    assert len(stored.stack) <= 8_000
    assert "t0psecret" not in stored.stack
    assert "t0psecret" not in caplog.text
