"""Jobs that show how long a worker process lives."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from handlers import CancellationToken, Job, handles, job_scheduler
from handlers.models import JobRecord, WorkerProcess
from tests.app.jobs import NO_RETRY, Sleep, note
from tests.app.many import Hold
from tests.processes import wait_for

_held: list[bytes] = []


@dataclass(frozen=True)
class Grow(Job):
    """Leave so much memory behind."""

    mib: int


@handles(Grow, retry=NO_RETRY)
def grow(job: Grow) -> None:
    """Keep it, and go on for a while."""
    _held.append(os.urandom(1 << 20) * job.mib)
    note(f"start grow {os.getpid()}")
    time.sleep(0.3)
    note("end grow")


@dataclass(frozen=True)
class Spread(Job):
    """Enqueue more jobs, once no other has anything to do and all the processes that should be there are."""

    count: int
    processes: int


@handles(Spread, retry=NO_RETRY)
def spread(job: Spread, token: CancellationToken) -> None:
    """Wait, and a little longer, in which nobody may go: then do it."""
    others = JobRecord.objects.filter(state__in=["enqueued", "processing"]).exclude(pk=token.job_id)
    wait_for("the others have ended", lambda: not others.exists())
    wait_for("all are there", lambda: WorkerProcess.objects.count() == job.processes)
    time.sleep(0.5)
    assert WorkerProcess.objects.count() == job.processes
    job_scheduler.enqueue_many([Sleep(0.5, f"spread {n}") for n in range(job.count)])


@dataclass(frozen=True)
class Link(Job):
    """One of a chain of short jobs, the last of which takes as long as the test likes."""

    left: int


@handles(Link, retry=NO_RETRY)
def link(job: Link) -> None:
    """Enqueue the next one."""
    job_scheduler.enqueue(Link(job.left - 1) if job.left else Hold("last"))
