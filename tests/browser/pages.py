"""Every page of the console, and data that gives each of them something to show."""

from __future__ import annotations

from datetime import timedelta

from django.contrib.auth.models import Group, Permission, User
from django.utils import timezone

from dashboard.roles import create_roles
from handlers import job_scheduler
from handlers.admission.edits import set_limit
from handlers.alerts import add_rule
from handlers.alerts.edits import Terms
from handlers.api.clients import create_client
from handlers.models import (
    AlertIncident,
    AlertRule,
    ApiClient,
    AttemptLog,
    AuditEntry,
    BulkOperation,
    FailureGroup,
    JobRecord,
    JobSignal,
    JobStep,
    Occurrence,
    RecurringJob,
    RunState,
    SagaRecord,
    SagaTimeout,
    SagaTurn,
    SignalStatus,
    StoredPolicy,
    WorkerProcess,
    Workflow,
    WorkflowNode,
)
from handlers.policy_edits import assign, save_policy
from handlers.selection import Selection
from handlers.states import State
from tests.app.jobs import Note
from tests.console.factories import fail_delivery, make_job, make_saga, one_of_each

JOBS = "/admin/jobs/jobrecord/"
LISTS = (
    "/admin/", JOBS, "/admin/failures/", "/admin/bulk/", "/admin/recurring/", "/admin/workflows/", "/admin/sagas/",
    "/admin/queues/",
    "/admin/workers/", "/admin/limits/", "/admin/retry-policies/", "/admin/alerts/", "/admin/clients/",
    "/admin/jobs/auditentry/", "/admin/jobs/views/",
)  # fmt: skip


def furnish() -> list[JobRecord]:
    """Jobs in every state, a failure group, workers, a policy, a bulk operation, an audit; the jobs."""
    create_roles(Group, Permission)  # which a transactional test before this one took away
    jobs = one_of_each()
    parent = jobs[0]
    make_job(parent_id=parent.pk, correlation="order-7", tags=("nightly", "customer:42"))
    make_job(State.ENQUEUED, queue="gone-queue")  # for which nobody comes
    line = [
        "2026-05-04T07:01:02.345+00:00",
        "WARNING",
        "shop.gateway",
        "slow answer, trying again " + "and again " * 20,
    ]
    AttemptLog.objects.create(job=parent, attempt=1, lines=[line] * 30)
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
    job_scheduler.pause_type("app.Greet", by=user, reason="says the wrong thing")
    policy = save_policy(None, {"name": "mail-slow", "backoff": "linear", "max_attempts": 5}, by=user, reason="new")
    save_policy(policy.pk, {"max_attempts": 8}, by=user, reason="the gateway is down for hours")
    assign("app.Note", policy, by=user)
    create_client("billing", verbs=["enqueue", "read"], types=["app.Note"], by=user, reason="order 7")
    set_limit("tills", concurrency=2, by=user, reason="a second till")
    terms = Terms("mail waits for very long", "wait", threshold=600, emails=["ops@shop.example"])
    AlertIncident.objects.create(
        rule=add_rule(terms, by=user), key="mail", words="mail: 2,140 waiting, the oldest for 12 min", path="queues/",
        began_at=now, seen_at=now,
    )  # fmt: skip
    job_scheduler.start_bulk(
        "retry", Selection.parse("type:app.Note state:failed"), by=user, reason="gateway is back", canary=1
    )
    job_scheduler.add_or_update_recurring(
        "nightly report", Note("it"), "30 2 * * *", timezone="Europe/Berlin", jitter=timedelta(minutes=20), by=user,
        reason="asked for by sales",
    )  # fmt: skip
    job_scheduler.add_or_update_recurring("paused", Note("it"), every=timedelta(seconds=20), by=user)
    job_scheduler.pause_recurring("paused", by=user, reason="gateway is down")
    row = RecurringJob.objects.get(name="nightly report")
    for place, one in enumerate([*jobs, None]):
        due = now - timedelta(days=place + 1)
        Occurrence.objects.create(
            recurring=row, due_at=due, fired_at=due, how="due" if one else "missed", job_id=one.pk if one else None,
            skipped=0 if one else 3,
        )  # fmt: skip
    RecurringJob.objects.filter(pk=row.pk).update(last_at=now, last_job_id=job.pk)
    _furnish_workflows()
    _furnish_sagas()
    _furnish_runs()
    assert AuditEntry.objects.exists()
    return [*jobs, job]


