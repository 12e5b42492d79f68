"""The parts of the suite that ``tests.run`` runs side by side: each a pytest with servers of its own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import servers, template

ROOT = Path(__file__).resolve().parent.parent
EARLY = 9  # none of pytest's exit codes
COMPUTING = os.cpu_count() or 1  # parts at once
WAITING = 3  # beside them, of those that wait for more than they compute
AT_ONCE = COMPUTING + WAITING
LOOK_SECONDS = 0.1


@dataclass(frozen=True)
class Part:
    """Some of the tests, on one database."""

    name: str
    folder: str
    marks: str  # which of its tests
    share: str = ""  # of these, as 2/3
    on_postgresql: bool = False
    waits: bool = False  # more than it computes


@dataclass(frozen=True)
class Outcome:
    """How a part ended and what it cost, with its servers and with what it started and saw end."""

    code: int
    seconds: float
    cpu_seconds: float
    slowest: list[tuple[float, str]]


class _Running:
    """A part that has begun. It ends by itself, or with ``servers``."""

    def __init__(self, part: Part, arguments: Sequence[str], env: Mapping[str, str], folder: Path, *, apart: bool):
        self.servers = contextlib.ExitStack()
        self._began = time.monotonic()
        self._urls = [self.servers.enter_context(servers.valkey(folder / part.name))]  # emptied by its tests: its own
        self._ended = folder / f"{part.name}.ended"
        env = {**env, "REDIS_URL": self._urls[0], "TESTS_ENDED": str(self._ended)}
        if part.share:
            env["TESTS_SHARE"] = part.share
        if part.on_postgresql:
            copy_of = Path(env[template.NAMED]) / template.POSTGRESQL
            self._urls.append(self.servers.enter_context(servers.postgresql(copy_of=copy_of)))
            env["DATABASE_URL"] = self._urls[-1]
        how: dict[str, Any] = {}
        if apart:
            env["COVERAGE_FILE"] = str(folder / f"{part.name}.coverage")  # no other part's data
            log = self.servers.enter_context(log_of(part, folder).open("wb"))
            how = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": subprocess.STDOUT}
        command = [sys.executable, "-m", "pytest", "-o", f"testpaths={part.folder}", "-m", part.marks, *arguments]
        self._process = subprocess.Popen(command, cwd=ROOT, env=env, **how)
        self.servers.callback(self._stop)  # before the servers

    def outcome(self) -> Outcome | None:
        """How it ended; None as long as it runs."""
        pid, status, used = os.wait4(self._process.pid, os.WNOHANG)
        if not pid:
            return None
        code = self._process.returncode = os.waitstatus_to_exitcode(status)
        told = json.loads(self._ended.read_text()) if self._ended.exists() else None
        if not code and told is None:  # code under test may end its process, with status 0 and half of the tests
            code = EARLY
        cpu_seconds = used.ru_utime + used.ru_stime + sum(map(servers.cpu_seconds, self._urls))
        return Outcome(code, time.monotonic() - self._began, cpu_seconds, told or [])

    def _stop(self) -> None:
        """Ctrl-C reached it too, but a SIGTERM to this process alone did not."""
        self._process.terminate()
        self._process.wait()


def log_of(part: Part, folder: Path) -> Path:
    """The file with what a part said that had no terminal."""
    return folder / f"{part.name}.log"


def run(parts: Sequence[Part], arguments: Sequence[str], env: Mapping[str, str], folder: Path) -> dict[Part, Outcome]:
    """Run pytest with ``arguments`` for each of the parts, in about their order.

    The first one has this process's terminal; the others have a log in ``folder``.
    """
    left, outcomes = list(parts), dict[Part, Outcome]()
    running: dict[Part, _Running] = {}
    with contextlib.ExitStack() as open_:
        while left or running:
            while left and len(running) < AT_ONCE:
                part = _next(left, running)
                left.remove(part)
                running[part] = _Running(part, arguments, env, folder, apart=part is not parts[0])
                open_.callback(running[part].servers.close)
            for part, its in list(running.items()):
                if outcome := its.outcome():
                    outcomes[part] = outcome
                    running.pop(part).servers.close()
            time.sleep(LOOK_SECONDS)
    return {part: outcomes[part] for part in parts}


def _next(left: Sequence[Part], running: Mapping[Part, object]) -> Part:
    """Some of those that wait, always, beside the others, which keep the processors busy."""
    waits = sum(part.waits for part in running) < WAITING
    return next((part for part in left if part.waits == waits), left[0])


def costs(outcomes: Mapping[Part, Outcome], slowest: int) -> Iterator[str]:
    """Lines that tell what each part took, and which tests took the longest."""
    yield f"{'part':<20} {'wall s':>8} {'CPU s':>8}"
    for part, outcome in outcomes.items():
        yield f"{part.name:<20} {outcome.seconds:8.0f} {outcome.cpu_seconds:8.0f}"
    yield f"{'all, on ' + str(os.cpu_count()) + ' processors':<29} {sum(o.cpu_seconds for o in outcomes.values()):8.0f}"
    yield "the slowest tests, in wall s"
    tests = [(seconds, part.name, test) for part, outcome in outcomes.items() for seconds, test in outcome.slowest]
    for seconds, name, test in sorted(tests, reverse=True)[:slowest]:
        yield f"{seconds:6.1f} {test} ({name})"
