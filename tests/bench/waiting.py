"""Jobs that wait, as for another service, many at once in each worker process."""

from __future__ import annotations

import time
from contextlib import ExitStack
from datetime import datetime

from django.db.models import Max, Min

from handlers import Job, job_scheduler
from handlers.models import JobHistory, JobPayload, JobRecord
from handlers.states import State
from tests.app.coroutines import Doze, Wait
from tests.app.jobs import Nothing
from tests.bench import workforce
from tests.bench.load import RATE, latency
from tests.bench.places import Figures
from tests.bench.workforce import running, scheduling, wait_until_recorded
from tests.processes import wait_for

DRAINED, LIMIT = "jobs/s", "of the limit"
WORKERS, SERVERS = "workers and scheduler, CPU ms a job", "servers, CPU ms a job"


def waiting(*, count: int, slots: int, threads: bool = False, seconds: float = 0.05, processes: int = 2) -> Figures:
    """``drained``, each figure by a name that says of what it is."""
    kind = "sync jobs on threads" if threads else "async jobs"
    name = f"{count:,} {kind} of {seconds * 1_000:.0f} ms, {slots:,} at once in each of {processes}"
    figures = drained(count=count, slots=slots, threads=threads, seconds=seconds, processes=processes)
    return {f"{name}, {figure}": value for figure, value in figures.items()}


def drained(*, count: int, slots: int, threads: bool = False, seconds: float = 0.05, processes: int = 2) -> Figures:
    """A recorded drain of ``count`` jobs that wait so long each, ``slots`` at once in each process, async or sync."""
    ids = enqueue(Doze(seconds) if threads else Wait(seconds), count)
    with scheduling() as scheduler, running(*workforce.worker(processes), *option(slots, threads=threads)) as worker:
        mark = ids[len(ids) // 20]
        wait_for("the first", JobRecord.objects.filter(pk=mark, state=State.SUCCEEDED).exists, seconds=workforce.LONG)
        done = JobRecord.objects.filter(pk__gte=ids[0], state=State.SUCCEEDED).count()
        before = [workforce.cpu(workforce.tree(worker, scheduler)), workforce.cpu(workforce.servers())]
        wait_until_recorded(ids[0], ids[-1])
        after = [workforce.cpu(workforce.tree(worker, scheduler)), workforce.cpu(workforce.servers())]
    began, ended = span(ids[0], ids[-1])
    rate = count / (ended - began).total_seconds()
    ms = [(end - begin) * 1_000 / (count - done) for begin, end in zip(before, after, strict=True)]
    return {DRAINED: rate, LIMIT: rate / (slots * processes / seconds), WORKERS: ms[0], SERVERS: ms[1]}


def option(slots: int, *, threads: bool = False) -> tuple[str, str]:
    """The worker's, for so many at once."""
    return ("--threads" if threads else "--max-async", str(slots))


def enqueue(job: Job, count: int) -> list[int]:
    """So many of it; their ids."""
    return [
        int(job_id)
        for n in range(0, count, 1_000)
        for job_id in job_scheduler.enqueue_many([job] * min(1_000, count - n))
    ]


def span(first: int, last: int) -> tuple[datetime, datetime]:
    """From the first start to the last record."""
    moves = JobHistory.objects.filter(job_id__gte=first, job_id__lte=last)
    began = moves.filter(to_state=State.PROCESSING).aggregate(at=Min("at"))["at"]
    ended = moves.filter(to_state=State.SUCCEEDED).aggregate(at=Max("at"))["at"]
    return began, ended


def held(*, slots: int, seconds: float = 5.0) -> Figures:
    """What a job that waits holds of its process's memory."""
    with running(*workforce.worker(1), *option(slots)) as worker:
        wait_all(enqueue(Wait(0.01), 2 * slots))  # what is made once is there
        [child] = worker.children()
        before = child.memory_full_info().pss
        ids = enqueue(Wait(seconds), slots)
        wait_for("all wait", lambda: in_flight(ids) == slots, seconds=workforce.LONG)
        each = (child.memory_full_info().pss - before) / slots / 1_024
        wait_all(ids)
    return {f"a waiting async job, of {slots:,} at once, PSS KiB": each}


def grown(*, count: int, slots: int) -> Figures:
    """How much a process grows over so many async jobs."""
    with running(*workforce.worker(1), *option(slots)) as worker:
        wait_all(enqueue(Wait(0.001), count // 10))
        [child] = worker.children()
        before = child.memory_full_info().pss
        wait_all(enqueue(Wait(0.001), count))
        each = (child.memory_full_info().pss - before) / 2**20
    return {f"a process's growth over {count:,} async jobs, PSS MiB": each}


def beside(*, slow: int, paced: int) -> Figures:
    """Enqueue to start of jobs that come one by one, alone and while so many slow ones run in the same process."""
    with running(*workforce.worker(1), *option(slow + 50)):
        wait_all(enqueue(Nothing(), 100))
        alone = latency(paced)
        ids = enqueue(Wait(paced / RATE + 30), slow)
        wait_for("the slow ones run", lambda: in_flight(ids) == slow, seconds=workforce.LONG)
        others = latency(paced)
        job_scheduler.delete_many(ids)
    return {f"{name}, alone": value for name, value in alone.items()} | {
        f"{name}, beside {slow} slow jobs": value for name, value in others.items()
    }


def killed(*, slots: int, supervisor: bool = False) -> Figures:
    """Seconds from SIGKILL to both worker processes, whose slots are full, until all of their jobs have run again.

    ``supervisor``: it dies with them, and another worker is started at once.
    """
    worker = *workforce.worker(2), *option(slots)
    with ExitStack() as stack:
        stack.enter_context(scheduling())
        started = stack.enter_context(running(*worker))
        ids = enqueue(Wait(0.05), slots)
        wait_all(ids)
        ids = enqueue(Wait(2.0), 2 * slots)
        wait_for("all run", lambda: in_flight(ids) == 2 * slots, seconds=workforce.LONG)
        JobPayload.objects.filter(job_id__in=ids).update(data={"seconds": 0.05})  # next time they are as short
        died = time.perf_counter()
        if supervisor:
            started.kill_all()
            stack.enter_context(running(*worker))
        else:
            for child in started.children():
                child.kill()
        wait_all(ids)
        took = time.perf_counter() - died
    rows = JobRecord.objects.filter(pk__in=ids)
    name = f"worker processes{' and their supervisor' if supervisor else ''} killed with {2 * slots} jobs in flight"
    return {
        f"{name}, until all have run again, s": took,
        f"{name}, counted as crashes": rows.filter(crashes__gt=0).count(),
    }


def in_flight(ids: list[int]) -> int:
    """How many of the jobs are claimed."""
    return JobRecord.objects.filter(pk__gte=ids[0], pk__lte=ids[-1], state=State.PROCESSING).count()


def wait_all(ids: list[int]) -> None:
    """Wait until all have succeeded."""
    wait_until_recorded(ids[0], ids[-1])
