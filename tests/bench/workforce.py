"""The processes that a measurement starts, what they and the servers use, and waiting for jobs."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from django.conf import settings
from django.db import connection

from handlers.models import JobRecord
from handlers.rq_transport.connections import redis_connection
from handlers.states import State
from tests.processes import Managed, wait_for

LONG = 300.0  # seconds; nothing that is measured takes longer


@contextmanager
def running(*args: str) -> Iterator[Managed]:
    """A ``manage.py`` process, stopped as an operator does it and, whatever happens, gone at the end."""
    managed = Managed(dict(os.environ), Path(settings.DATA), *args, forked=False)  # as in production: it is measured
    try:
        yield managed
        if managed.process.poll() is None:
            managed.terminate()
    finally:
        managed.end()


@contextmanager
def scheduling() -> Iterator[Managed]:
    """A scheduler that has begun to work."""
    with running("scheduler") as managed:
        wait_for("the scheduler", lambda: "starts" in managed.log.read_text())
        yield managed


def worker(processes: int = 2) -> tuple[str, ...]:
    """The command of workers; where made-up jobs wait on queues of their own, they are left waiting."""
    queues = ("--queues", "default") if "tests.bench.seeded" in settings.INSTALLED_APPS else ()
    return ("worker", *queues, "--processes", str(processes))


def tree(*started: Managed) -> list[psutil.Process]:
    """The processes and all that they started."""
    roots = [psutil.Process(managed.pid) for managed in started]
    return [process for root in roots for process in (root, *root.children(recursive=True))]


def servers() -> list[psutil.Process]:
    """The queue server and, where there is one, the database server with its backends."""
    pids = [int(redis_connection().info("server")["process_id"])]
    if connection.vendor == "postgresql":
        pids.append(int((data_directory() / "postmaster.pid").read_text().split()[0]))
    roots = [psutil.Process(pid) for pid in pids]
    return [process for root in roots for process in (root, *root.children(recursive=True))]


def data_directory() -> Path:
    """Where PostgreSQL keeps its data, and beside them its PID and its log."""
    with connection.cursor() as cursor:
        cursor.execute("SHOW data_directory")
        return Path(cursor.fetchone()[0])


def cpu(processes: Sequence[psutil.Process]) -> float:
    """CPU seconds that the processes and their reaped children have used."""
    used = 0.0
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            used += sum(process.cpu_times()[:4])
    return used


def wait_until_recorded(first: int, last: int) -> None:
    """Wait until the jobs ``first`` to ``last`` succeeded. Looks at the last one first, which costs nothing."""
    ours = JobRecord.objects.filter(pk__gte=first, pk__lte=last)
    wait_for("the last job", lambda: JobRecord.objects.filter(pk=last, state=State.SUCCEEDED).exists(), seconds=LONG)
    wait_for("all jobs recorded", lambda: not ours.exclude(state=State.SUCCEEDED).exists(), seconds=LONG)


def percentiles(name: str, seconds: Sequence[float]) -> dict[str, float]:
    """Median and 99th percentile in ms."""
    cuts = statistics.quantiles(seconds, n=100)
    return {f"{name}, p50, ms": statistics.median(seconds) * 1_000, f"{name}, p99, ms": cuts[98] * 1_000}
