"""Real worker and scheduler processes for tests, and waiting for what they do."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import psutil

from handlers.processes import kill_session
from tests.forkserver import ROOT, Forked

__all__ = ["ROOT", "Managed", "lives", "unhurried", "wait_for"]

MEASURED = "COVERAGE_PROCESS_CONFIG"  # where coverage is measured, which begins when a process does
PATIENCE_SECONDS = 180.0  # for what must happen, however slow the machine: only a test that fails waits so long
T = TypeVar("T")


def unhurried(seconds: float, *, below: float = math.inf) -> float:
    """What on an idle machine takes so long may take this long now: as many times as long as each has to queue up.

    ``below``: by then something else would have happened, which the test must tell from it.
    """
    return min(seconds * (1 + max(os.getloadavg()[0], _running()) / (os.cpu_count() or 1)), below)


def _running() -> int:
    """How many threads run or would like to, at this moment; 0 where that is told nowhere. The average comes later."""
    try:
        return int(Path("/proc/loadavg").read_text().split()[3].partition("/")[0])
    except OSError:
        return 0


def wait_for(what: str, condition: Callable[[], T], *, seconds: float = PATIENCE_SECONDS) -> T:
    """Poll ``condition`` until it is truthy; its value. AssertionError, naming ``what``, after ``seconds``."""
    began = time.monotonic()
    while True:
        if value := condition():
            return value
        if (waited := time.monotonic() - began) > seconds:
            raise AssertionError(f"not within {waited:.0f} s: {what}")
        time.sleep(0.02)


def lives(process: psutil.Process) -> bool:
    """Whether it runs: one that has ended does not, though nobody has waited for it yet."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # it went between the two questions
        return False


class Managed:
    """One ``manage.py`` process in a session of its own, its output in a file.

    ``forked``: off a process that is set up already, which saves a start, but holds what tests import.
    """

    def __init__(self, env: dict[str, str], folder: Path, *args: str, forked: bool = True) -> None:
        self.log = folder / f"{args[0]}-{time.monotonic_ns()}.log"
        self.process: Forked | subprocess.Popen[bytes]
        with self.log.open("wb") as output:
            if not forked or MEASURED in env or args[0] == "run":  # which makes what the settings of production ask for
                command = [sys.executable, "manage.py", *args]
                self.process = subprocess.Popen(
                    command, cwd=ROOT, env=env, stdout=output, stderr=output, start_new_session=True
                )
            else:
                self.process = Forked(env, output.fileno(), args)

    @property
    def pid(self) -> int:
        """The process's own id."""
        return self.process.pid

    def children(self) -> list[psutil.Process]:
        """Its living child processes."""
        return list(filter(lives, psutil.Process(self.pid).children()))

    def terminate(self) -> int:
        """Stop it as an operator does; its exit code."""
        self.process.terminate()
        return self.ended()

    def ended(self) -> int:
        """Its exit code, once it has ended by itself, or as it was asked to."""
        return self.process.wait(PATIENCE_SECONDS)

    def kill_all(self) -> None:
        """SIGKILL to it and all its children at once, as a power cut would."""
        kill_session(self.pid)
        self.ended()

    def end(self) -> None:
        """Leave nothing behind."""
        self.kill_all()
