"""Ending what a middleware does too long: by an exception that is thrown into its thread.

Python code gets it at its next step. What waits in C (a sleep, a socket, a lock) gets it in a worker's main thread at
once, by a signal; in other threads only when that returns, and a wait without end falls to the job's timeout.

The exception must never come to the handler. So a part is ended under the lock under which it is thrown, and takes back
what was thrown and has not come yet.
"""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time
from contextlib import suppress

from handlers import tidying
from handlers.conf import jobs_settings

SIGNAL = signal.SIGURG  # which does nothing where nobody has set a handler for it
SHARE = 5  # looks within the shortest time
LONGEST_LOOK, SHORTEST_LOOK = 0.5, 0.01  # seconds
QUIET_LOOKS = 10  # after which the thread waits until there is something to look at


class TooLong(BaseException):
    """A middleware's time is up. No Exception, so that code which goes on after any error does not go on after it."""


class Part:
    """What one middleware does before the handler, or after it, from now on for ``seconds``."""

    __slots__ = ("_open", "_thread", "began", "is_thrown", "seconds", "until")

    def __init__(self, seconds: float) -> None:
        self._thread, self._open = threading.get_ident(), tidying.with_something_open()
        self.seconds, self.began, self.is_thrown = seconds, time.monotonic(), False
        self.until = self.began + seconds
        _watch.add(self)

    def end(self) -> float:
        """How long it took. From here on nothing is thrown for it. Raises TooLong only once, in place of an end."""
        while True:
            try:
                with _watch.lock:
                    _watch.parts.discard(self)
                    if self.is_thrown:
                        _set_exception(self._thread, None)
                if self.is_thrown and self._thread == threading.get_ident():
                    tidying.drop_what_is_open(besides=self._open)  # it may have struck in a commit
                return time.monotonic() - self.began
            except TooLong:
                continue

    def throw(self, now: float) -> None:
        """Its time is up. The caller holds the lock. Thrown again, each time that as much has passed, until it ends."""
        self.is_thrown, self.until = True, now + self.seconds
        _set_exception(self._thread, TooLong)
        if self._thread == threading.main_thread().ident and signal.getsignal(SIGNAL) is _wake:
            signal.pthread_kill(self._thread, SIGNAL)


def prepare() -> None:
    """For a worker's main thread, where there is middleware: let what waits there be woken."""
    if jobs_settings().middleware and signal.getsignal(SIGNAL) is signal.SIG_DFL:
        signal.signal(SIGNAL, _wake)


def _wake(*_: object) -> None:
    """Nothing: as it begins, Python raises what was thrown."""


def _set_exception(thread: int, kind: type[BaseException] | None) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), kind and ctypes.py_object(kind))


class _Watch:
    """The parts that go on in this process, and the thread that looks at them."""

    def __init__(self) -> None:
        self._begin_anew()
        os.register_at_fork(after_in_child=self._begin_anew)

    def _begin_anew(self) -> None:
        self.lock = threading.Lock()
        self.parts: set[Part] = set()
        self._has_any = threading.Event()
        self._thread: threading.Thread | None = None
        self._look_seconds = LONGEST_LOOK

    def add(self, part: Part) -> None:
        with self.lock:
            self.parts.add(part)
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="middleware", daemon=True)
                with suppress(RuntimeError):  # there is no room for one now: meanwhile nothing is broken off
                    thread.start()
                    self._thread = thread
        self._look_seconds = min(max(part.seconds / SHARE, SHORTEST_LOOK), LONGEST_LOOK)
        self._has_any.set()

    def _run(self) -> None:
        quiet = 0
        while True:
            time.sleep(self._look_seconds)
            with self.lock:
                now = time.monotonic()
                for part in self.parts:
                    if now >= part.until:
                        part.throw(now)
                quiet = 0 if self.parts else quiet + 1
                if quiet > QUIET_LOOKS:
                    self._has_any.clear()
            self._has_any.wait()


_watch = _Watch()
