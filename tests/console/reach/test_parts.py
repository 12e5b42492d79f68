"""What a limited role sees of pages that are about more than its jobs: failures, workers, the audit, limits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from handlers import job_scheduler
from handlers.audit import audit
from handlers.models import (
    AuditEntry,
    FailureGroup,
    Gate,
    GateParent,
    JobRecord,
    Occurrence,
    RecurringJob,
    WorkerProcess,
    Workflow,
    WorkflowNode,
)
from handlers.states import State
from tests.console.conftest import logged_in
from tests.console.factories import make_job
from tests.console.reach.sides import FAR, NEAR, NearWork, declared
from tests.console.reach.test_matrix import limited

pytestmark = pytest.mark.django_db

KINDS: dict[str, dict[str, Any]] = {"queue": {"queues": [NEAR]}, "type": {"types": [f"app.{NEAR}"]}}
of_each_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(autouse=True)
def _declared() -> Iterator[None]:
    with declared():
        yield


def lena(kind: str = "queue") -> Client:
    """Somebody who may do everything to the near side's jobs."""
    return logged_in(limited(KINDS[kind]))


def failed(side: str, fingerprint: str, message: str) -> JobRecord:
    """A job of a side that failed so."""
    return make_job(
        State.FAILED, job_type=f"app.{side}", queue=side, fingerprint=fingerprint, message=message,
        exception="shop.CardDeclined", traceback=f"Traceback\n{message}\n", payload={"text": side},
    )  # fmt: skip


def group(fingerprint: str, message: str) -> None:
    """One that jobs of both sides fail by, and whose newest failure is the other side's."""
    now = timezone.now()
    FailureGroup.objects.create(
        pk=fingerprint, first_at=now, last_at=now, exception="shop.CardDeclined", frame="shop/pay.py:4 in pay",
        message=message, count=47_114_711,
    )  # fmt: skip


@of_each_kind
def test_a_group_of_both_sides_is_told_by_the_jobs_within(kind: str) -> None:
    near = [failed(NEAR, "both", f"{NEAR} says no") for _ in range(2)]
    failed(FAR, "both", f"{FAR} says no")
    failed(FAR, "other", f"{FAR} says no")
    group("both", f"{FAR} says no")
    group("other", f"{FAR} says no")
    client = lena(kind)
    page = client.get("/admin/failures/")
    assert [(row.group.pk, row.failed.value) for row in page.context["rows"]] == [("both", 2)]
    html = page.content.decode() + client.get("/admin/failures/both/").content.decode()
    assert FAR not in html
    assert "47114711" not in html.replace(",", "")
    assert f"{NEAR} says no" in html
    for job in near:
        assert f"#{job.pk}" in html
    assert client.get("/admin/failures/other/").status_code == 404
    assert client.post("/admin/failures/both/resolve/", {"reason": "mended"}).status_code == 403


def test_a_worker_of_both_sides_is_told_by_what_it_does_for_one() -> None:
    now = timezone.now()
    ours, others = (make_job(State.PROCESSING, job_type=f"app.{side}", queue=side) for side in (NEAR, FAR))
    runs = [{"job": job.pk, "since": now.isoformat()} for job in (ours, others)]
    for name, queues in (("shared.1", [NEAR, FAR]), (f"{FAR}.1", [FAR])):
        WorkerProcess.objects.create(
            name=name, host="host-1", pid=1, kind="worker", started_at=now, heartbeat_at=now, queues=queues,
            runs=runs, running_sync=2, running_async=0, threads=8, max_async=0, done=47_114_711, failed=8_158_158,
        )  # fmt: skip
    anna = Client()
    anna.force_login(User.objects.create_superuser("anna"))
    whole = anna.get("/admin/workers/").content.decode()
    html = lena().get("/admin/workers/").content.decode()
    assert "shared.1" in html
    assert f"job {ours.pk}" in html
    assert f"job {others.pk}" not in html
    assert "1 busy with 1 job" in html
    for beyond in (FAR, "47,114,711", "8,158,158", "2 of 8"):  # longer than any part of a time
        assert beyond not in html
        assert beyond in whole


