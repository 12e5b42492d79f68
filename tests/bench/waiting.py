"""Jobs that wait, as for another service, many at once in each worker process."""

from __future__ import annotations

import time
from datetime import datetime

from django.db.models import Max, Min

from handlers import Job, job_scheduler
from handlers.models import JobHistory, JobRecord
from handlers.states import State
from tests.app.coroutines import Wait
from tests.bench import workforce
from tests.bench.places import Figures
from tests.bench.workforce import running, scheduling, wait_until_recorded
from tests.processes import wait_for


def waiting(*, count: int, slots: int, seconds: float = 0.05, processes: int = 2) -> Figures:
    """A recorded drain of ``count`` jobs that wait so long each, ``slots`` at once in each process."""
    name = f"{count:,} async jobs of {seconds * 1_000:.0f} ms, {slots} at once in each of {processes}"
    ids = enqueue(Wait(seconds), count)
    options = ("--max-async", str(slots))
    with scheduling() as scheduler, running(*workforce.worker(processes), *options) as worker:
        mark = ids[len(ids) // 20]
        wait_for("the first", JobRecord.objects.filter(pk=mark, state=State.SUCCEEDED).exists, seconds=workforce.LONG)
        done = JobRecord.objects.filter(pk__gte=ids[0], state=State.SUCCEEDED).count()
        before = [workforce.cpu(workforce.tree(worker, scheduler)), workforce.cpu(workforce.servers())]
        wait_until_recorded(ids[0], ids[-1])
        after = [workforce.cpu(workforce.tree(worker, scheduler)), workforce.cpu(workforce.servers())]
    began, ended = span(ids[0], ids[-1])
    rate = count / (ended - began).total_seconds()
    ms = [(end - begin) * 1_000 / (count - done) for begin, end in zip(before, after, strict=True)]
    return {
        f"{name}, jobs/s": rate,
        f"{name}, of the limit": rate / (slots * processes / seconds),
        f"{name}, worker, CPU ms a job": ms[0],
        f"{name}, server, CPU ms a job": ms[1],
    }


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
    """What a job that waits holds of its process's memory, PSS."""
    with running(*workforce.worker(1), "--max-async", str(slots)) as worker:
        wait_until_recorded(*two(enqueue(Wait(0.01), 2 * slots)))  # warm
        [child] = worker.children()
        before = child.memory_full_info().pss
        ids = enqueue(Wait(seconds), slots)
        ours = JobRecord.objects.filter(pk__gte=ids[0], state=State.PROCESSING)
        wait_for("all wait", lambda: ours.count() == slots, seconds=workforce.LONG)
        time.sleep(0.5)
        each = (child.memory_full_info().pss - before) / slots / 1_024
        wait_until_recorded(*two(ids))
    return {f"a waiting async job, of {slots:,} at once, PSS KiB": each}


def two(ids: list[int]) -> tuple[int, int]:
    """The first and the last."""
    return ids[0], ids[-1]
