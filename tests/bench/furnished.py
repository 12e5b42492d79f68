"""What a site has beside its jobs, as big as the site: recurring jobs, people, rules, policies, workflows, an audit."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db import connection, transaction
from django.utils import timezone

from dashboard.models import SavedView
from handlers.models import (
    AlertIncident,
    AlertRule,
    AuditEntry,
    BulkOperation,
    FailureGroup,
    JobRecord,
    Occurrence,
    PolicyAssignment,
    RecurringJob,
    StoredPolicy,
    Workflow,
)
from tests.bench.sites import Site

OCCURRENCES = 240_000  # of all recurring jobs together
ZONES = ("Europe/Berlin", "America/New_York", "Asia/Kolkata", "UTC")
TYPE = "seed.Type024"  # has failed at every size


def furnish(site: Site, jobs: int) -> None:
    """Make what is missing; what is told by the time of day is made anew."""
    now = timezone.now()
    _recurring(site, now)
    made: list[tuple[Any, Callable[[], None]]] = [
        (User, lambda: _people(site)),
        (StoredPolicy, lambda: _policies(site, now)),
        (AlertRule, lambda: _alerts(site, now)),
        (AuditEntry, lambda: _audit(jobs // 100, now)),
        (BulkOperation, lambda: _bulk(now)),
        (SavedView, lambda: _views(now)),
        (Workflow, lambda: _workflow(jobs // 10, now)),
    ]
    with transaction.atomic():
        for model, make in made:
            if not model.objects.exists():
                make()


def _recurring(site: Site, now: datetime) -> None:
    """A thousand of them each minute; the last occurrences were jobs that there are."""
    Occurrence.objects.all()._raw_delete("default")
    RecurringJob.objects.all()._raw_delete("default")
    made_up = JobRecord.objects.filter(job_type__startswith="seed.").order_by("-pk")
    jobs = list(made_up.values_list("pk", flat=True)[:OCCURRENCES])
    rules = [(f"each minute {n}", f"{n * 60 // 1_000} * * * * *") for n in range(1_000)]
    rules += [(f"daily {n}", f"{n % 60} {n // 60 % 24} * * *") for n in range(site.recurring - 1_000)]
    rows = [
        RecurringJob(
            name=name, job_type=TYPE, data={"order_id": n}, cron=cron, zone=ZONES[n % 4], created_at=now,
            changed_at=now, due_at=now + timedelta(days=1), next_at=now + timedelta(days=1), last_at=now,
            last_job_id=jobs[n % len(jobs)], fired=12,
        )
        for n, (name, cron) in enumerate(rules)
    ]  # fmt: skip
    RecurringJob.objects.bulk_create(rows, batch_size=1_000)
    occurrences = (
        Occurrence(
            recurring=row, due_at=now - timedelta(hours=hour), fired_at=now - timedelta(hours=hour), how="due",
            job_id=jobs[(n + hour) % len(jobs)],
        )
        for n, row in enumerate(rows)
        for hour in range(OCCURRENCES // len(rows))
    )  # fmt: skip
    Occurrence.objects.bulk_create(occurrences, batch_size=5_000)


def _people(site: Site) -> None:
    User.objects.bulk_create(User(username=f"person{n:03d}", is_staff=True) for n in range(site.workers // 2))


def _policies(site: Site, now: datetime) -> None:
    """A fiftieth as many as types, each followed by ten of them."""
    stored = [
        StoredPolicy(name=f"policy {n}", max_attempts=3 + n % 20, delay_seconds=10 + n, updated_at=now)
        for n in range(site.types // 50)
    ]
    StoredPolicy.objects.bulk_create(stored)
    PolicyAssignment.objects.bulk_create(
        PolicyAssignment(job_type=f"seed.Type{place * 10 + n:03d}", policy=policy)
        for place, policy in enumerate(stored)
        for n in range(10)
    )


def _alerts(site: Site, now: datetime) -> None:
    """A rule for each tenth queue, each with something that is wrong and ten things that were."""
    rules = [
        AlertRule(
            name=f"lane {n} waits", kind="wait", queue=f"lane-{n * 10:03d}", threshold=300, emails=["ops@example.com"],
            created_at=now, changed_at=now, looked_at=now,
        )
        for n in range(site.queues // 10)
    ]  # fmt: skip
    AlertRule.objects.bulk_create(rules)
    AlertIncident.objects.bulk_create(
        AlertIncident(
            rule=rule, key=rule.queue, words=f"the oldest job on {rule.queue} waits for {hours} h",
            began_at=now - timedelta(hours=hours + 1), seen_at=now - timedelta(hours=hours),
            ended_at=now - timedelta(hours=hours) if hours else None, told_at=now,
        )
        for rule in rules
        for hours in range(10, -1, -1)
    )  # fmt: skip


def _audit(number: int, now: datetime) -> None:
    verbs = ("retry", "requeue", "delete", "pause_queue", "resume_queue", "start_bulk")
    AuditEntry.objects.bulk_create(
        (
            AuditEntry(
                at=now - timedelta(seconds=20 * (number - n)), username=f"person{n % 50:03d}", verb=verbs[n % 6],
                target=f"job {n}" if n % 6 < 3 else f"queue lane-{n % 50:03d}", count=1, data={"asked": 1},
            )
            for n in range(number)
        ),
        batch_size=5_000,
    )  # fmt: skip


def _bulk(now: datetime) -> None:
    BulkOperation.objects.bulk_create(
        BulkOperation(
            verb="retry", selection={"states": ["failed"]}, upper_id=1_000, count=100, state="paused" if n % 50 else
            "done", created_at=now - timedelta(minutes=300 - n), username="person001", moved=60, progressed_at=now,
            note="a person paused it" if n % 50 else "",
        )
        for n in range(300)
    )  # fmt: skip


def _views(now: datetime) -> None:
    SavedView.objects.bulk_create(
        SavedView(
            person=str(n), person_name=f"person{n:03d}", name=f"view {n}", query=f"state=failed&queue=lane-{n:03d}",
            is_shared=True, saved_at=now,
        )
        for n in range(40)
    )  # fmt: skip


def _workflow(nodes: int, now: datetime) -> None:
    """The oldest jobs: one for which all others wait, and one that waits for them."""
    first = JobRecord.objects.order_by("pk").values_list("pk", flat=True)[0]
    last = first + nodes - 1
    ended = "CASE WHEN state IN ('succeeded', 'failed', 'deleted') THEN state ELSE '' END"
    with connection.cursor() as cursor:
        flow = Workflow.objects.create(title="The whole stock", created_at=now, total=nodes)
        cursor.execute(
            'INSERT INTO jobs_gate (workflow_id, "when", require, total, met, missed, is_open, why)'
            " VALUES (%s, 'ended', 'all', 1, 1, 0, TRUE, ''), (%s, 'ended', 'all', %s, 0, 0, NULL, '')",
            [flow.pk, flow.pk, nodes - 2],
        )
        cursor.execute("SELECT id FROM jobs_gate WHERE workflow_id = %s ORDER BY id", [flow.pk])
        (fan_out,), (fan_in,) = cursor.fetchall()
        cursor.execute(
            f"INSERT INTO jobs_workflownode (job_id, workflow_id, job_type, gate_id, counts, outcome, skip)"
            f" SELECT id, %s, job_type, CASE WHEN id = %s THEN NULL WHEN id = %s THEN CAST(%s AS bigint)"
            f" ELSE CAST(%s AS bigint) END, TRUE, {ended}, FALSE FROM jobs_jobrecord WHERE id BETWEEN %s AND %s",
            [flow.pk, first, last, fan_in, fan_out, first, last],
        )
        cursor.execute(
            f"INSERT INTO jobs_gateparent (gate_id, parent_id, verdict) SELECT CAST(%s AS bigint), id,"
            f" CASE WHEN {ended} = '' THEN '' ELSE 'met' END FROM jobs_jobrecord WHERE id > %s AND id < %s",
            [fan_in, first, last],
        )
        cursor.execute(
            "UPDATE jobs_workflow SET " + ", ".join(
                f"{outcome} = (SELECT COUNT(*) FROM jobs_workflownode WHERE workflow_id = jobs_workflow.id"
                f" AND outcome = '{outcome}')"
                for outcome in ("succeeded", "failed", "deleted")
            ) + " WHERE id = %s",
            [flow.pk],
        )  # fmt: skip
    FailureGroup.objects.filter(pk=FailureGroup.objects.values("pk")[:1]).update(regressed_at=now, state="regressed")
