"""Telling receivers of moves: after the commit, in batches, by one thread of each process.

What receivers cannot take fast enough is dropped and counted, and a line in the log says so: a queue without a bound
would take the process's memory for what is only news.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from handlers import tidying
from handlers.conf import jobs_settings
from handlers.signals import JobMoved, jobs_moved
from handlers.troubles import EVERY_RECEIVER, RECEIVER, Went, told, troubles

logger = logging.getLogger(__name__)

MOST_WAITING = 10_000  # moves that receivers have not yet taken
MOST_TOLD = 1_000  # moves in one call
IDLE_SECONDS = 5.0  # after which the thread gives its database connections back
END_SECONDS = 2.0  # that what waits is given as the process ends
SAID_SECONDS = 60.0  # between two lines about what was dropped


def tell(connection: BaseDatabaseWrapper, moves: Sequence[JobMoved]) -> None:
    """Tell of ``moves`` once they are committed. Where the caller commits by hand nobody knows when: nothing is told.

    Callers ask ``jobs_moved.receivers`` first: without any there is nothing to do.
    """
    if not moves:
        return
    if connection.in_atomic_block:
        connection.on_commit(_News(moves), robust=True)
    elif connection.get_autocommit():
        delivery.take(moves)


def tell_now(connection: BaseDatabaseWrapper) -> None:
    """Tell of what a transaction of the caller's holds back: for tests, which never commit theirs."""
    for hook in list(connection.run_on_commit):
        if isinstance(hook[1], _News):
            hook[1]()


@contextmanager
def at_once() -> Iterator[None]:
    """Receivers are called in the thread that made the moves, before it goes on: for tests."""
    delivery.synchronous += 1
    try:
        yield
    finally:
        delivery.synchronous -= 1


class _News:
    """The hook of one transaction. Told once: a test case's hooks stay listed, and may be run once more."""

    def __init__(self, moves: Sequence[JobMoved]) -> None:
        self.__qualname__ = "tell"  # Django names a robust hook that raised
        self._moves = moves

    def __call__(self) -> None:
        moves, self._moves = self._moves, ()
        if moves:
            delivery.take(moves)


class Delivery:
    """One process's news."""

    def __init__(self) -> None:
        self.synchronous = 0
        self.dropped = 0  # moves that nobody was told of
        self._begin_anew()
        os.register_at_fork(after_in_child=self._begin_anew)
        atexit.register(self.end)

    def _begin_anew(self) -> None:
        """A fork has no thread of its parent's, maybe a lock that nobody opens; and the parent tells its own news."""
        self._lock = threading.Lock()
        self._has_any = threading.Event()
        self._is_quiet = threading.Event()
        self._waiting: deque[JobMoved] = deque()
        self._thread: threading.Thread | None = None
        self._said_at, self._unsaid = 0.0, 0

    def take(self, moves: Sequence[JobMoved]) -> None:
        """Have receivers told of these. Never raises, and waits for nothing but in tests."""
        if self.synchronous or jobs_settings().eager:
            _send(moves)
            return
        with self._lock:
            room = MOST_WAITING - len(self._waiting)
            self._waiting.extend(moves[:room])
            self._is_quiet.clear()
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="jobs_moved", daemon=True)
                with suppress(RuntimeError):  # there is no room for one now: it is tried again with the next moves
                    thread.start()
                    self._thread = thread
        self._has_any.set()
        if len(moves) > room:
            self._drop(len(moves) - room)  # without the lock: a logger may send a mail, which is a job here

    def wait(self, seconds: float) -> bool:
        """Wait so long until receivers have been told of all; whether they have."""
        return not self._waiting if self._thread is None else self._is_quiet.wait(seconds)

    def end(self) -> None:
        """The process ends: what still waits is given a moment."""
        if not self.wait(END_SECONDS):
            with self._lock:
                waiting = len(self._waiting)
                self.dropped += waiting
                self._waiting.clear()
            logger.warning("%d moves of jobs were not told to receivers of jobs_moved: the process ends", waiting)
            troubles.note(EVERY_RECEIVER, RECEIVER, Went.DROPPED, f"{waiting:,}")

    def _drop(self, count: int) -> None:
        self.dropped += count
        self._unsaid += count
        if (now := time.monotonic()) >= self._said_at:
            count, self._said_at, self._unsaid = self._unsaid, now + SAID_SECONDS, 0  # first: see ``take``
            logger.warning(
                "receivers of jobs_moved are too slow: %d moves of jobs were not told to them (at most %d wait)",
                count, MOST_WAITING,
            )  # fmt: skip
            troubles.note(EVERY_RECEIVER, RECEIVER, Went.DROPPED, f"{count:,}")

    def _run(self) -> None:
        while True:
            if not self._has_any.wait(IDLE_SECONDS):
                connections.close_all()
                self._has_any.wait()
            self._has_any.clear()
            while moves := self._next():
                tidying.close_if_old()
                _send(moves)
                tidying.tidy()  # else what a receiver left open or broken would be in the way of all that follows

    def _next(self) -> list[JobMoved]:
        with self._lock:
            moves = [self._waiting.popleft() for _ in range(min(len(self._waiting), MOST_TOLD))]
            if not moves:
                self._is_quiet.set()
        return moves


def _send(moves: Sequence[JobMoved]) -> None:
    try:
        # Not the error's text: whatever the receiver has read may be in it.
        for receiver, answer in jobs_moved.send_robust(JobMoved, moves=tuple(moves)):  # which logs what one raises
            if isinstance(answer, Exception):
                troubles.note(_name(receiver), RECEIVER, Went.RAISED, told(answer))
    except BaseException as error:  # noqa: BLE001 - SystemExit and the like, which it lets through
        logger.error("a receiver of jobs_moved raised %s", type(error).__name__)
        troubles.note(EVERY_RECEIVER, RECEIVER, Went.RAISED, told(error))


def _name(receiver: Any) -> str:
    named = receiver if hasattr(receiver, "__qualname__") else type(receiver)
    return f"{named.__module__}.{named.__qualname__}"


delivery = Delivery()
