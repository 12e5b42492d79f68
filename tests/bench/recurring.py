"""Recurring jobs: how fast occurrences are fired, and how soon their jobs start when many are due in one minute."""

from __future__ import annotations

import time
from datetime import timedelta

from django.db.models import Min
from django.utils import timezone

from handlers import job_scheduler
from handlers.models import JobHistory, JobRecord, Occurrence, RecurringJob
from handlers.recurrence import firing
from handlers.states import State
from tests.app.jobs import Nothing
from tests.bench import workforce
from tests.bench.places import Figures
from tests.bench.workforce import running, scheduling
from tests.processes import wait_for


def add(count: int, cron: str | None = None, *, every: timedelta | None = None, prefix: str = "") -> None:
    """So many recurring jobs of one rule."""
    for n in range(count):
        job_scheduler.add_or_update_recurring(f"{prefix}{n}", Nothing(), cron, every=every, misfire="each")


def fired(*, count: int, rounds: int = 5) -> Figures:
    """Occurrences a second that one process fires, ``count`` at once due; without what its jobs then cost."""
    add(count, "0 0 1 1 *")
    seconds = 0.0
    for n in range(rounds):
        at = timezone.now().replace(second=0, microsecond=0) - timedelta(hours=n)  # each is another occurrence
        RecurringJob.objects.update(due_at=at, next_at=at, misfire="one")
        began = time.perf_counter()
        jobs = 0
        while found := firing.fire_due().jobs:
            jobs += found
        seconds += time.perf_counter() - began
        assert jobs == count, jobs
    return {"recurring jobs, occurrences fired, each/s": count * rounds / seconds}


def started(*, minute: int, others: int) -> Figures:
    """Milliseconds from due to start, ``minute`` of them spread over each minute, beside others; two schedulers."""
    add(others, "0 0 1 1 *", prefix="other ")
    for n in range(minute):
        job_scheduler.add_or_update_recurring(f"due {n}", Nothing(), f"{n * 60 // minute} * * * * *", misfire="each")
    with scheduling(), running("scheduler"), running(*workforce.worker()):
        wait_for("the schedulers' first", lambda: Occurrence.objects.count() > 50, seconds=workforce.LONG)
        since = timezone.now()
        time.sleep(45)
        until = timezone.now() - timedelta(seconds=2)
    rows = Occurrence.objects.filter(due_at__range=(since, until)).values_list("due_at", "job_id")
    dues = {job_id: due for due, job_id in rows}
    starts = (
        JobHistory.objects.filter(to_state=State.PROCESSING, job_id__in=dues).values("job_id").annotate(at=Min("at"))
    )
    late = sorted((each["at"] - dues[each["job_id"]]).total_seconds() * 1_000 for each in starts)
    assert len(late) == len(dues), (len(late), len(dues))
    assert JobRecord.objects.count() == Occurrence.objects.filter(job_id__isnull=False).count()
    name = f"recurring jobs, {minute:,} a minute of {minute + others:,}, due to start"
    return {
        f"{name}, p50 ms": late[len(late) // 2],
        f"{name}, p99 ms": late[len(late) * 99 // 100],
    }


def at_once(*, count: int) -> Figures:
    """Milliseconds from due to start of recurring jobs that are all due at one moment."""
    add(count, "* * * * *")
    with scheduling(), running("scheduler"), running(*workforce.worker()):
        wait_for("a minute", lambda: Occurrence.objects.count() >= count, seconds=workforce.LONG)
        wait_for(
            "their runs",
            lambda: JobRecord.objects.filter(state=State.SUCCEEDED).count() >= count,
            seconds=workforce.LONG,
        )
    dues = {job_id: due for due, job_id in Occurrence.objects.values_list("due_at", "job_id")}
    starts = JobHistory.objects.filter(to_state=State.PROCESSING).values("job_id").annotate(at=Min("at"))
    late = sorted((each["at"] - dues[each["job_id"]]).total_seconds() * 1_000 for each in starts)
    name = f"recurring jobs, {count:,} due at one moment, due to start"
    return {
        f"{name}, p50 ms": late[len(late) // 2],
        f"{name}, p99 ms": late[len(late) * 99 // 100],
    }
