"""A bulk operation over many jobs, and the console meanwhile."""

from __future__ import annotations

import time

from django.contrib.auth.models import User

from handlers import job_scheduler
from handlers.models import BulkOperation, JobRecord
from handlers.selection import Selection
from tests.bench.pages import p95, request, signed_in
from tests.bench.places import Figures
from tests.bench.workforce import running

PATIENCE = 120.0  # seconds


def retry(count: int) -> Figures:
    """Retry ``count`` failed jobs as a person does, with a real worker: jobs/s; the Overview's p95 (ms) meanwhile."""
    client = signed_in()
    ids = list(JobRecord.objects.filter(state="succeeded").order_by("pk").values_list("pk", flat=True)[:count])
    for start in range(0, len(ids), 5_000):
        JobRecord.objects.filter(pk__in=ids[start : start + 5_000]).update(state="failed", error="made to fail")
    with running("scheduler"), running("worker", "--queues", "system", "--processes", "1"):
        operation = job_scheduler.start_bulk(
            "retry", Selection(states=("failed",)), by=User.objects.get(username="bench")
        )
        began, took, row = time.perf_counter(), [], operation
        while row.state != "done" and time.perf_counter() - began < PATIENCE:
            took.append(request(client, "/admin/"))
            time.sleep(0.2)
            row = BulkOperation.objects.get(pk=operation.pk)
        seconds = time.perf_counter() - began
    return {
        "bulk retry, jobs": row.moved,
        "bulk retry, jobs/s": row.moved / seconds,
        "bulk retry, Overview meanwhile, p95, ms": p95(took),
    }
