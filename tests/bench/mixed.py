"""Short jobs beside long ones on another queue: how long all of the short ones take."""

from __future__ import annotations

from django.db.models import Max, Min

from handlers import job_scheduler
from handlers.models import JobHistory
from handlers.states import State
from tests.app.jobs import Nothing, Sleep
from tests.bench import workforce
from tests.bench.places import Figures
from tests.bench.workforce import running, wait_until_recorded


def mixed(*, short: int, long: int, seconds: float, processes: int = 2) -> Figures:
    """Seconds until all of ``short`` no-ops are recorded, from when the workers begin: alone, and beside other jobs.

    Those are ``long`` ones of ``seconds`` each. All are enqueued before the workers start.
    """
    name = f"{short:,} no-ops"
    alone = drained(short, processes)
    others = job_scheduler.enqueue_many([Sleep(seconds)] * long, queue="mail")
    beside = drained(short, processes, others[0])
    return {f"{name} alone, s": alone, f"{name} beside {long} jobs of {seconds} s, s": beside}


def drained(count: int, processes: int, first: int | None = None) -> float:
    """From the first start of any job, from the id ``first`` on, to the last record of ``count`` no-ops."""
    ids = job_scheduler.enqueue_many([Nothing()] * count)
    with running(*workforce.worker(processes)):
        wait_until_recorded(ids[0], ids[-1])
    moves = JobHistory.objects.filter(job_id__gte=ids[0] if first is None else first, job_id__lte=ids[-1])
    began = moves.filter(to_state=State.PROCESSING).aggregate(at=Min("at"))["at"]
    ended = moves.filter(to_state=State.SUCCEEDED, job_id__gte=ids[0]).aggregate(at=Max("at"))["at"]
    return float((ended - began).total_seconds())
