"""A job that many wait for, and one that waits for them all, beside as many jobs that wait for nothing."""

from __future__ import annotations

import time
from datetime import datetime

import psutil
from django.db.models import Max, Min

from handlers import job_scheduler
from handlers.models import JobHistory, JobRecord, WorkflowNode
from handlers.states import State
from tests.app.jobs import Nothing
from tests.bench import workforce
from tests.bench.places import Figures
from tests.bench.workforce import running
from tests.processes import wait_for

CHUNK = 1_000


def fan(*, count: int) -> Figures:
    """Jobs a second, made and run by two processes: plain ones, and the same between one root and one end."""
    began = time.perf_counter()
    ids = [job_id for _ in range(0, count, CHUNK) for job_id in job_scheduler.enqueue_many([Nothing()] * CHUNK)]
    made = time.perf_counter() - began
    ran = drained(ids[0], ids[-1], ids[-1])
    began = time.perf_counter()
    with job_scheduler.workflow() as flow:
        root = flow.enqueue(Nothing())
        middle = [node for _ in range(0, count, CHUNK) for node in flow.enqueue_many([Nothing()] * CHUNK, after=root)]
        end = flow.enqueue(Nothing(), after=middle)
    made_as_flow = time.perf_counter() - began
    ran_as_flow = drained(root.job_id, end.job_id, end.job_id)
    ended = JobHistory.objects.filter(job_id__gt=root.job_id, job_id__lt=end.job_id, to_state=State.SUCCEEDED)
    last: datetime = ended.aggregate(at=Max("at"))["at"]
    started = JobHistory.objects.get(job_id=end.job_id, to_state=State.PROCESSING).at
    return {
        "fan-out and fan-in, made, jobs/s": count / made_as_flow,
        "fan-out and fan-in, run, jobs/s": count / ran_as_flow,
        "fan-out and fan-in, made, over plain": made / made_as_flow,
        "fan-out and fan-in, made and run, over plain": (made + ran) / (made_as_flow + ran_as_flow),
        "last of many ended, to the start of the one that waits for them, ms": (started - last).total_seconds() * 1_000,
    }


def streamed(*, count: int) -> Figures:
    """A workflow of so many, made of jobs of which nobody keeps any, and run by two processes; its end waits for all.

    Memory is what the process that makes them has grown by when it is done, over what it had after the first tenth.
    """
    ours, began, before = psutil.Process(), time.perf_counter(), 0.0
    with job_scheduler.workflow(on_end=Nothing()) as flow:
        for number in range(0, count, CHUNK):
            if number == count // 10:
                before = ours.memory_full_info().pss
            flow.enqueue_many(Nothing() for _ in range(CHUNK))
        grown = ours.memory_full_info().pss - before
    made = time.perf_counter() - began
    first, last = WorkflowNode.span(flow.workflow_id)
    ran = drained(first, last, last)  # the last one is that of the end
    return {
        "a workflow streamed, made, jobs/s": count / made,
        "a workflow streamed, run, jobs/s": count / ran,
        "a workflow streamed, growth while it is made, PSS MiB": grown / 2**20,
    }


def drained(first: int, last: int, final: int) -> float:
    """Seconds from the first start to the last record; the workers start with all of it waiting."""
    ours = JobRecord.objects.filter(pk__gte=first, pk__lte=last)
    with running(*workforce.worker()):
        done = JobRecord.objects.filter(pk=final, state=State.SUCCEEDED)
        wait_for("the last job", done.exists, seconds=workforce.LONG)
        wait_for("all", lambda: not ours.exclude(state=State.SUCCEEDED).exists(), seconds=workforce.LONG)
    moves = JobHistory.objects.filter(job_id__gte=first, job_id__lte=last)
    began: datetime = moves.filter(to_state=State.PROCESSING).aggregate(at=Min("at"))["at"]
    ended: datetime = moves.filter(to_state=State.SUCCEEDED).aggregate(at=Max("at"))["at"]
    return (ended - began).total_seconds()
