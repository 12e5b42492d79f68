"""The console's pages at size: server time, queries, export, a bulk retry. Prints a JSON object.

Run by ``tests.bench.console`` with the database in DATABASE_URL, migrated; it is filled with as many jobs as the
argument says, if it is empty.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import django

PATIENCE = 90.0  # seconds


def main() -> None:
    """Fill the database if need be, and measure."""
    django.setup()
    from django.core.management import call_command
    from django.test.utils import setup_test_environment

    from handlers.models import JobRecord

    setup_test_environment()
    size, bulk = int(sys.argv[1]), "bulk" in sys.argv
    call_command("migrate", verbosity=0)
    if not JobRecord.objects.exists():
        call_command("seed_jobs", size, types=200, stdout=sys.stderr)
    figures: dict[str, Any] = {"pages": pages(size), "export": export()}
    if bulk:
        figures["bulk"] = bulk_retry()
    print(json.dumps(figures))


def signed_in() -> Any:
    """A client of someone who may do everything."""
    from django.contrib.auth.models import User
    from django.test import Client

    user, _ = User.objects.get_or_create(username="bench", is_staff=True, is_superuser=True)
    client = Client(raise_request_exception=False)
    client.force_login(user)
    return client


def addresses(size: int) -> dict[str, str]:
    """The pages by name; those of one job, one group and the like with the newest there is."""
    from handlers.models import FailureGroup, JobRecord

    failed = JobRecord.objects.filter(state="failed").order_by("-pk").values_list("pk", flat=True)[0]
    done = JobRecord.objects.filter(state="succeeded").order_by("-pk").values_list("pk", flat=True)[0]
    last = JobRecord.objects.order_by("-pk").values_list("pk", flat=True)[0]
    group = FailureGroup.objects.values_list("pk", flat=True)[0]
    jobs = "/admin/jobs/jobrecord/"
    return {
        "Overview": "/admin/",
        "Overview, 7 d": "/admin/?span=7d",
        "Jobs": jobs,
        "Jobs, near the oldest row": f"{jobs}?before={max(last - size + 200, 100)}",
        "Jobs, row 1M or the middle": f"{jobs}?before={last - min(1_000_000, size // 2)}",
        "Jobs, failed": f"{jobs}?state=failed",
        "Jobs, failed of a type": f"{jobs}?state=failed&type=seed.Type124",
        "Jobs, succeeded of a type": f"{jobs}?state=succeeded&type=seed.Type007",
        "Jobs, retrying": f"{jobs}?state=retrying",
        "Jobs, enqueued": f"{jobs}?state=enqueued",
        "Jobs, processing": f"{jobs}?state=processing",
        "Jobs, deleted": f"{jobs}?state=deleted",
        "Jobs, of a queue": f"{jobs}?queue=lane-07",
        "Jobs, by argument": f"{jobs}?q=args.order_id:{last - 1234}",
        "Jobs, by error": f"{jobs}?q=error:mail-3",
        "Jobs, by free text": f"{jobs}?q=c1234",
        "Jobs, by correlation": f"{jobs}?q=correlation:order-{(last - 2000) // 50}",
        "Jobs, of a group": f"{jobs}?q=group:{group}",
        "Job, failed": f"{jobs}{failed}/change/",
        "Job, succeeded": f"{jobs}{done}/change/",
        "Failures": "/admin/failures/",
        "Bulk operations": "/admin/bulk/",
        "New bulk operation, failed": "/admin/bulk/new/?verb=retry&state=failed",
        "Queues": "/admin/queues/",
        "Workers": "/admin/workers/",
        "Job types": "/admin/job-types/",
        "Job type": "/admin/job-types/seed.Type007/",
        "Retry policies": "/admin/retry-policies/",
        "Audit": "/admin/jobs/auditentry/",
        "Users": "/admin/auth/user/",
    }


def pages(size: int, rounds: int = 25) -> dict[str, dict[str, float]]:
    """Of each page the server's milliseconds (p50, p95) and its queries."""
    from django.db import connection

    client = signed_in()
    figures = {}
    for name, address in addresses(size).items():
        beat()
        queries = 0

        def count(execute: Any, *args: Any) -> Any:
            nonlocal queries
            queries += 1
            return execute(*args)

        with connection.execute_wrapper(count):
            answer = client.get(address)
        if answer.status_code != 200:
            figures[name] = {"p50": float("nan"), "p95": float("nan"), "queries": 0, "status": answer.status_code}
            continue
        took, cpu = [], time.process_time()
        for _ in range(rounds):
            began = time.perf_counter()
            client.get(address)
            took.append((time.perf_counter() - began) * 1000)
        cpu = (time.process_time() - cpu) / rounds * 1000
        figures[name] = {
            "p50": statistics.median(took),
            "p95": sorted(took)[int(rounds * 0.95)],
            "cpu": cpu,
            "queries": queries,
            "kib": len(answer.content) / 1024,
        }
    return figures


