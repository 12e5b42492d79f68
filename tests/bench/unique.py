"""Enqueueing jobs of which there is one at a time, beside others."""

from __future__ import annotations

import time

from handlers import Unique, job_scheduler
from tests.app.jobs import Note
from tests.bench.places import Figures


def unique(*, count: int) -> Figures:
    """Jobs a second that enqueue_many takes, in calls of a thousand: plain, and with a key each."""
    jobs = [[Note(f"{n}") for n in range(start, start + 1_000)] for start in range(0, count, 1_000)]
    rates: dict[str, list[float]] = {"plain": [], "unique": []}
    rules = {"plain": None, "unique": Unique()}
    for turn, some in enumerate(jobs):
        for name in list(rules)[:: 1 if turn % 2 else -1]:
            began = time.perf_counter()
            count = len(job_scheduler.enqueue_many(some, unique=rules[name]))
            rates[name].append(count / (time.perf_counter() - began))
    plain, held = (sorted(rates[name])[len(jobs) // 2] for name in ("plain", "unique"))
    return {
        "enqueue_many, plain, jobs/s": plain,
        "enqueue_many, unique, one key each, jobs/s": held,
        "enqueue_many, unique over plain": held / plain,
    }