def _furnish_workflows() -> None:
    """One that waits for somebody, one that is over, with all that the page shows."""
    with job_scheduler.workflow("Order 7: " + "a-long-name-without-a-blank" * 4, on_end=Note("over")) as flow:
        first = flow.enqueue(Note("first"))
        failed = flow.enqueue(Note("failed"), after=first)
        flow.enqueue_many([Note("many")] * 9, after=failed)
        flow.enqueue(Note("alarm"), after=[first, failed], when="failure", require="any")
    with job_scheduler.workflow("inner", on_success=Note("done")) as inner:
        inner.enqueue(Note("alone"))
    now = timezone.now()
    for node, state in ((first, State.SUCCEEDED), (failed, State.FAILED)):
        JobRecord.objects.filter(pk=node.job_id).update(state=state, started_at=now, finished_at=now, error="no")
        WorkflowNode.objects.filter(pk=node.job_id).update(outcome=state)
    Workflow.objects.filter(pk=flow.workflow_id).update(failed=1, succeeded=1)
    Workflow.objects.filter(pk=inner.workflow_id).update(
        succeeded=1, skipped=0, finished_at=now, opened_by=first.job_id
    )


def _furnish_sagas() -> None:
    """One that a failed event holds, one that cannot be read, one of which a job failed, and one that is over."""
    now = timezone.now()
    held, unreadable = make_saga("order_id 1"), make_saga("order_id 2", unreadable="state.paid: must be a bool")
    fail_delivery(held, make_job(State.FAILED))
    fail_delivery(unreadable, make_job(State.SCHEDULED))
    job_failed = make_saga("order_id 3")
    failed = make_job(State.FAILED, correlation=job_failed.correlation)
    timeout = make_job(State.SCHEDULED, correlation=job_failed.correlation)
    SagaTimeout.objects.create(saga=job_failed, name="late", job_id=timeout.pk, due_at=now + timedelta(hours=2))
    SagaTurn.objects.create(
        saga=job_failed, at=now, kind="event", name="shop.StockReserved", job_id=make_job(State.SUCCEEDED).pk,
        before={"order_id": 3, "paid": False, "step": "reserve"}, after={"order_id": 3, "paid": True},
        asked=[
            {"do": "send", "type": failed.job_type, "job": failed.pk},
            {"do": "timeout", "name": "late", "job": timeout.pk, "delay": 7200},
            {"do": "cancel", "job": timeout.pk},
        ],
    )  # fmt: skip
    make_saga("order_id 4", stuck_at=None, completed_at=now)


def _furnish_runs() -> None:
    """How far one is that runs, and what one was told that waits."""
    now = timezone.now()
    runs, waits = (JobRecord.objects.filter(state=state)[0] for state in (State.PROCESSING, State.WAITING))
    RunState.objects.create(job=runs, attempt=runs.attempt, done=190, total=412, message="order 7", at=now)
    step = {"attempt": 1, "started_at": now - timedelta(seconds=3)}
    JobStep.objects.create(job=runs, name="mail", finished_at=now, **step)
    JobStep.objects.create(job=runs, name="tills", rows=190, **step)
    JobSignal.objects.create(
        job=waits,
        name="note",
        status=SignalStatus.CAME,
        attempt=1,
        at=now,
        data={"text": "a second till"},
        by="olga",
    )


