"""``make matrix``: the engine's tests on each Python and Django that it is for, with the oldest and newest of all else.

"Oldest" is what pyproject.toml's ranges begin with: their lower bounds are right as long as this passes. Pythons that
the machine does not have are named, and count as neither passed nor failed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests import pythons, servers
from tests.parts import ROOT
from tests.run import OURS

DJANGOS = ("5.2", "6.0", "6.1")
OLDEST, NEWEST = "oldest", "newest"
AGES = {OLDEST: "lowest-direct", NEWEST: "highest"}
PYTHON_OF_DJANGO_6 = "3.12"
ENVIRONMENTS = ROOT / "var" / "matrix"
# What asks something of the packages that we depend on. The console's pages ask Django alone, and are many; of the
# API's document a tool speaks that has demands of its own, and what else needs a developer's tools is in tests/tools.
TESTS = ("tests/unit", "tests/integration", "tests/api", "--ignore=tests/api/test_document.py")
# The two ends, in CI, in few minutes beside a suite that takes long: what speaks with Django, RQ, Redis and pydantic.
# The rest of what they have to do, up to a console in a browser, tests/package does with the same versions.
FAST = tuple(
    f"tests/{name}.py"
    for name in (
        *(f"unit/test_{name}" for name in ("addresses", "checks", "environment", "payloads", "redis_urls", "registry")),
        *(
            f"integration/test_{name}"
            for name in (
                "captured_publishing", "commands", "delayed", "embedded", "gateway", "lifecycle", "mail", "publishing",
                "shared_queues", "tasks", "testing", "transport",
            )
        ),
        "api/test_jobs",
    )
)  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """One environment: versions of Python and Django, and how old the rest is."""

    python: str
    django: str
    age: str

    def __str__(self) -> str:
        """As the table has it."""
        return f"Python {self.python}, Django {self.django}, {self.age}"

    @property
    def is_possible(self) -> bool:
        """Whether that Django runs on that Python."""
        return self.django < "6" or _number(self.python) >= _number(PYTHON_OF_DJANGO_6)

    def install(self) -> str:
        """Make the environment, or bring it up to date; its Python. CalledProcessError when it cannot be had."""
        folder = ENVIRONMENTS / f"python{self.python}-django{self.django}-{self.age}"
        uv = [sys.executable, "-m", "uv"]
        if not (folder / "bin" / "python").exists():
            _call([*uv, "venv", "--quiet", "--clear", "--python", pythons.found()[self.python], str(folder)])
        python = str(folder / "bin" / "python")
        wanted = ["-r", "pyproject.toml", "--all-extras", "-r", "requirements-tests.txt", f"django~={self.django}.0"]
        _call([*uv, "pip", "install", "--quiet", "--python", python, "--resolution", AGES[self.age], *wanted])
        return python


def main(arguments: Sequence[str]) -> int:
    """Run the cells that are asked for; 0 only if every one passed."""
    parser = argparse.ArgumentParser(prog="make matrix", description=__doc__)
    parser.add_argument(
        "--ends", action="store_true", help="only the oldest and the newest of all, at once, fast tests"
    )
    parser.add_argument("--only", metavar="TEXT", default="", help='cells whose name has it, such as "Django 6.0"')
    options, tests = parser.parse_known_args(arguments)
    missing = [version for version in pythons.VERSIONS if version not in pythons.found()]
    cells = [cell for cell in _cells() if options.only in str(cell)]
    if options.ends:
        cells = [cells[0], cells[-1]]
        tests = tests or [*FAST]
    results: dict[Cell, str] = {}
    with tempfile.TemporaryDirectory(prefix="jobsite-matrix-") as made:
        for group in [cells] if options.ends else [[cell] for cell in cells]:
            results |= _run(group, tests or [*TESTS], Path(made))
    for cell, result in results.items():
        print(f"{cell}: {result}")
    for version in missing:
        print(f"Python {version}: not found on this machine, not tested")
    return 0 if results and all(result.startswith("passed") for result in results.values()) else 1


def _cells() -> list[Cell]:
    """The oldest first, the newest last."""
    every = [Cell(python, django, age) for age in AGES for python in pythons.found() for django in DJANGOS]
    return [cell for cell in every if cell.is_possible]


def _run(cells: Sequence[Cell], tests: Sequence[str], made: Path) -> dict[Cell, str]:
    """The tests in each of ``cells``, all at once; what came of it, in words."""
    results: dict[Cell, str] = {}
    with contextlib.ExitStack() as stack:
        running = {}
        for number, cell in enumerate(cells):
            try:
                python = cell.install()
                if tests == [*FAST]:  # those that do not run can be imported with what there is, at least
                    _call([python, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *TESTS])
            except subprocess.CalledProcessError as error:
                results[cell] = f"FAILED: it cannot be installed, or has not what the tests import\n{error.output}"
                continue
            log = made / f"{number}-{cell.age}.log"
            redis = stack.enter_context(servers.valkey(made / f"{cell.python}-{cell.django}-{cell.age}"))
            running[cell] = (stack.enter_context(_pytest(python, tests, redis, log)), log, time.monotonic())
        for cell, (process, log, began) in running.items():
            code = process.wait()
            said = log.read_text(errors="replace")
            print(f"\n=== {cell} ===\n{said if code else said[-300:]}", flush=True)
            took = f"in {time.monotonic() - began:.0f} s: {said.strip().splitlines()[-1].strip('= ')}"
            results[cell] = f"{'FAILED' if code else 'passed'} {took}"
    return results


@contextlib.contextmanager
def _pytest(python: str, tests: Sequence[str], redis: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    env = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    for name in ("PORT", "DATABASE_URL"):
        env.pop(name, None)
    env |= {"REDIS_URL": redis, "PYTHONPATH": str(ROOT)}
    command = [python, "-m", "pytest", "-q", "-m", "not browser", "-p", "no:cacheprovider", *tests]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            yield process
        finally:
            process.terminate()  # where it has not ended: Ctrl-C
            process.wait()


def _call(command: Sequence[str]) -> None:
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _number(version: str) -> int:
    return int(version.partition(".")[2])


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
