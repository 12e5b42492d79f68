"""Jobs that start processes of their own, in every way there is."""

from __future__ import annotations

import asyncio
import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any, NoReturn

from handlers import CancellationToken, Job, handles, job_scheduler
from handlers.models import JobRecord
from tests.app.jobs import NO_RETRY, Note, note


@dataclass(frozen=True)
class Fork(Job):
    """Start a process in the way that ``how`` names, and write what became of it."""

    how: str


@handles(Fork, retry=NO_RETRY)
def fork(job: Fork) -> None:
    """Do it."""
    name, _, method = job.how.partition(" ")
    note(f"{job.how}: {globals()[f'_{name}'](*[method] if method else [])}, in {os.getpid()}")


@dataclass(frozen=True)
class AsyncFork(Job):
    """Fork in a coroutine, and need the event loop afterwards."""


@handles(AsyncFork, retry=NO_RETRY)
async def async_fork(job: AsyncFork, token: CancellationToken) -> None:
    """The child exits; the parent waits for it in another thread."""
    if not (child := os.fork()):
        sys.exit(7)
    note(f"async: {_code(await asyncio.to_thread(os.waitpid, child, 0))}, in {os.getpid()}")


@dataclass(frozen=True)
class AsyncForkWaits(Job):
    """Fork in a coroutine beside another one; the child waits for something."""


@handles(AsyncForkWaits, retry=NO_RETRY)
async def async_fork_waits(job: AsyncForkWaits) -> None:
    """Write what either process comes to."""

    async def forks() -> int:
        if not (child := os.fork()):
            await asyncio.sleep(0)
            note("the child goes on")
        return child

    async def beside() -> None:
        note("beside it")

    child, _ = await asyncio.gather(forks(), beside())
    code, loop = _code(await asyncio.to_thread(os.waitpid, child, 0)), asyncio.get_running_loop()
    note(f"waits: {code}, on {type(loop).__module__}")


def _code(waited: tuple[int, int]) -> int:
    return os.waitstatus_to_exitcode(waited[1])


def _sleep(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def _forked(act: Callable[[], object], fork: Callable[[], int] = os.fork) -> int | None:
    """The child goes back into the handler, unless ``act`` raises; the parent tells how it ended."""
    if not (child := fork()):
        act()
        return None
    return _code(os.waitpid(child, 0))


# --- how


def _terminated(method: str) -> Any:
    context: Any = multiprocessing.get_context(method)
    process = context.Process(target=time.sleep, args=(60,))
    process.start()
    process.terminate()  # before it has begun, as likely as not
    process.join()
    return process.exitcode


def _pool(method: str) -> int:
    with multiprocessing.get_context(method).Pool(2) as pool:
        return next(pool.imap(abs, [-1, -2, -3]))  # leaves at once, which terminates the others


def _executor(method: str) -> list[int]:
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method)) as executor:
        return list(executor.map(abs, [-1, -2]))


def _exited() -> int | None:
    return _forked(lambda: sys.exit(7))


def _returned() -> int | None:
    pid = os.getpid()
    code = _forked(lambda: None)
    if os.getpid() != pid:
        raise SystemExit  # what a return does is tested by _native
    return code


def _raised() -> int | None:
    def act() -> NoReturn:
        raise ValueError("in the child")

    return _forked(act)


def _thread() -> list[int]:
    codes: list[int] = []

    def begin() -> None:
        child = os.fork()
        if not child:
            os.kill(os.getpid(), signal.SIGTERM)
        codes.append(_code(os.waitpid(child, 0)))

    thread = threading.Thread(target=begin)
    thread.start()
    thread.join()
    return codes


def _grandchild() -> int | None:
    def act() -> NoReturn:
        grandchild = os.fork()
        if not grandchild:
            time.sleep(60)
        os.kill(grandchild, signal.SIGTERM)
        sys.exit(-_code(os.waitpid(grandchild, 0)))

    return _forked(act)


def _native() -> list[int | None]:
    """Forked past Python: by a library in C."""
    fork = ctypes.PyDLL(None).fork
    pid = os.getpid()
    code = _forked(lambda: None, fork)
    if os.getpid() != pid:
        return []  # the child's own handler ends here
    child = fork()
    while not child:  # in short naps: its handler is Python's, and is not called in a nap that begins just after
        time.sleep(0.05)
    os.kill(child, signal.SIGTERM)
    return [code, _code(os.waitpid(child, 0))]


def _preexec() -> int:
    with subprocess.Popen(["sleep", "60"], preexec_fn=os.getpid) as process:  # noqa: PLW1509
        process.terminate()
        return process.wait()


def _orm() -> str:
    """The child asks the database and enqueues a job, where its parent has a connection open."""
    before = JobRecord.objects.count()

    def act() -> NoReturn:
        job_scheduler.enqueue(Note("by a child"))
        sys.exit(JobRecord.objects.count() - before)

    return f"{_forked(act)}, {JobRecord.objects.count() - before}"
