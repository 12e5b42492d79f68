"""A stop is obeyed within the grace, always: also by a process that hangs in a database that says nothing."""

from __future__ import annotations

import atexit
import logging
import os
import signal
from collections.abc import Callable

LAST_SECONDS = 0.3  # for what is done then


def end_after(seconds: float, last: Callable[[], None]) -> None:
    """End this process, with 0, if it still lives in so many ``seconds``; after ``last``, a few quick things.

    For the main thread, which gives SIGALRM away for it. Whatever that thread waits for, it is called; only a call into
    C that hears no signals holds it up, such as SQLite's wait for a lock.
    """

    def on_alarm(*_: object) -> None:
        signal.signal(signal.SIGALRM, lambda *_: os._exit(0))  # should that hang, too
        signal.setitimer(signal.ITIMER_REAL, LAST_SECONDS)
        try:
            last()
            logging.shutdown()
        finally:
            os._exit(0)

    signal.signal(signal.SIGALRM, on_alarm)
    # Python lays its handlers down in the last steps of its end, where the alarm would kill who has done all.
    atexit.register(has_ended)
    signal.setitimer(signal.ITIMER_REAL, seconds)


def has_ended() -> None:
    """The process has stopped by itself."""
    signal.setitimer(signal.ITIMER_REAL, 0)
