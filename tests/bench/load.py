"""Throughput and latency of jobs that do nothing, with real workers and a scheduler."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta

from django.db.models import Max, Min
from django.utils import timezone

from handlers import Job, job_scheduler
from handlers.models import JobHistory, JobRecord
from handlers.states import State
from tests.app.jobs import Note, Nothing
from tests.bench import workforce
from tests.bench.curves import DRAIN, MANY, SINGLE
from tests.bench.filling import schedule_many
from tests.bench.places import Figures
from tests.bench.workforce import percentiles, running, scheduling, wait_until_recorded
from tests.processes import Managed, wait_for

RATE = 20  # jobs/s while latency is measured


def load(
    *, single: int, many: int, call: int = 1_000, processes: int = 2, size: int = 0, scheduled: int = 0,
    paced: int = 0, delayed: int = 0,
) -> Figures:  # fmt: skip
    """Enqueue ``single`` + ``many`` jobs of ``size`` bytes, beside ``scheduled`` ones, and let the workers run them.

    Then, the workers idle: the latency of ``paced`` jobs, and the lateness of ``delayed`` ones.
    """
    if scheduled:
        schedule_many(scheduled, timezone.now() + timedelta(days=1))
    job: Job = Note("x" * size) if size else Nothing()
    for _ in range(50):  # warm up
        first = job_scheduler.enqueue(job) + 1
    figures = {SINGLE: rate(single, lambda: job_scheduler.enqueue(job))}
    figures[MANY] = rate(many // call, lambda: job_scheduler.enqueue_many([job] * call)) * call
    last = JobRecord.objects.aggregate(last=Max("pk"))["last"]
    with scheduling() as scheduler, running(*workforce.worker(processes)) as worker:
        figures |= drain(first, last, worker, scheduler)
        if paced:
            figures |= latency(paced)
        if delayed:
            figures |= lateness(delayed)
        figures["messages that recovery had to send"] = scheduler.log.read_text().count("published ")
    return figures


def rate(times: int, work: Callable[[], object]) -> float:
    """How many a second."""
    began = time.perf_counter()
    for _ in range(times):
        work()
    return times / (time.perf_counter() - began)


def drain(first: int, last: int, worker: Managed, scheduler: Managed) -> Figures:
    """Jobs/s from the first start to the last record; CPU ms a job, counted past the first twentieth of the jobs."""
    mark = first + (last - first) // 20
    started = JobRecord.objects.filter(pk=mark, state=State.SUCCEEDED)
    wait_for("the first jobs", started.exists, seconds=workforce.LONG)
    before = [workforce.cpu(workforce.tree(worker, scheduler)), workforce.cpu(workforce.servers())]
    wait_until_recorded(first, last)
    after = [workforce.cpu(workforce.tree(worker, scheduler)), workforce.cpu(workforce.servers())]
    moves = JobHistory.objects.filter(job_id__gte=first, job_id__lte=last)
    times = moves.filter(to_state=State.PROCESSING).aggregate(began=Min("at")) | moves.filter(
        to_state=State.SUCCEEDED
    ).aggregate(ended=Max("at"))
    ran = moves.filter(to_state=State.SUCCEEDED)
    late = ran.filter(at__gt=ran.filter(job_id=mark).values("at")).count()
    ms = [(end - begin) * 1_000 / late for begin, end in zip(before, after, strict=True)]
    return {
        DRAIN: (last - first + 1) / (times["ended"] - times["began"]).total_seconds(),
        "workers and scheduler, CPU ms a job": ms[0],
        "servers, CPU ms a job": ms[1],
    }


def latency(count: int) -> Figures:
    """From enqueue to start, ``RATE`` jobs/s on idle workers, by the database's clock."""
    ids = []
    for _ in range(count):
        ids.append(job_scheduler.enqueue(Nothing()))
        time.sleep(1 / RATE)
    wait_until_recorded(ids[0], ids[-1])
    rows = JobHistory.objects.filter(job_id__in=ids, to_state=State.PROCESSING)
    return percentiles("enqueue to start", [row.data["latency_seconds"] for row in rows if row.data])


def lateness(count: int) -> Figures:
    """From the due time to the start of jobs that are scheduled, ``RATE`` a second, by the database's clock."""
    begin = timezone.now() + timedelta(seconds=1)
    ids = [job_scheduler.schedule(Nothing(), begin + timedelta(seconds=n / RATE)) for n in range(count)]
    due = dict(JobRecord.objects.filter(pk__in=ids).values_list("pk", "run_at"))
    wait_until_recorded(ids[0], ids[-1])
    rows = JobHistory.objects.filter(job_id__in=ids, to_state=State.PROCESSING)
    late = [(row.at - at).total_seconds() for row in rows if (at := due[row.job_id]) is not None]
    return percentiles("due to start", late) | {"due to start, earliest, ms": min(late) * 1_000}
