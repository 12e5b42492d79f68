"""Job types whose jobs run many in one call."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any

from handlers import CancellationToken, Chunk, GiveUp, Job, RetryAfter, Sensitive, Snooze, handles_many, job_scheduler
from tests.app.jobs import NO_RETRY, QUICK, Note, note

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tally(Job):
    """One of several that are noted together; ``then`` says what becomes of it, or of all."""

    name: str
    then: str = ""
    secret: Annotated[str, Sensitive()] = ""


ONE: dict[str, Callable[[], Any]] = {
    "fail": lambda: ValueError("this one"),
    "give up": lambda: GiveUp("never"),
    "later": lambda: RetryAfter(timedelta(hours=1)),
    "snooze": lambda: Snooze(timedelta(hours=1)),
    "strange": object,
}


def _tally(jobs: Chunk[Tally], token: CancellationToken) -> Any:
    names = ",".join(job.name for job in jobs)
    note(f"tally {names}")
    logger.warning("counting %s, %s", names, [job.secret for job in jobs])
    asked = {job.then for job in jobs}
    if "crash" in asked:
        os.kill(os.getpid(), signal.SIGKILL)
    if "raise" in asked:
        raise ValueError("all of them")
    _linger(asked, token)
    for job, run in zip(jobs, jobs.runs, strict=True) if "apart" in asked else ():
        with run.as_current():
            logger.warning("%s alone", job.name)
            job_scheduler.enqueue(Note(f"of {job.name}"))
    return _outcomes(jobs, asked)


def _linger(asked: set[str], token: CancellationToken) -> None:
    if "wait" in asked:
        token.wait(20)
        token.raise_if_cancelled()
    if "hang" in asked:
        time.sleep(60)


def _outcomes(jobs: Chunk[Tally], asked: set[str]) -> Any:
    if "short" in asked:
        return ["only one"]
    if "unknown id" in asked:
        return {0: "nobody"}
    if "by id" in asked:
        return {run.job_id: GiveUp("named") for job, run in zip(jobs, jobs.runs, strict=True) if job.then == "by id"}
    return [ONE[job.then]() if job.then in ONE else f"{job.name} of {len(jobs)}" for job in jobs]


@handles_many(Tally, size=10, wait=timedelta(seconds=0.3), retry=QUICK, timeout=timedelta(seconds=40), queue="tallies")
def tally(jobs: Chunk[Tally], token: CancellationToken) -> Any:
    """Note their names in one line."""
    return _tally(jobs, token)


@dataclass(frozen=True)
class TallyShort(Tally):
    """The same, with little time."""


@handles_many(
    TallyShort, size=3, wait=timedelta(seconds=0.3), retry=NO_RETRY, timeout=timedelta(seconds=0.3), queue="tallies"
)
class TallyShortHandler:
    """Notes their names in one line."""

    def handle(self, jobs: Chunk[TallyShort], token: CancellationToken) -> Any:
        """Do it."""
        return _tally(jobs, token)


@dataclass(frozen=True)
class TallyFull(Tally):
    """The same, which wait until a call is full."""


@handles_many(TallyFull, size=60, wait=timedelta(seconds=50), retry=QUICK, queue="tallies")
def tally_full(jobs: Chunk[TallyFull], token: CancellationToken) -> Any:
    """Note their names in one line."""
    return _tally(jobs, token)
