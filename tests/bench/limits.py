"""Draining jobs of which each key may have so many at once, beside the same without a limit."""

from __future__ import annotations

from collections.abc import Callable

from handlers import Job, job_scheduler
from tests.app.jobs import LimitedOfTenant, OfTenant
from tests.bench import load, workforce
from tests.bench.curves import DRAIN
from tests.bench.places import Figures
from tests.bench.workforce import running, scheduling

CALL = 1_000


def limits(*, count: int, keys: int = 100) -> Figures:
    """Jobs/s that workers run of ``count`` that wait, over so many keys: plain, and with ten at once of each key."""
    plain = drained(OfTenant, count, keys)
    limited = drained(LimitedOfTenant, count, keys)
    name = f"drain of {count:,} over {keys} keys"
    return {
        f"{name}, plain, jobs/s": plain[DRAIN],
        f"{name}, limited, jobs/s": limited[DRAIN],
        f"{name}, limited over plain": limited[DRAIN] / plain[DRAIN],
    }


def drained(job: Callable[[int], Job], count: int, keys: int) -> Figures:
    """What the workers make of them, once all are enqueued."""
    ids: list[int] = []
    for start in range(0, count, CALL):
        ids += job_scheduler.enqueue_many([job(n % keys) for n in range(start, start + CALL)])
    with scheduling() as scheduler, running(*workforce.worker()) as worker:
        return load.drain(ids[0], ids[-1], worker, scheduler)
