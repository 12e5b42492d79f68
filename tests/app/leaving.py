"""Jobs that change what is around them and leave it so, and one that notes what it finds."""

from __future__ import annotations

import asyncio
import decimal
import gc
import io
import json
import locale
import os
import signal
import socket
import sys
import time
import warnings
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.db import connection
from django.utils import timezone, translation

from handlers import CancellationToken, Job, handles, job_scheduler
from tests.app.coroutines import ACTS
from tests.app.jobs import NO_RETRY, Note, note
from tests.app.many import wait_to_go

mood: ContextVar[str] = ContextVar("mood", default="none")


def _ignored(*_: object) -> None:
    """A signal handler."""


class OtherPolicy(asyncio.DefaultEventLoopPolicy):
    """An event loop policy of the app's own."""


def _other_decimals() -> None:
    decimal.setcontext(decimal.Context(prec=3))


def _traps() -> None:
    decimal.getcontext().traps[decimal.Inexact] = True


def _precision() -> None:
    decimal.getcontext().prec = 4


def _rounding() -> None:
    decimal.getcontext().rounding = decimal.ROUND_DOWN


def _zone() -> None:
    os.environ["TZ"] = "Asia/Tokyo"
    time.tzset()


def _alarm() -> None:
    signal.signal(signal.SIGALRM, _ignored)
    signal.alarm(600)


def _print() -> None:
    sys.stdout = io.StringIO()


def _loop() -> None:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.close()


def _watch_signals() -> None:
    async def watch() -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, _ignored)

    asyncio.run(watch())


WAYS: dict[str, Callable[[], object]] = {
    "language": lambda: translation.activate("de"),
    "time zone": lambda: timezone.activate("Asia/Tokyo"),
    "zone of the process": _zone,
    "folder": lambda: os.chdir("/"),
    "socket timeout": lambda: socket.setdefaulttimeout(0.001),
    "precision": _precision,
    "rounding": _rounding,
    "traps": _traps,
    "decimals": _other_decimals,
    "SIGTERM": lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN),
    "SIGINT": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    "SIGUSR1": lambda: signal.signal(signal.SIGUSR1, _ignored),
    "alarm": _alarm,
    "signals of a loop": _watch_signals,
    "policy": lambda: asyncio.set_event_loop_policy(OtherPolicy()),
    "loop": _loop,
    "context variable": lambda: mood.set("bad"),
    "output": _print,
    "collector": gc.disable,
}


def _exponent() -> None:
    decimal.getcontext().Emax = 9


# What is put back between two batches.
RARE: dict[str, Callable[[], object]] = {
    "umask": lambda: os.umask(0),
    "SIGCHLD": lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN),
    "locale": lambda: locale.setlocale(locale.LC_ALL, "C.UTF-8"),
    "locale of times": lambda: locale.setlocale(locale.LC_TIME, "C.UTF-8"),
    "recursion": lambda: sys.setrecursionlimit(5_000),
    "SIGWINCH": lambda: signal.signal(signal.SIGWINCH, _ignored),
    "mask of signals": lambda: signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1}),
    "alarm alone": lambda: signal.alarm(600),
    "locale of numbers": lambda: locale.setlocale(locale.LC_NUMERIC, "C.UTF-8"),
    "exponent": _exponent,
}


@dataclass(frozen=True)
class Disturb(Job):
    """Change something."""

    way: str
    fails: bool = False


@handles(Disturb, retry=NO_RETRY)
def disturb(job: Disturb) -> None:
    """Do it, and leave it so."""
    (WAYS | RARE)[job.way]()
    if job.fails:
        raise ValueError(job.way)


@dataclass(frozen=True)
class DisturbLater(Job):
    """Change something in a coroutine."""

    way: str


@handles(DisturbLater, retry=NO_RETRY)
async def disturb_later(job: DisturbLater) -> None:
    """Do it, and leave it so."""
    (WAYS | RARE)[job.way]()


@dataclass(frozen=True)
class Found(Job):
    """Note what is there."""

    after: str


@handles(Found, retry=NO_RETRY)
def found(job: Found) -> None:
    """As a line of JSON."""
    note(json.dumps([job.after, found_now()]))


def found_now() -> dict[str, Any]:
    """What the ways above change."""
    os.umask(mask := os.umask(0o077))
    decimals = decimal.getcontext()
    return {
        "language": translation.get_language(),
        "time zone": timezone.get_current_timezone_name(),
        "zone of the process": [*time.tzname, os.environ.get("TZ")],
        "folder": str(Path.cwd()),
        "umask": mask,
        "socket timeout": socket.getdefaulttimeout(),
        "decimals": [decimals.prec, decimals.rounding, decimals.traps[decimal.Inexact], decimals.Emax],
        "signals": [str(signal.getsignal(number)) for number in signal.valid_signals()],
        "mask": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "alarm": signal.getitimer(signal.ITIMER_REAL)[0] > 0,
        "policy": type(asyncio.get_event_loop_policy()).__name__,
        "locale": locale.setlocale(locale.LC_ALL),
        "context variable": mood.get(),
        "output": type(sys.stdout).__name__,
        "collector": gc.isenabled(),
        "recursion": sys.getrecursionlimit(),
    }


@dataclass(frozen=True)
class Alarm(Job):
    """Have a signal sent that ends a process which does not expect it."""


@handles(Alarm, retry=NO_RETRY)
def alarm(job: Alarm) -> None:
    """In a second."""
    signal.alarm(1)


@dataclass(frozen=True)
class OldLoop(Job):
    """Run a coroutine as it was done once."""


@handles(OldLoop, retry=NO_RETRY)
def old_loop(job: OldLoop) -> None:
    """In the thread's event loop, which is made where there is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        loop = asyncio.get_event_loop()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    note("loop")


@dataclass(frozen=True)
class Litter(Job):
    """Leave the thread's connection and what is around in a bad way, once the test says go."""

    way: str
    text: str


@handles(Litter, retry=NO_RETRY)
def leave(job: Litter) -> None:
    """Wait, so that each of several has a thread of its own."""
    _gather(job.text)
    translation.activate("de")
    timezone.activate("Asia/Tokyo")
    mood.set("bad")
    _precision()
    ACTS[job.way]()


@dataclass(frozen=True)
class Look(Job):
    """Note what is there, and enqueue a job, which an open transaction would swallow."""

    text: str


@handles(Look, retry=NO_RETRY)
def look(job: Look, token: CancellationToken) -> None:
    """As a line of JSON."""
    _gather(job.text)
    found = [
        translation.get_language(), timezone.get_current_timezone_name(), mood.get(), decimal.getcontext().prec,
        connection.in_atomic_block, connection.get_autocommit(),
    ]  # fmt: skip
    note(f"found {json.dumps(found)}")
    job_scheduler.enqueue(Note(f"child of {token.job_id}"))


def _gather(text: str) -> None:
    note(f"start {text}")
    wait_to_go(text)
