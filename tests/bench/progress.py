"""What ``run.progress`` for each row costs a run, and a line that is logged."""

from __future__ import annotations

from handlers import job_scheduler
from handlers.models import JobRecord
from tests.app.runs import Rows
from tests.bench.places import Figures
from tests.bench.workforce import running, wait_until_recorded, worker


def progress(*, seconds: float = 4.0, turns: int = 3) -> Figures:
    """The share of a run's time that it takes, of runs in turns with and without."""
    with running(*worker(1)):
        told = plain = 0
        for _ in range(turns):
            for tells in (True, False):
                job_id = int(job_scheduler.enqueue(Rows(seconds, tells)))
                wait_until_recorded(job_id, job_id)
                rows = int(str(JobRecord.objects.get(pk=job_id).result))
                told, plain = (told + rows, plain) if tells else (told, plain + rows)
    return {
        "rows a second, plain": plain / seconds / turns,
        "rows a second, each with progress": told / seconds / turns,
        "progress for each row, share of a run's time": 1 - told / plain,
    }
