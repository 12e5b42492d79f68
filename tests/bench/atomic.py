"""Draining jobs that write one row each: with their success in one transaction, sharing commits or not, and plainly."""

from __future__ import annotations

from django.contrib.auth.models import Group

from handlers import Job, job_scheduler
from tests.app.atomic import LoneRow, PlainRow, Row
from tests.bench import load, workforce
from tests.bench.curves import DRAIN
from tests.bench.places import Figures
from tests.bench.workforce import running, scheduling

CALL = 1_000
WAYS: dict[str, type[Job]] = {"plain": PlainRow, "atomic, each with a commit of its own": LoneRow, "atomic": Row}


def rows(*, count: int) -> Figures:
    """Jobs/s that two worker processes run of ``count`` that wait, their CPU and the servers', and the ratios."""
    name = f"drain of {count:,} that write a row"
    found = {way: drained(job, count) for way, job in WAYS.items()}
    figures = {f"{name}, {way}, {what}": value for way, drain in found.items() for what, value in drain.items()}
    plain, alone, shared = (drain["jobs/s"] for drain in found.values())
    return figures | {
        f"{name}, atomic over each with a commit of its own": shared / alone,
        f"{name}, atomic over plain": shared / plain,
    }


def drained(job: type[Job], count: int) -> Figures:
    """What the workers make of them, once all are enqueued; each row is there."""
    Group.objects.all().delete()
    ids: list[int] = []
    for start in range(0, count, CALL):
        ids += job_scheduler.enqueue_many([job(number) for number in range(start, start + CALL)])  # type: ignore[call-arg]
    with scheduling() as scheduler, running(*workforce.worker()) as worker:
        figures = load.drain(ids[0], ids[-1], worker, scheduler)
    assert Group.objects.count() == count
    return {"jobs/s": figures.pop(DRAIN)} | figures
