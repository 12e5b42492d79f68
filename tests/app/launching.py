"""Jobs that start programs, and do not wait for them, or wait too long."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from dataclasses import dataclass
from datetime import timedelta

from handlers import CancellationToken, Job, handles
from tests.app.jobs import NO_RETRY, note


@dataclass(frozen=True)
class Launch(Job):
    """Start programs, write their PIDs down, and go on as ``then`` says."""

    key: str
    then: str
    apart: bool = False  # whether one of them leaves the group


@dataclass(frozen=True)
class AsyncLaunch(Job):
    """Start a program and wait for its end."""

    key: str


@handles(AsyncLaunch, retry=NO_RETRY)
async def async_launch(job: AsyncLaunch) -> None:
    """Do it, and say how it ended."""
    started = await asyncio.create_subprocess_exec("sleep", "300")
    note(f"{job.key} {started.pid}")
    note(f"ended with {await started.wait()}")


@dataclass(frozen=True)
class QuickLaunch(Launch):
    """The same, with a short timeout."""


@handles(QuickLaunch, retry=NO_RETRY, timeout=timedelta(seconds=0.5))
@handles(Launch, retry=NO_RETRY)
def launch(job: Launch, token: CancellationToken) -> None:
    """Do it."""
    program = ["sh", "-c", "sleep 300 & echo $!; wait"]  # with a child of its own
    started = subprocess.Popen(program, stdout=subprocess.PIPE, text=True)
    assert started.stdout is not None
    pids = [started.pid, int(started.stdout.readline())]
    if job.apart:
        pids.append(subprocess.Popen(["sleep", "300"], start_new_session=True).pid)
    note(f"{job.key} " + " ".join(map(str, pids)))
    match job.then:
        case "wait":
            started.wait()
        case "fail":
            raise ValueError("on purpose")
        case "ask":
            while not token.wait(60):
                pass
            token.raise_if_cancelled()
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