def every_page() -> list[str]:
    """The addresses of all pages, after ``furnish``."""
    jobs = JobRecord.objects.exclude(queue="system").order_by("pk")
    failed = jobs.filter(state=State.FAILED).last()
    assert failed
    recurring, paused = (
        f"/admin/recurring/{pk}/" for pk in RecurringJob.objects.order_by("name").values_list("pk", flat=True)
    )
    workflow, inner = (f"/admin/workflows/{pk}/" for pk in Workflow.objects.order_by("pk").values_list("pk", flat=True))
    sagas = list(SagaRecord.objects.order_by("pk").values_list("pk", flat=True))
    failed_node = WorkflowNode.objects.get(outcome="failed").pk
    client = f"/admin/clients/{ApiClient.objects.get().pk}/"
    policy = f"/admin/retry-policies/{StoredPolicy.objects.get().pk}/"
    user = f"/admin/auth/user/{User.objects.values_list('pk', flat=True)[0]}/"
    group = f"/admin/auth/group/{Group.objects.values_list('pk', flat=True)[0]}/"
    return [
        "/admin/",
        "/admin/?span=7d",
        "/admin/jobs/ended/?since=2026-05-04T07:00Z&until=2026-05-04T07:15Z",
        JOBS,
        f"{JOBS}?state=failed",
        f"{JOBS}?q=nothing-like-this",
        f"{JOBS}?q=order_id:7",
        f"{JOBS}?q={failed.pk}",
        "/admin/jobs/views/",
        "/admin/jobs/views/new/?query=state%3Dfailed",
        *(f"{JOBS}{job.pk}/change/" for job in jobs),
        f"{JOBS}{failed.pk}/edit/",
        f"{JOBS}{failed.pk}/edit/?raw=1",
        "/admin/failures/",
        "/admin/failures/?type=app.Note",
        "/admin/failures/?state=all&sort=failed",
        "/admin/failures/00000000000000aa/",
        "/admin/bulk/",
        "/admin/bulk/new/?verb=retry&state=failed",
        "/admin/bulk/new/?verb=delete",
        "/admin/bulk/new/?verb=move&queue=default",
        f"/admin/bulk/{BulkOperation.objects.get().pk}/",
        "/admin/recurring/",
        "/admin/recurring/day/?day=2031-03-30&zone=Europe/Berlin",
        "/admin/recurring/new/",
        "/admin/recurring/new/?type=app.Pay",
        recurring,
        paused,
        *(f"{recurring}{what}/" for what in ("edit", "backfill", "delete")),
        "/admin/workflows/",
        "/admin/workflows/?q=nobody",
        workflow,
        f"{workflow}?state=skipped",
        inner,
        f"{workflow}cancel/",
        f"/admin/workflows/jobs/{failed_node}/skip/",
        "/admin/sagas/",
        "/admin/sagas/?state=job",
        *(f"/admin/sagas/{pk}/" for pk in sagas),
        f"/admin/sagas/{sagas[0]}/complete/",
        "/admin/queues/",
        "/admin/workers/",
        "/admin/job-types/",
        "/admin/job-types/app.Note/",
        "/admin/job-types/app.Pay/",
        "/admin/job-types/app.Pay/enqueue/",
        "/admin/clients/",
        "/admin/clients/new/",
        client,
        "/admin/limits/",
        "/admin/limits/tills/",
        "/admin/alerts/",
        "/admin/alerts/new/",
        "/admin/alerts/new/?kind=share",
        f"/admin/alerts/{AlertRule.objects.get().pk}/",
        f"/admin/alerts/{AlertRule.objects.get().pk}/delete/",
        "/admin/retry-policies/",
        "/admin/retry-policies/new/",
        policy,
        f"{policy}delete/",
        "/admin/jobs/auditentry/",
        "/admin/jobs/",
        "/admin/auth/user/",
        "/admin/auth/user/add/",
        f"{user}change/",
        f"{user}password/",
        f"{user}history/",
        f"{user}delete/",
        "/admin/auth/group/",
        "/admin/auth/group/add/",
        f"{group}change/",
        f"{group}delete/",
        "/admin/auth/",
        "/admin/password_change/",
        "/admin/account/",
    ]


def refused_pages() -> list[str]:
    """Addresses that say what is wrong: a filter that cannot be read, a run over nothing, a format that is none."""
    return [
        f"{JOBS}?q=since%3Asoon",
        "/admin/bulk/new/?verb=explode",
        "/admin/jobs/export/?format=exe",
    ]
