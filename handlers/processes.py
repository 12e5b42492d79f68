"""The processes that the runs of a worker start: found, and ended with the run or the worker that they belong to.

A worker leads a process group of its own, and what its handlers start is in it, unless it leaves it (``setsid``).
"""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from collections.abc import Iterable
from contextlib import suppress

import psutil

TICKS = os.sysconf("SC_CLK_TCK")  # a second: how exactly Linux knows when a process began


def memory_bytes(pid: int) -> int | None:
    """The memory of the process that is in RAM; None when it is gone."""
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return None


def end_started(*, since: float) -> None:
    """Kill what this process started since then (monotonic seconds) and what that started. It never raises."""
    if hasattr(os, "waitid"):  # not on macOS before Python 3.13
        try:  # most runs start nothing: one system call says so, and looking through all processes takes milliseconds
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
    _kill(_started(os.getpid(), since))


def kill_worker(pid: int, *, since: float | None) -> None:
    """Kill a worker process and its group; and what the run that began then started outside of it."""
    started = [] if since is None else _started(pid, since)  # first: afterwards nobody knows whose they are
    kill_group(pid)
    _kill(started)


def kill_group(leader: int) -> None:
    """Kill what is in the process group of this leader, which may be gone."""
    with suppress(ProcessLookupError, PermissionError):  # macOS says EPERM for a group of zombies
        os.killpg(leader, signal.SIGKILL)


def kill_session(leader: int) -> None:
    """Kill what is in the session of this leader, which may be gone, whatever group it is in."""
    for pid in (leader, *psutil.pids()):
        with suppress(ProcessLookupError, PermissionError):
            if os.getsid(pid) == leader:
                os.kill(pid, signal.SIGKILL)


def await_ends(pids: Iterable[int], seconds: float) -> None:
    """Wait until these children have ended, ``seconds`` at most: who was killed takes some milliseconds to."""
    found = []
    for pid in pids:
        with suppress(psutil.Error):
            found.append(psutil.Process(pid))
    psutil.wait_procs(found, timeout=seconds)


def _started(pid: int, since: float) -> list[psutil.Process]:
    ago = time.monotonic() - since
    if sys.platform == "linux":  # which counts from boot, in ticks; no step of the clock moves that
        ticks = math.floor((time.clock_gettime(time.CLOCK_BOOTTIME) - ago) * TICKS)
        began = (ticks - 0.5) / TICKS + psutil.boot_time()
    else:
        began = time.time() - ago
    found = []
    with suppress(psutil.Error):
        for child in psutil.Process(pid).children(recursive=True):
            with suppress(psutil.Error):
                if child.create_time() >= began:
                    found.append(child)
    return found


def _kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.Error):
            process.kill()
