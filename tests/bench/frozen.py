"""What callers pay while the queue server accepts connections and answers nothing."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from django.conf import settings

from handlers import job_scheduler
from handlers.models import JobRecord
from tests.app.jobs import Nothing
from tests.bench.places import Figures
from tests.processes import wait_for
from tests.servers import frozen


def calls(times: int, rounds: int = 5) -> Figures:
    """Each verb in turns: ``times`` calls of a server that answers, one that finds it frozen, ``times`` after that.

    The ratio is that of the medians of all rounds.
    """
    verbs = {"enqueue": lambda: job_scheduler.enqueue(Nothing()), "delete": deletion(2 * (times + 1) * rounds)}
    figures: Figures = {}
    for name, verb in verbs.items():
        healthy, first, later = [], [], []
        for _ in range(rounds):
            healthy += [seconds(verb) for _ in range(times)]
            with frozen(settings.JOBS["REDIS_URL"]):
                first.append(seconds(verb))
                later += [seconds(verb) for _ in range(times)]
            wait_for("it is known that the server answers again", lambda: not job_scheduler.transport_trouble())
        figures[f"{name}, the queue server answers, ms"] = statistics.median(healthy) * 1_000
        figures[f"{name}, frozen, the first caller at most, ms"] = max(first) * 1_000
        figures[f"{name}, frozen, later callers / when it answers"] = statistics.median(later) / statistics.median(
            healthy
        )
    return figures


def deletion(most: int) -> Callable[[], object]:
    """Deletes another job with each call."""
    for _ in range(most // 500 + 1):
        job_scheduler.enqueue_many([Nothing()] * 500)
    ids = iter(list(JobRecord.objects.values_list("pk", flat=True)))
    return lambda: job_scheduler.delete(next(ids))


def seconds(verb: Callable[[], object]) -> float:
    """How long it takes."""
    began = time.perf_counter()
    verb()
    return time.perf_counter() - began
