"""A hard timeout where no supervisor kills: an alarm ends what does not stop, in the process's main thread."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from handlers import execution
from handlers.cancellation import CancellationToken, CancelReason
from handlers.conf import jobs_settings
from handlers.lifecycle import Claim


@contextmanager
def hard_timeout(claim: Claim, token: CancellationToken) -> Iterator[None]:
    """Ask at the timeout; raise JobTimeout inside the handler when the grace has passed too. Needs the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    was_asked = False

    def on_alarm(number: int, frame: FrameType | None) -> None:
        nonlocal was_asked
        if was_asked:
            raise execution.timed_out(claim)
        was_asked = True
        token.cancel(
            CancelReason.TIMEOUT
        )  # not looked at before: that may ask the database, and so may what this broke into
        signal.setitimer(signal.ITIMER_REAL, jobs_settings().timeout_grace_seconds)

    before = signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, execution.timeout_of(claim))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
