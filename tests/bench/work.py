"""What one benchmark process does: set up Django on the database that the environment names, measure, print JSON."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import django
import psutil

django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402
from django.utils import timezone  # noqa: E402

from handlers import job_scheduler  # noqa: E402
from handlers.models import JobHistory, JobRecord  # noqa: E402
from handlers.rq_transport.connections import redis_connection  # noqa: E402
from handlers.states import State  # noqa: E402
from tests.app.jobs import Nothing  # noqa: E402
from tests.processes import ROOT, wait_for  # noqa: E402

SINGLE, BULK, LATENCY, DELAYED = 2_000, 20_000, 100, 60


def main() -> None:
    """Measure everything once."""
    call_command("migrate", verbosity=0)
    redis_connection().flushall()
    figures: dict[str, float] = {}
    for _ in range(50):  # warm up
        job_scheduler.enqueue(Nothing())
    figures["enqueue, one at a time, jobs/s"] = rate(SINGLE, one_at_a_time)
    figures["enqueue_many, jobs/s"] = rate(BULK, in_bulk)
    backlog = JobRecord.objects.filter(state=State.ENQUEUED).count()
    worker = start("worker", "--processes", "2")
    scheduler = start("scheduler")
    try:
        children = wait_for("worker processes", lambda: psutil.Process(worker.pid).children())
        before = cpu(children)
        wait_for("all jobs recorded", lambda: not active(), seconds=300)
        started = JobHistory.objects.filter(to_state=State.PROCESSING).order_by("pk").values_list("at", flat=True)[0]
        ended = JobHistory.objects.filter(to_state=State.SUCCEEDED).order_by("-pk").values_list("at", flat=True)[0]
        figures["recorded drain, two processes, jobs/s"] = backlog / (ended - started).total_seconds()
        figures["worker CPU, ms a job"] = (cpu(children) - before) * 1_000 / backlog
        figures |= latency()
        figures |= delayed()
        republished = scheduler_log(scheduler).count("published ")
        figures["messages that recovery had to send"] = republished
    finally:
        for process in (worker, scheduler):
            process.terminate()
            process.wait(30)
    sys.stdout.write(json.dumps(figures))


def one_at_a_time(count: int) -> None:
    """Enqueue by single calls, in autocommit."""
    for _ in range(count):
        job_scheduler.enqueue(Nothing())


def in_bulk(count: int) -> None:
    """Enqueue by the thousand."""
    for _ in range(count // 1_000):
        job_scheduler.enqueue_many([Nothing()] * 1_000)


def latency() -> dict[str, float]:
    """Enqueue to claim, 20 jobs/s to idle workers."""
    ids = []
    for _ in range(LATENCY):
        ids.append(job_scheduler.enqueue(Nothing()))
        time.sleep(0.05)
    wait_for("the latency jobs", lambda: not active())
    rows = JobHistory.objects.filter(job_id__in=ids, to_state=State.PROCESSING)
    seconds = [row.data["latency_seconds"] for row in rows if row.data]
    return percentiles("enqueue to start", seconds)


def delayed() -> dict[str, float]:
    """Due time to claim."""
    first = timezone.now() + timedelta(seconds=1)
    ids = [job_scheduler.schedule(Nothing(), first + timedelta(seconds=0.05 * n)) for n in range(DELAYED)]
    due = dict(JobRecord.objects.filter(pk__in=ids).values_list("pk", "run_at"))
    wait_for("the delayed jobs", lambda: not active())
    rows = JobHistory.objects.filter(job_id__in=ids, to_state=State.PROCESSING)
    late = [(row.at - at).total_seconds() for row in rows if (at := due[row.job_id]) is not None]
    return percentiles("due to start", late) | {"due to start, earliest, ms": min(late) * 1_000}


def percentiles(name: str, seconds: list[float]) -> dict[str, float]:
    """Median and 99th percentile in ms."""
    cuts = statistics.quantiles(seconds, n=100)
    return {f"{name}, p50, ms": statistics.median(seconds) * 1_000, f"{name}, p99, ms": cuts[98] * 1_000}


def rate(count: int, work: Callable[[int], None]) -> float:
    """How many a second."""
    began = time.perf_counter()
    work(count)
    return count / (time.perf_counter() - began)


def active() -> bool:
    """Whether any job has still to run."""
    return JobRecord.objects.filter(state__in=[State.ENQUEUED, State.SCHEDULED, State.PROCESSING]).exists()


def cpu(processes: list[psutil.Process]) -> float:
    """CPU seconds that the processes have used."""
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def start(*args: str) -> subprocess.Popen[bytes]:
    """A ``manage.py`` process; its log stands beside the others'."""
    with log_of(args[0]).open("wb") as log:
        return subprocess.Popen([sys.executable, "manage.py", *args], cwd=ROOT, stdout=log, stderr=log)


def log_of(name: str) -> Path:
    """Where a process of this run writes."""
    return Path(tempfile.gettempdir()) / f"{name}.log"


def scheduler_log(process: subprocess.Popen[bytes]) -> str:
    """What the scheduler said so far."""
    assert process.poll() is None
    return log_of("scheduler").read_text()


if __name__ == "__main__":
    assert connection.vendor in ("sqlite", "postgresql")
    main()
