"""Where measurements run: a database with a queue server of its own, both real and durable, and gone afterwards."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import psycopg
import redis

from tests import servers
from tests.bench.sites import site
from tests.processes import ROOT

DATABASES = ("SQLite", "PostgreSQL")
OURS = ("DJANGO_", "JOBSITE_", "BENCH_TYPES", "BENCH_QUEUES", "DATABASE_URL", "REDIS_URL", "PORT")

Figures = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """A migrated database and an empty queue server, as the processes of a measurement find them."""

    database: str  # one of DATABASES
    folder: Path
    url: str  # "" is SQLite in the folder
    redis_url: str
    jobs: int = 0  # made-up ones in the database

    def measure(self, function: str, **options: Any) -> Figures:
        """What ``function`` of this package ("engine.idle") returns, called with ``options`` in a new process."""
        with self._process(function, options) as process:
            return self._figures(function, process, _said(process))

    @contextmanager
    def _process(self, function: str, options: Figures) -> Iterator[subprocess.Popen[str]]:
        command = [sys.executable, "-m", "tests.bench.measure", f"tests.bench.{function}", json.dumps(options)]
        print(f"{time.strftime('%X')} {self.database}, {self.jobs:,} jobs: {function}", file=sys.stderr, flush=True)
        pipe = subprocess.PIPE
        with subprocess.Popen(command, cwd=ROOT, env=self.env(), stdin=pipe, stdout=pipe, text=True) as process:
            try:
                yield process
            except BaseException:
                process.terminate()  # Ctrl-C reached it too, but a SIGTERM to this process alone did not
                process.wait()  # leaving the context would not wait for it after a Ctrl-C
                raise

    def _figures(self, function: str, process: subprocess.Popen[str], last: str) -> Figures:
        if process.wait():
            raise SystemExit(f"error: {function} failed on {self.database}, see above")
        figures: Figures = json.loads(last)
        return figures

    def version(self) -> str:
        """The database server's name and version."""
        if not self.url:
            return f"SQLite {sqlite3.sqlite_version}"
        with psycopg.connect(self.url) as connection:
            return f"PostgreSQL {connection.info.server_version // 10_000}.{connection.info.server_version % 10_000}"

    def env(self) -> dict[str, str]:
        """The environment of its processes; what the person's shell sets for their own instance is left out."""
        apps = ["tests.app", *(["tests.bench.seeded"] if self.jobs else [])]
        return {name: value for name, value in os.environ.items() if not name.startswith(OURS)} | {
            "DJANGO_SETTINGS_MODULE": "tests.bench.settings" if self.jobs else "jobsite.settings",
            "JOBSITE_APPS": ",".join(apps),
            "JOBSITE_DEMO": "0",
            "BENCH_TYPES": str(site(self.jobs).types),
            "BENCH_QUEUES": str(site(self.jobs).queues),
            "JOBSITE_DATA": str(self.folder),
            "DATABASE_URL": self.url,
            "REDIS_URL": self.redis_url,
            "PYTHONUNBUFFERED": "1",  # what is waited for in a log must get there
        }

    @contextmanager
    def copy(self) -> Iterator[Place]:
        """The same place with a database of its own, as this one's is now, and the queue server empty.

        Nothing may be connected to this place's database meanwhile.
        """
        with redis.Redis.from_url(self.redis_url) as queues:
            queues.flushall()
        with tempfile.TemporaryDirectory(prefix="jobsite-bench-") as made:
            if not self.url:
                shutil.copy(self.folder / "db.sqlite3", made)
                yield replace(self, folder=Path(made))
                return
            base, _, template = self.url.rpartition("/")
            with psycopg.connect(f"{base}/template1", autocommit=True) as admin:
                admin.execute(f"CREATE DATABASE bench_copy TEMPLATE {template}")
            try:
                yield replace(self, folder=Path(made), url=f"{base}/bench_copy")
            finally:
                with psycopg.connect(f"{base}/template1", autocommit=True) as admin:
                    admin.execute("DROP DATABASE bench_copy WITH (FORCE)")


@contextmanager
def place(database: str, *, jobs: int = 0, folder: Path | None = None) -> Iterator[Place]:
    """A place on ``database`` with ``jobs`` made-up jobs, which stay in ``folder`` if there is one."""
    with ExitStack() as stack:
        queues = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="jobsite-bench-")))
        redis_url = stack.enter_context(servers.valkey(queues / "redis"))
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="jobsite-bench-")))
        folder.mkdir(parents=True, exist_ok=True)
        url = ""
        if database == "PostgreSQL":
            url = stack.enter_context(servers.postgresql(durable=True, folder=folder / "pg"))
            with psycopg.connect(url, autocommit=True) as admin:
                admin.execute("ALTER SYSTEM RESET ALL")  # kept data may come from a server that was not durable
                admin.execute("SELECT pg_reload_conf()")
        there = Place(database, folder, url, redis_url, jobs)
        there.measure("filling.fill", jobs=jobs)
        yield there


TURN = "turn"


def take_turn() -> None:
    """In a process of a measurement: wait until the others have had their turn (see ``in_turns``)."""
    print(TURN, flush=True)
    sys.stdin.readline()


def in_turns(function: str, options: Sequence[tuple[Place, Figures]]) -> list[Figures]:
    """What ``function`` returns at each place, where each process pauses whenever it says ``take_turn``.

    So the same is measured here and there within a second: a machine may be half as quick a minute later.
    """
    with ExitStack() as stack:
        there = [(place, stack.enter_context(place._process(function, given))) for place, given in options]
        said = {place: _said(process) for place, process in there}  # each waits for its first turn
        while TURN in said.values():
            for place, process in there:
                if said[place] == TURN:
                    with suppress(BrokenPipeError):  # it has ended; its exit status says why
                        _pipe(process.stdin).write("\n")
                        _pipe(process.stdin).flush()
                    said[place] = _said(process)
        return [place._figures(function, process, said[place]) for place, process in there]


def _said(process: subprocess.Popen[str]) -> str:
    """TURN when it waits for one, else the last line that it printed before it ended."""
    last = ""
    for line in _pipe(process.stdout):
        last = line.rstrip("\n")
        if last == TURN:
            break
    return last


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


class Places:
    """The places of one run: each is made when it is first asked for, and kept until the run ends."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._made: dict[tuple[str, int], Place] = {}

    def get(self, database: str, jobs: int = 0, *, folder: Path | None = None) -> Place:
        """The place on ``database`` with ``jobs`` made-up jobs."""
        if (database, jobs) not in self._made:
            self._made[database, jobs] = self._stack.enter_context(place(database, jobs=jobs, folder=folder))
        return self._made[database, jobs]

    def versions(self) -> list[str]:
        """The databases that were measured."""
        return sorted({place.version() for place in self._made.values()})
