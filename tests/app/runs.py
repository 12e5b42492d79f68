"""Jobs that say how far they are, and go on where they were."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from dataclasses import dataclass

from django.contrib.auth.models import Group

from handlers import Job, Run, handles
from tests.app import approvals  # noqa: F401 - declares its types
from tests.app.jobs import QUICK, note
from tests.app.many import PAUSE, may_go

logger = logging.getLogger("shop")


@dataclass(frozen=True)
class Import(Job):
    """Load, go over all groups, tell."""

    text: str = ""


@handles(Import, retry=QUICK)
def import_groups(job: Import, run: Run) -> None:
    """Each of the steps says that it is done; the last one waits for the test."""
    run.step("load", note, "load")
    for number, group in enumerate(run.each(Group.objects.all()), 1):
        note(f"row {group.name}")
        run.progress(number, 40, f"at {group.name}")
        if group.name == "group 20":
            logger.info("half of it is done")
            note(f"half {os.getpid()}")
            while not may_go() and not run.token.is_cancelled:
                time.sleep(PAUSE)
    run.step("tell", note, "tell")


@dataclass(frozen=True)
class Watch(Job):
    """The same on an event loop."""


@handles(Watch, retry=QUICK)
async def watch(job: Watch, run: Run) -> None:
    """Say how far it is until the test says go."""
    logger.warning("it begins")
    done = 0
    while not may_go():
        done += 1
        run.progress(done, message="on a loop")
        await asyncio.sleep(PAUSE)


@dataclass(frozen=True)
class Rows(Job):
    """Go over made-up rows for so long."""

    seconds: float
    tells: bool


@handles(Rows, retry=QUICK)
def go_over(job: Rows, run: Run) -> int:
    """How many rows there were; each is some tens of microseconds of work."""
    until, done = time.perf_counter() + job.seconds, 0
    while time.perf_counter() < until:
        sum(range(2_000))
        done += 1
        if job.tells:
            run.progress(done, 10_000_000, "a row")
    return done