def beat() -> None:
    """A hundred workers and a scheduler that live."""
    from django.utils import timezone

    from handlers.models import WorkerProcess

    now = timezone.now()
    rows = [
        WorkerProcess(
            name=f"web-{n % 10}.{4000 + n}.0a1b2c",
            kind="worker" if n else "scheduler",
            host=f"web-{n % 10}",
            pid=4000 + n,
            queues=[f"lane-{lane:02d}" for lane in range(50)],
            started_at=now,
            heartbeat_at=now,
            done=1000 * n,
            memory_bytes=80_000_000,
            lag_seconds=None if n else 0.01,
        )
        for n in range(101)
    ]
    WorkerProcess.objects.bulk_create(
        rows, update_conflicts=True, update_fields=["heartbeat_at"], unique_fields=["name"]
    )


def export() -> dict[str, float]:
    """Stream 100,000 jobs as CSV: seconds, and by how many MiB the process grew."""
    answer = signed_in().get("/admin/jobs/export/?format=csv")
    if answer.status_code != 200:
        return {"status": answer.status_code}
    rows = iter(answer)
    for _ in range(20):  # what the first chunks load stays
        next(rows, None)
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    lines = 0
    for part in rows:
        lines += part.count(b"\n")
        if lines >= 100_000:
            break
    answer.close()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return {"rows": lines, "seconds": time.perf_counter() - began, "grown_mib": grown}


def bulk_retry() -> dict[str, float]:
    """Retry 100,000 failed jobs with real workers: seconds, and the Overview's p95 (ms) meanwhile."""
    from django.contrib.auth.models import User

    from handlers import job_scheduler
    from handlers.models import BulkOperation, JobRecord
    from handlers.selection import Selection
    from tests.processes import ROOT

    client = signed_in()
    ids = list(JobRecord.objects.filter(state="succeeded").order_by("pk").values_list("pk", flat=True)[:100_000])
    for start in range(0, len(ids), 5_000):
        JobRecord.objects.filter(pk__in=ids[start : start + 5_000]).update(state="failed", error="made to fail")
    count = JobRecord.objects.filter(state="failed").count()
    processes = [
        subprocess.Popen(
            [sys.executable, "manage.py", *command], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=sys.stderr
        )
        for command in (["worker", "--queues", "system", "--processes", "1"], ["scheduler"])
    ]
    try:
        operation = job_scheduler.start_bulk(
            "retry", Selection(states=("failed",)), by=User.objects.get(username="bench")
        )
        began, took, moved = time.perf_counter(), [], 0
        while time.perf_counter() - began < PATIENCE:
            at = time.perf_counter()
            client.get("/admin/")
            took.append((time.perf_counter() - at) * 1000)
            row = BulkOperation.objects.get(pk=operation.pk)
            moved = row.moved
            if row.state == "done":
                break
            time.sleep(0.2)
        return {
            "jobs": count,
            "moved": moved,
            "seconds": time.perf_counter() - began,
            "overview_p95": sorted(took)[int(len(took) * 0.95)],
        }
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)


if __name__ == "__main__":
    assert Path("manage.py").exists()
    main()