def test_the_audit_tells_what_is_about_jobs_within_alone() -> None:
    ours, others = (make_job(State.FAILED, job_type=f"app.{side}", queue=side) for side in (NEAR, FAR))
    audit("olga", "retry", f"job {ours.pk}", 1, "near one", {"asked": 1, "job_ids": [ours.pk]})
    audit("olga", "retry", f"job {others.pk}", 1, "far one", {"asked": 1, "job_ids": [others.pk]})
    audit("olga", "retry", "2 jobs", 2, "far both", {"asked": 2, "job_ids": [ours.pk, others.pk]})
    audit("olga", "retry", "5 jobs", 5, "far unnamed", {"asked": 5, "job_ids": [ours.pk]})
    audit("olga", "retry", "9 jobs", 1, "near of more", {"asked": 9, "job_ids": [ours.pk]})
    audit("olga", "pause_queue", f"queue {NEAR}", 1, "near queue")
    audit("olga", "pause_queue", f"queue {FAR}", 1, "far queue")
    audit("olga", "change_user", "user otto", 1, "far person")
    audit("olga", "mark_deploy", "version 7", 1, "far deploy")
    job_scheduler.add_or_update_recurring("hourly", NearWork(), "0 * * * *", by=None)
    audit("olga", "pause_recurring", "recurring hourly", 1, "near recurring")
    before, after = ({"job_type": f"app.{side}"} for side in (FAR, NEAR))
    audit("olga", "change_recurring", "recurring hourly", 1, "far before", {"before": before, "after": after})
    client = lena()
    page = client.get("/admin/jobs/auditentry/")
    told = [entry.reason for entry in page.context["cl"].result_list]
    assert told == ["near recurring", "near queue", "near of more", "near one"]
    assert "of 9" not in page.content.decode()
    assert "far" not in page.content.decode()
    pages = {
        entry.reason: client.get(f"/admin/jobs/auditentry/{entry.pk}/change/").status_code
        for entry in AuditEntry.objects.filter(username="olga")
    }
    assert {reason for reason, status in pages.items() if status == 200} == set(told)


def test_the_audit_looks_at_so_many_entries_and_goes_on_from_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboard.kit.about.STEP", 10)
    monkeypatch.setattr("dashboard.kit.about.MOST", 20)
    audit("olga", "pause_queue", f"queue {NEAR}", 1, "the one")
    for _ in range(45):
        audit("olga", "pause_queue", f"queue {FAR}", 1, "others")
    client, looks, url = lena(), 0, "/admin/jobs/auditentry/"
    while True:
        page = client.get(url)
        looks += 1
        found = [entry.reason for entry in page.context["cl"].result_list]
        if found:
            break
        url = f"/admin/jobs/auditentry/{page.context['cl'].older_url}"
        assert f'href="{page.context["cl"].older_url}"' in page.content.decode().replace("&amp;", "&")
    assert (found, looks) == (["the one"], 3)


def test_what_recurs_beyond_by_now_is_not_named_by_a_job_of_before() -> None:
    job_scheduler.add_or_update_recurring("zzfar hourly", NearWork(), "0 * * * *")
    row, job = RecurringJob.objects.get(), make_job(State.SUCCEEDED, job_type=f"app.{NEAR}", queue=NEAR)
    Occurrence.objects.create(recurring=row, due_at=timezone.now(), fired_at=timezone.now(), how="due", job_id=job.pk)
    client, url = lena(), f"/admin/jobs/jobrecord/{job.pk}/change/"
    assert "zzfar hourly" in client.get(url).content.decode()
    RecurringJob.objects.update(job_type=f"app.{FAR}")
    assert "zzfar hourly" not in client.get(url).content.decode()
    assert client.get(f"/admin/recurring/{row.pk}/").status_code == 404


