"""A real worker and a scheduler beside a test, on its database: for tests of the whole, over real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from django.conf import settings
from django.db import connections
from django.test.utils import override_settings

from handlers.lifecycle import database
from handlers.models import JobRecord
from handlers.rq_transport import embedded
from handlers.rq_transport.messages import RQTransport
from handlers.states import ACTIVE
from handlers.testing.child import VARIABLE
from handlers.transport import get_transport, install_transport

LOOK_SECONDS = 0.02
STOP_SECONDS = 20.0
TOLD_LINES = 30  # of a log
T = TypeVar("T")


class RunningWorker:
    """The processes, and waiting for what they do."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / "output.log"
        self._log.touch()
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def log(self) -> str:
        """What they have written so far."""
        return self._log.read_text(errors="replace")

    def wait_for(self, job_id: Any, *, seconds: float = 20.0) -> JobRecord:
        """The job, once it has ended for good: succeeded, failed or deleted. AssertionError after ``seconds``."""
        rows = JobRecord.objects.using(database()).filter(pk=job_id)

        def ended() -> JobRecord | None:
            return rows.exclude(state__in=ACTIVE).first()

        return self.wait_until(ended, f"job {job_id} has ended", seconds=seconds)

    def wait_until(self, condition: Callable[[], T | None], what: str = "it is so", *, seconds: float = 20.0) -> T:
        """What ``condition()`` returns once that is truthy. AssertionError after ``seconds``, or if a process died."""
        until = time.monotonic() + seconds
        while not (found := condition()):
            if any(process.poll() is not None for process in self._processes):
                raise AssertionError(f"a process of the worker ended by itself; {self._told()}")
            if time.monotonic() >= until:
                raise AssertionError(f"not within {seconds:g} s: {what}; {self._told()}")
            time.sleep(LOOK_SECONDS)
        return found

    def start(self, environment: dict[str, str], *arguments: str) -> None:
        """One more process: a management command on this test's database."""
        with self._log.open("ab") as output:
            command = [sys.executable, "-m", "handlers.testing.child", *arguments]
            self._processes.append(
                subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)
            )

    def stop(self) -> None:
        """End all of them, as an operator does; by force those that do not end."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _told(self) -> str:
        lines = self.log.splitlines()[-TOLD_LINES:]
        return "\n".join(["the last of what was written:", *lines]) if lines else "nothing was written"


@contextmanager
def running_worker(*, processes: int = 1, redis_url: str = "") -> Iterator[RunningWorker]:
    """A real worker, with so many processes, and a scheduler, which run this test's jobs meanwhile.

    On a Redis of their own that ends with them, or the one at ``redis_url``, which should hold nothing else. For tests
    that commit (``TransactionTestCase``, ``transactional_db``), on a database that other processes can open: for SQLite
    a file, which ``DATABASES["default"]["TEST"]["NAME"]`` names. Raises RuntimeError for one in memory, and
    TransportUnavailable where there is no Redis or Valkey program.
    """
    names = {alias: _name(alias) for alias in connections}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="jobs-")))
        url = redis_url or stack.enter_context(_server(folder / "redis"))
        jobs = {**getattr(settings, "JOBS", {}), "REDIS_URL": url, "EAGER": False}
        stack.enter_context(override_settings(JOBS=jobs))
        stack.callback(install_transport, get_transport())
        install_transport(RQTransport())
        told = {"databases": names, "redis_url": url}
        environment = os.environ | {
            VARIABLE: json.dumps(told),
            "DJANGO_SETTINGS_MODULE": os.environ.get("DJANGO_SETTINGS_MODULE") or settings.SETTINGS_MODULE,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "PYTHONUNBUFFERED": "1",
        }
        worker = RunningWorker(folder)
        stack.callback(worker.stop)
        worker.start(environment, "worker", "--processes", str(processes))
        worker.start(environment, "scheduler")
        yield worker


def _name(alias: str) -> str:
    connection = connections[alias]
    name = str(connection.settings_dict["NAME"])
    if alias == database() and connection.in_atomic_block:
        raise RuntimeError("a transaction is open, which no other process sees into: use a TransactionTestCase")
    if connection.vendor == "sqlite" and connection.is_in_memory_db():  # type: ignore[attr-defined]
        raise RuntimeError(
            f"the database {alias!r} is in memory, where no other process sees it: name a file in"
            f" DATABASES[{alias!r}]['TEST']['NAME']"
        )
    return name


@contextmanager
def _server(folder: Path) -> Iterator[str]:
    url = embedded.find_url(folder)
    process = subprocess.Popen(embedded.server_command(folder), stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        until = time.monotonic() + STOP_SECONDS
        while not embedded.answers(url):
            if process.poll() is not None or time.monotonic() >= until:
                raise RuntimeError("the Redis of this test did not start")
            time.sleep(LOOK_SECONDS)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
