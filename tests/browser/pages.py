"""Every page of the console, and data that gives each of them something to show."""

from __future__ import annotations

from datetime import timedelta

from django.contrib.auth.models import User
from django.utils import timezone

from handlers import job_scheduler
from handlers.models import AuditEntry, FailureGroup, JobRecord, WorkerProcess
from handlers.states import State
from tests.console.factories import make_job, one_of_each

JOBS = "/admin/jobs/jobrecord/"


def furnish() -> list[JobRecord]:
    """Jobs in every state, a failure group, workers, an audit; the jobs."""
    jobs = one_of_each()
    now = timezone.now()
    job = make_job(State.FAILED)
    JobRecord.objects.filter(pk=job.pk).update(fingerprint="00000000000000aa")
    job.errors.update(fingerprint="00000000000000aa", frame="shop/jobs.py:42 in handle")
    FailureGroup.objects.get_or_create(
        fingerprint="00000000000000aa",
        defaults={
            "exception": "httpx.ConnectError",
            "frame": "shop/jobs.py:42 in handle",
            "message": "connection refused",
            "first_at": now - timedelta(hours=3),
            "last_at": now,
            "count": 7,
            "last_job_id": job.pk,
        },
    )
    for number, kind in enumerate(("worker", "worker", "scheduler")):
        WorkerProcess.objects.get_or_create(
            name=f"host-1.{4411 + number}.0a1b2c",
            defaults={
                "kind": kind,
                "host": "host-1",
                "pid": 4411 + number,
                "queues": ["default"],
                "started_at": now - timedelta(hours=5),
                "heartbeat_at": now,
                "done": 12,
                "failed": 3,
                "memory_bytes": 80_000_000,
            },
        )
    user = User.objects.filter(is_superuser=True).first()
    job_scheduler.pause_queue("default", by=user, reason="gateway is down")
    assert AuditEntry.objects.exists()
    return [*jobs, job]


def every_page() -> list[str]:
    """The addresses of all pages, with those of the jobs that there are."""
    jobs = JobRecord.objects.order_by("pk")
    failed = jobs.filter(state=State.FAILED).last()
    assert failed
    return [
        "/admin/",
        "/admin/?span=7d",
        JOBS,
        f"{JOBS}?state=failed",
        f"{JOBS}?q=nothing-like-this",
        f"{JOBS}?q=nonsense%3A7",
        *(f"{JOBS}{job.pk}/change/" for job in jobs),
        f"{JOBS}{failed.pk}/edit/",
        "/admin/failures/",
        "/admin/bulk/",
        "/admin/bulk/new/?verb=retry&state=failed",
        "/admin/queues/",
        "/admin/workers/",
        "/admin/job-types/",
        "/admin/job-types/app.Note/",
        "/admin/job-types/app.Note/enqueue/",
        "/admin/retry-policies/",
        "/admin/retry-policies/new/",
        "/admin/jobs/auditentry/",
        "/admin/jobs/",
        "/admin/auth/user/",
        "/admin/auth/user/add/",
        "/admin/auth/group/",
        "/admin/auth/group/add/",
        "/admin/password_change/",
    ]
