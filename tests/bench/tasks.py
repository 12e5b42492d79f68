"""Django's Tasks beside the engine's own jobs: what a call costs, and how fast tasks that do nothing are run."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

from handlers import job_scheduler
from tests.app.jobs import Nothing
from tests.bench import workforce
from tests.bench.curves import DRAIN
from tests.bench.load import drain
from tests.bench.places import Figures
from tests.bench.workforce import running, scheduling

BLOCK = 50  # calls of one kind, before it is the other's turn


def tasks(*, single: int, many: int) -> Figures:
    """Calls a second of ``enqueue`` one at a time, in turns: a task's, and the scheduler's; then ``many`` are run."""
    noop: Any = import_module("tests.app.tasks").noop
    rates: dict[str, list[float]] = {"task": [], "job": []}
    calls: dict[str, Callable[[], object]] = {"task": noop.enqueue, "job": lambda: job_scheduler.enqueue(Nothing())}
    for _ in range(50):  # warm up
        for call in calls.values():
            call()
    for turn in range(single // BLOCK):
        for name in list(calls)[:: 1 if turn % 2 else -1]:
            began = time.perf_counter()
            for _ in range(BLOCK):
                calls[name]()
            rates[name].append(BLOCK / (time.perf_counter() - began))
    task, job = (sorted(rates[name])[len(rates[name]) // 2] for name in ("task", "job"))
    with running(*workforce.worker()):  # what was enqueued so far is not what is measured
        workforce.wait_until_recorded(1, int(noop.enqueue().id))
    results = [
        result for start in range(0, many, 1_000) for result in noop.enqueue_many([()] * min(1_000, many - start))
    ]
    with scheduling() as scheduler, running(*workforce.worker()) as worker:
        drained = drain(int(results[0].id), int(results[-1].id), worker, scheduler)
    return {
        "task.enqueue, one at a time, jobs/s": task,
        "job_scheduler.enqueue beside it, jobs/s": job,
        "task.enqueue over job_scheduler.enqueue": task / job,
        "tasks that do nothing, jobs/s": drained[DRAIN],
    }