def test_limits_and_policies_are_those_of_the_types_within() -> None:
    client = lena("type")
    page = client.get("/admin/limits/")
    assert [row["standing"].limit.name for row in page.context["rows"]] == [f"{NEAR}-tills"]
    assert [row["is_counted"] for row in page.context["rows"]] == [True]
    html = client.get("/admin/retry-policies/").content.decode()
    assert f"app.{NEAR}" in html
    assert FAR not in html
    # Whoever reaches a queue reaches some jobs of its types, and numbers would count the others too.
    by_queue = logged_in(limited(KINDS["queue"], name="quentin")).get("/admin/limits/")
    assert [row["is_counted"] for row in by_queue.context["rows"]] == [False]


def workflow(title: str, *sides: str, total: int | None = None) -> Workflow:
    """One with a job of each of these sides."""
    row = Workflow.objects.create(title=title, created_at=timezone.now(), total=total or len(sides), paused_at=None)
    for side in sides:
        job = make_job(State.FAILED, job_type=f"app.{side}", queue=side)
        JobRecord.objects.filter(pk=job.pk).update(watched=True)
        WorkflowNode.objects.create(pk=job.pk, workflow_id=row.pk, job_type=f"app.{side}", outcome="failed")
    return row


@of_each_kind
def test_workflows_are_those_all_of_whose_jobs_are_within(kind: str) -> None:
    ours = workflow("Near alone", NEAR, NEAR)
    others = [workflow("Of both", NEAR, FAR), workflow("Far alone", FAR), workflow("Large", NEAR, total=1_001)]
    opened = workflow("Opened", FAR)
    opener = WorkflowNode.objects.filter(workflow_id=ours.pk).earliest("pk").pk
    Workflow.objects.filter(pk=opened.pk).update(opened_by=opener)
    JobRecord.objects.filter(pk=workflow("Aged out", NEAR).pk).delete()
    client = lena(kind)
    page = client.get("/admin/workflows/")
    assert [standing.title for standing in page.context["standings"]] == ["Aged out", "Near alone"]
    html = client.get(f"/admin/workflows/{ours.pk}/").content.decode()
    assert "Near alone" in html
    assert "Opened" not in html
    assert f"/admin/workflows/{opened.pk}/" not in html
    for row in others:
        assert client.get(f"/admin/workflows/{row.pk}/").status_code == 404
        assert client.post(f"/admin/workflows/{row.pk}/cancel/", {"reason": "no"}).status_code == 404
        job = WorkflowNode.objects.filter(workflow_id=row.pk, job_type=f"app.{NEAR}").first()
        if job is not None:
            assert row.title not in client.get(f"/admin/jobs/jobrecord/{job.pk}/change/").content.decode()
            assert client.post(f"/admin/workflows/jobs/{job.pk}/skip/", {"reason": "no"}).status_code == 404
    assert "Near alone" in client.get(f"/admin/jobs/jobrecord/{opener}/change/").content.decode()


def test_a_workflow_that_waits_for_a_job_beyond_is_beyond() -> None:
    row, parent = workflow("Near, after far", NEAR), make_job(State.ENQUEUED, job_type=f"app.{FAR}", queue=FAR)
    gate = Gate.objects.create(workflow_id=row.pk, total=1)
    GateParent.objects.create(gate=gate, parent_id=parent.pk)
    assert lena().get(f"/admin/workflows/{row.pk}/").status_code == 404


def test_the_list_of_workflows_looks_at_so_many_and_goes_on_from_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboard.kit.workflows.STEP", 2)
    monkeypatch.setattr("dashboard.kit.workflows.MOST", 4)
    workflow("Near alone", NEAR)
    for number in range(9):
        workflow(f"Far {number}", FAR)
    client, url, looks = lena(), "/admin/workflows/", 0
    while True:
        page = client.get(url)
        looks += 1
        if page.context["standings"]:
            break
        assert f'href="{page.context["older_url"]}"' in page.content.decode().replace("&amp;", "&")
        url = f"/admin/workflows/{page.context['older_url']}"
    assert looks == 3
