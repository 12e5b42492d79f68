"""The console's pages at size: the server's time and queries, and what an open Overview costs."""

from __future__ import annotations

import gc
import statistics
import time
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import setup_test_environment
from django.utils import timezone

from handlers.models import (
    AlertRule,
    BulkOperation,
    FailureGroup,
    JobRecord,
    RecurringJob,
    WorkerProcess,
    Workflow,
)
from tests.bench.furnished import TYPE
from tests.bench.places import Figures, take_turn
from tests.bench.sites import site

TURNS, REQUESTS = 4, 4  # of a page, and in each turn
ROWS = 5  # jobs of TYPE that failed, at every size: a page of them can be compared
WARM = 2


def signed_in() -> Client:
    """A client of someone who may do everything."""
    setup_test_environment()
    gc.collect()
    gc.freeze()  # as jobsite.wsgi does
    user, _ = User.objects.get_or_create(username="bench", is_staff=True, is_superuser=True)
    client = Client(raise_request_exception=False)
    client.force_login(user)
    return client


def addresses(size: int) -> dict[str, str]:
    """The pages by name; those of one job, one group and the like with the newest there is."""
    made_up = JobRecord.objects.filter(job_type__startswith="seed.").order_by("-pk").values_list("pk", flat=True)
    failed, done, last = made_up.filter(state="failed")[0], made_up.filter(state="succeeded")[0], made_up[0]
    of_type = made_up.filter(state="failed", job_type=TYPE).order_by("pk").values_list("pk", flat=True)
    rest = [*of_type[: ROWS + 1], *[last + 1] * (ROWS + 1)][ROWS]
    group = FailureGroup.objects.values_list("pk", flat=True)[0]
    rule, flow = (model.objects.order_by("pk").values_list("pk", flat=True)[0] for model in (AlertRule, Workflow))
    run = BulkOperation.objects.order_by("-pk").values_list("pk", flat=True)[0]
    jobs = "/admin/jobs/jobrecord/"
    return {
        "Overview": "/admin/",
        "Overview, 7 d": "/admin/?span=7d",
        "Jobs": jobs,
        "Jobs, near the oldest row": f"{jobs}?before={max(last - size + 200, 100)}",
        "Jobs, row 1M or the middle": f"{jobs}?before={last - min(1_000_000, size // 2)}",
        "Jobs, failed": f"{jobs}?state=failed",
        "Jobs, failed of a type": f"{jobs}?state=failed&type={TYPE}",
        "Jobs, failed of a type, oldest": f"{jobs}?state=failed&type={TYPE}&before={rest}",
        "Jobs, succeeded of a type": f"{jobs}?state=succeeded&type=seed.Type007",
        "Jobs, retrying": f"{jobs}?state=retrying",
        "Jobs, enqueued": f"{jobs}?state=enqueued",
        "Jobs, processing": f"{jobs}?state=processing",
        "Jobs, deleted": f"{jobs}?state=deleted",
        "Jobs, of a queue": f"{jobs}?queue=lane-007",
        "Jobs, by argument": f"{jobs}?q=args.order_id:{last - 1234}",
        "Jobs, by error": f"{jobs}?q=error:mail-3",
        "Jobs, by free text": f"{jobs}?q=c1234",
        "Jobs, by correlation": f"{jobs}?q=correlation:order-{(last - 2000) // 50}",
        "Jobs, of a group": f"{jobs}?q=group:{group}",
        "Job, failed": f"{jobs}{failed}/change/",
        "Job, succeeded": f"{jobs}{done}/change/",
        "Views": "/admin/jobs/views/",
        "Failures": "/admin/failures/",
        "Failures, by what is failed now": "/admin/failures/?state=all&sort=failed",
        "One failure group": f"/admin/failures/{group}/",
        "Workflows": "/admin/workflows/",
        "Workflow": f"/admin/workflows/{flow}/",
        "Sagas": "/admin/sagas/",
        "Limits": "/admin/limits/",
        "Limit": "/admin/limits/tenants/",
        "Alerts": "/admin/alerts/",
        "Alert": f"/admin/alerts/{rule}/",
        "Bulk operations": "/admin/bulk/",
        "Bulk operation": f"/admin/bulk/{run}/",
        "New bulk operation, failed": "/admin/bulk/new/?verb=retry&state=failed",
        "Recurring jobs": "/admin/recurring/",
        "Recurring jobs, failing, a name": "/admin/recurring/?state=failing&q=daily 77",
        "Recurring jobs, in the middle": "/admin/recurring/?after=daily 5000",
        "Recurring job": f"/admin/recurring/{RecurringJob.objects.values_list('pk', flat=True)[0]}/",
        "Recurring jobs, the day": "/admin/recurring/day/?day=2031-03-30&zone=Europe/Berlin",
        "Queues": "/admin/queues/",
        "Workers": "/admin/workers/",
        "Job types": "/admin/job-types/",
        "Job type": "/admin/job-types/seed.Type007/",
        "Retry policies": "/admin/retry-policies/",
        "Audit": "/admin/jobs/auditentry/",
        "Users": "/admin/auth/user/",
    }


def pages(size: int) -> Figures:
    """By page, over some requests: the server's ms (p50, p95) and CPU ms, queries, and KiB of the answer."""
    client = signed_in()
    figures: Figures = {}
    for name, address in addresses(size).items():
        take_turn()
        beat(size)
        queries: list[str] = []

        def count(execute: Any, sql: str, *args: Any, seen: list[str] = queries) -> Any:
            seen.append(sql)
            return execute(sql, *args)

        for _ in range(WARM):  # the first reads may come from the disk
            client.get(address)
        with connection.execute_wrapper(count):
            answer = client.get(address)
        if answer.status_code != 200:
            raise SystemExit(f"error: {address} answers {answer.status_code}")
        took: list[float] = []
        cpu = time.process_time()
        for turn in range(TURNS):
            if turn:
                take_turn()
            took += [request(client, address) for _ in range(REQUESTS)]
        figures[name] = {
            "p50, ms": statistics.median(took),
            "p95, ms": p95(took),
            "CPU, ms": (time.process_time() - cpu) / len(took) * 1_000,
            "queries": len(queries),
            "KiB": len(answer.content) / 1024,
        }
    return figures


def request(client: Client, address: str) -> float:
    """The server's ms for one request."""
    began = time.perf_counter()
    client.get(address)
    return (time.perf_counter() - began) * 1_000


def p95(values: list[float]) -> float:
    """The 95th percentile."""
    return statistics.quantiles(values, n=20, method="inclusive")[18]


def beat(size: int, *, ahead: float = 0) -> None:
    """Workers and a scheduler that live. Each worker serves a part of the queues; ten at least serve each queue.

    ``ahead``: seconds by which their clocks are, so that they live for longer.
    """
    now, of = timezone.now() + timedelta(seconds=ahead), site(size)
    lanes, part = of.queues, max(of.queues // (of.workers // 10), 1)
    rows = [
        WorkerProcess(
            name=f"web-{n % (of.workers // 10)}.{4000 + n}.0a1b2c",
            kind="worker" if n else "scheduler",
            host=f"web-{n % (of.workers // 10)}",
            pid=4000 + n,
            queues=[f"lane-{(n * part + lane) % lanes:03d}" for lane in range(part)],
            started_at=now,
            heartbeat_at=now,
            done=1000 * n,
            memory_bytes=80_000_000,
            lag_seconds=None if n else 0.01,
        )
        for n in range(of.workers + 1)
    ]
    WorkerProcess.objects.bulk_create(
        rows, update_conflicts=True, update_fields=["heartbeat_at"], unique_fields=["name"], batch_size=500
    )
