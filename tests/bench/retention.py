"""Old jobs age out while people look at the console."""

from __future__ import annotations

import os
import statistics
import time
from datetime import datetime, timedelta

from django.test import Client
from django.utils import timezone

from handlers import lifecycle
from handlers.models import JobRecord
from handlers.states import State
from tests.bench.pages import p95, request, signed_in
from tests.bench.places import Figures
from tests.bench.workforce import running
from tests.processes import wait_for

PAGES = {"job list": "/admin/jobs/jobrecord/", "Overview": "/admin/"}
CHUNKS = 100  # timed one by one
DAY = 86_400.0


def retention(old: int, seconds: float) -> Figures:
    """With ``old`` succeeded jobs past their retention: jobs/s that a scheduler erases in ``seconds``, or until done.

    The pages' p95 (ms) before and meanwhile; then ms of a chunk, by itself: p50 and longest.
    """
    ageing = JobRecord.objects.filter(state=State.SUCCEEDED, finished_at__isnull=False).order_by("finished_at", "pk")
    until = ageing.values_list("finished_at", flat=True)[old]
    assert until is not None
    # What becomes too old in the meantime stays, so that it is known how many there are to erase.
    os.environ["BENCH_RETENTION_DAYS"] = str((timezone.now() - until) / timedelta(days=1) + seconds / DAY)
    client = signed_in()
    before = {name: p95([request(client, address) for _ in range(40)]) for name, address in PAGES.items()}
    with running("scheduler"):
        took, rate = watch(client, until, seconds)
    times = []
    for _ in range(CHUNKS):
        began = time.perf_counter()
        lifecycle.age_out(State.SUCCEEDED, before=until + timedelta(hours=1))
        times.append((time.perf_counter() - began) * 1_000)
    return {
        "retention, jobs/s": rate,
        "retention, ms a chunk, p50": statistics.median(times),
        "retention, ms a chunk, longest": max(times),
        **{f"{name} before, p95, ms": value for name, value in before.items()},
        **{f"{name} meanwhile, p95, ms": p95(values) for name, values in took.items()},
    }


def watch(client: Client, until: datetime, seconds: float) -> tuple[dict[str, list[float]], float]:
    """The pages' times while jobs that ended before ``until`` are erased, and how many a second are."""
    ageing = JobRecord.objects.filter(state=State.SUCCEEDED, finished_at__lt=until)
    took: dict[str, list[float]] = {name: [] for name in PAGES}
    all_of_them = ageing.count()
    wait_for("the first chunk", lambda: ageing.count() < all_of_them)
    began, before = time.perf_counter(), ageing.count()
    while time.perf_counter() - began < seconds and ageing.exists():
        for name, address in PAGES.items():
            took[name].append(request(client, address))
        time.sleep(0.2)
    return took, (before - ageing.count()) / (time.perf_counter() - began)
