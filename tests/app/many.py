"""Jobs that are in each other's company for as long as a test likes."""

from __future__ import annotations

import asyncio
import decimal
import json
import logging
import os
import signal
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.utils import timezone, translation

from handlers import CancellationToken, Job, handles, job_scheduler
from tests.app import chunks  # noqa: F401 - declares its types
from tests.app.jobs import NO_RETRY, QUICK, Note, note

PAUSE = 0.02  # seconds between two looks
logger = logging.getLogger("shop")


def may_go(name: str = "go") -> bool:
    """Whether the test has let them go: by a file beside the notes."""
    return Path(f"{os.environ['TEST_NOTES']}.{name}").exists()


def wait_to_go(name: str = "go") -> None:
    """Until it has."""
    while not may_go(name):
        time.sleep(PAUSE)


@dataclass(frozen=True)
class Stay(Job):
    """Wait until the test says go; if it is to ``swallow`` cancellations, until it says this text."""

    text: str
    swallow: bool = False


@handles(Stay, retry=QUICK)
async def stay(job: Stay, token: CancellationToken) -> None:
    """Say what happens."""
    note(f"start {job.text} {os.getpid()}")
    while not may_go(job.text if job.swallow else "go"):
        try:
            await asyncio.sleep(PAUSE)
        except asyncio.CancelledError:
            note(f"cancelled {job.text} {token.reason}")
            if not job.swallow:
                raise
    note(f"end {job.text}")


@dataclass(frozen=True)
class StayBriefly(Stay):
    """The same, with a short timeout."""


handles(StayBriefly, retry=NO_RETRY, timeout=timedelta(seconds=0.5))(stay)


@dataclass(frozen=True)
class Hold(Job):
    """The same in a thread."""

    text: str
    swallow: bool = False


@handles(Hold, retry=QUICK)
def hold(job: Hold, token: CancellationToken) -> None:
    """Say what happens."""
    note(f"start {job.text} {os.getpid()}")
    while not may_go(job.text if job.swallow else "go"):
        if token.wait(PAUSE):
            note(f"cancelled {job.text} {token.reason}")
            if not job.swallow:
                token.raise_if_cancelled()
            time.sleep(PAUSE)
    note(f"end {job.text}")


@dataclass(frozen=True)
class HoldBriefly(Hold):
    """The same, with a short timeout."""


handles(HoldBriefly, retry=NO_RETRY, timeout=timedelta(seconds=0.5))(hold)


@dataclass(frozen=True)
class BlockLong(Job):
    """Block the event loop beyond the timeout."""


@handles(BlockLong, retry=NO_RETRY, timeout=timedelta(seconds=0.5))
async def block(job: BlockLong) -> None:
    """As nobody should."""
    note("start block")
    time.sleep(60)


@dataclass(frozen=True)
class Perish(Job):
    """Kill the own process in company, and alone."""


@handles(Perish)
async def perish(job: Perish, token: CancellationToken) -> None:
    """Once the others are there."""
    note("perish")
    while token.attempt == 1 and not may_go("perish"):
        await asyncio.sleep(PAUSE)
    os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class PerishOnThread(Job):
    """The same in a thread."""


@handles(PerishOnThread)
def perish_on_thread(job: PerishOnThread, token: CancellationToken) -> None:
    """Once the others are there."""
    note("perish")
    while token.attempt == 1 and not may_go("perish"):
        time.sleep(PAUSE)
    os._exit(0)


@dataclass(frozen=True)
class Settle(Job):
    """Make things its own, and tell what they are when the others have done the same."""

    language: str
    zone: str
    precision: int


def _arrange(job: Settle) -> None:
    translation.activate(job.language)
    timezone.activate(job.zone)
    decimal.getcontext().prec = job.precision
    logger.warning("begins with %d", job.precision)
    note("arranged")


def _tell(job: Settle) -> None:
    found: list[Any] = [
        translation.get_language(), timezone.get_current_timezone_name(), decimal.getcontext().prec,
    ]  # fmt: skip
    logger.warning("ends with %d", job.precision)
    note(f"found {json.dumps([job.precision, found])}")


@handles(Settle, retry=NO_RETRY)
async def settle(job: Settle) -> None:
    """Do so."""
    _arrange(job)
    while not may_go():
        await asyncio.sleep(PAUSE)
    await job_scheduler.aenqueue(Note(f"child {job.precision}"))
    _tell(job)


@dataclass(frozen=True)
class SettleOnThread(Settle):
    """The same in a thread."""


@handles(SettleOnThread, retry=NO_RETRY)
def settle_on_thread(job: SettleOnThread) -> None:
    """Do so."""
    _arrange(job)
    wait_to_go()
    job_scheduler.enqueue(Note(f"child {job.precision}"))
    _tell(job)


@dataclass(frozen=True)
class Forget(Job):
    """Forget a task and a coroutine."""

    text: str


async def _never_awaited() -> None:
    """Nothing."""


async def _left_behind() -> None:
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        note("left behind")
        raise


_tasks: list[asyncio.Task[None]] = []


@handles(Forget, retry=NO_RETRY)
async def forget(job: Forget) -> None:
    """Leave a task, and a coroutine that is never awaited."""
    _tasks.append(asyncio.create_task(_left_behind(), name=f"task of {job.text}"))
    forgotten = _never_awaited()
    del forgotten
    await asyncio.sleep(0)
