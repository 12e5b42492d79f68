"""What a handler finds around it is the same for every job, whatever the jobs before it have left behind.

What belongs to a context (language, time zone, decimals, context variables) ends with the handler's own. What a process
has only once is put back, where that costs little. docs/workers.md says which, and what stays.
"""

from __future__ import annotations

import asyncio
import gc
import locale
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from decimal import Context, getcontext
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

T = TypeVar("T")

# What is asked after every job; the others between two batches.
SIGNALS = signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM, signal.SIGUSR1, signal.SIGUSR2
NUMBERS = tuple(map(int, SIGNALS))
getsignal: Callable[[int], object] = signal._signal.getsignal  # type: ignore[attr-defined]  # makes no enumerations
# The public ones warn in later Pythons, which will do without policies.
events: Any = asyncio.events
get_policy = getattr(events, "_get_event_loop_policy", None) or asyncio.get_event_loop_policy
set_policy = getattr(events, "_set_event_loop_policy", None) or asyncio.set_event_loop_policy


def apart(function: Callable[..., T], *args: Any) -> T:
    """What ``function`` returns, called in a context of its own, a copy of this one: its changes end with it."""
    return copy_context().run(function, *args)


class Surroundings:
    """What this process is like now, and after each ``with`` again. For the main thread; costs about a microsecond.

    ``is_last``: whether no other job follows. Then nothing is put back, because a process that is about to end sets
    signals and a timer of its own.
    """

    def __init__(self, is_last: Callable[[], bool]) -> None:
        self._is_last, self._pid = is_last, os.getpid()
        self._folder, self._path = _here(), Path.cwd()
        _watch()
        self._umask = os.umask(0o077)
        os.umask(self._umask)
        self._policy = get_policy()
        self._loops: Any = getattr(self._policy, "_local", _Nothing())  # of each thread: the event loop that was set
        self._locale, self._zone = locale.setlocale(locale.LC_ALL), os.environ.get("TZ")
        self._handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
        self._numbers = [*map(int, self._handlers)]
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        self._streams = sys.stdout, sys.stderr
        self._timeout, self._depth, self._collects = socket.getdefaulttimeout(), sys.getrecursionlimit(), gc.isenabled()
        self._decimals = getcontext().copy()  # every context's copy shares the one that it is of
        self._seen, self._seen_closely = _look(self._decimals), self._look_closely(self._decimals)

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if _look(getcontext()) != self._seen or self._loops.__dict__ or not _still:
            self._restore()

    def between_batches(self) -> None:
        """Look closely, which would cost too much after every job. No batch is as long as the alarm that one leaves."""
        if self._is_last():
            return
        signal.alarm(0)
        os.umask(self._umask)
        self._go_back()  # from where code in C has gone
        if self._look_closely(getcontext()) != self._seen_closely:
            self._restore()

    def _look_closely(self, decimals: Context) -> tuple[object, ...]:
        return (
            decimals.Emin, decimals.Emax, decimals.clamp, decimals.capitals, locale.setlocale(locale.LC_ALL),
            sys.getrecursionlimit(), signal.pthread_sigmask(signal.SIG_BLOCK, ()),
            *map(getsignal, self._numbers),
        )  # fmt: skip

    def _go_back(self) -> None:
        try:
            os.fchdir(self._folder)
        except OSError:  # the handler closed all the files that it could
            with suppress(OSError):  # the folder is gone, too
                os.chdir(self._path)
                self._folder = _here()
        _still["os.chdir"] = None

    def _restore(self) -> None:
        if self._is_last():
            return
        if os.getpid() == self._pid:  # the signals of a fork are its own
            self._restore_signals()
        self._go_back()
        self._restore_zone()
        self._restore_loops()
        _restore_decimals(self._decimals)
        locale.setlocale(locale.LC_ALL, self._locale)
        socket.setdefaulttimeout(self._timeout)
        sys.stdout, sys.stderr = self._streams
        sys.setrecursionlimit(self._depth)
        os.umask(self._umask)
        (gc.enable if self._collects else gc.disable)()

    def _restore_zone(self) -> None:
        if self._zone is None:
            os.environ.pop("TZ", None)
        else:
            os.environ["TZ"] = self._zone
        time.tzset()

    def _restore_loops(self) -> None:
        if events._event_loop_policy is not self._policy:
            set_policy(self._policy)
        loop = getattr(self._loops, "_loop", None)
        if loop is None or loop.is_closed():  # one that can be used stays, with all that was made for it
            self._loops.__dict__.clear()

    def _restore_signals(self) -> None:
        signal.alarm(0)  # first: its handler may raise
        for number, handler in self._handlers.items():
            if handler is not None and handler != signal.getsignal(number):  # None: code in C had set it
                signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        signal.set_wakeup_fd(-1)


class _Nothing:
    """In place of what an event loop policy of another make does not have."""


# Empty once the process has changed its folder. To ask which it is, or to set it, is a system call, a third of all that
# is done after a job; and a method in C is what costs the other audited events least.
_still: dict[str, None] = {}


@cache
def _watch() -> None:
    _still["os.chdir"] = None
    sys.addaudithook(_still.pop)


def _look(decimals: Context) -> tuple[object, ...]:
    """What is asked after every job: each of these takes some 10 to 100 ns."""
    return (
        socket.getdefaulttimeout(), sys.stdout, sys.stderr, gc.isenabled(),
        time.tzname, events._event_loop_policy,
        decimals.prec, decimals.rounding, decimals.traps,
        *map(getsignal, NUMBERS),
    )  # fmt: skip


def _restore_decimals(before: Context) -> None:
    now = getcontext()
    for name in ("prec", "rounding", "Emin", "Emax", "capitals", "clamp"):
        setattr(now, name, getattr(before, name))
    now.traps.update(before.traps)
    now.clear_flags()


def _here() -> int:
    return os.open(".", getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY)  # O_PATH: even where it may not be read
