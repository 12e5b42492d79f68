"""Real worker and scheduler processes for tests, and waiting for what they do."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import psutil

from handlers.processes import kill_session
from tests.forkserver import ROOT, Forked

__all__ = ["ROOT", "Managed", "wait_for"]

MEASURED = "COVERAGE_PROCESS_CONFIG"  # where coverage is measured, which begins when a process does
T = TypeVar("T")


def wait_for(what: str, condition: Callable[[], T], *, seconds: float = 20.0) -> T:
    """Poll ``condition`` until it is truthy; its value. AssertionError, naming ``what``, after ``seconds``."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds:g} s: {what}")


class Managed:
    """One ``manage.py`` process in a session of its own, its output in a file."""

    def __init__(self, env: dict[str, str], folder: Path, *args: str) -> None:
        self.log = folder / f"{args[0]}-{time.monotonic_ns()}.log"
        self.process: Forked | subprocess.Popen[bytes]
        with self.log.open("wb") as output:
            if MEASURED in env or args[0] == "run":  # which makes what the settings of production ask for
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
        return [child for child in psutil.Process(self.pid).children() if child.status() != psutil.STATUS_ZOMBIE]

    def terminate(self, seconds: float = 20.0) -> int:
        """Stop it as an operator does; its exit code."""
        self.process.terminate()
        return self.process.wait(seconds)

    def kill_all(self) -> None:
        """SIGKILL to it and all its children at once, as a power cut would."""
        kill_session(self.pid)
        self.process.wait(10)

    def end(self) -> None:
        """Leave nothing behind."""
        self.kill_all()
