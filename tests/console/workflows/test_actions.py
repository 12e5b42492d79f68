"""What people do to workflows: who may, what is asked before, what is said after, and that it is on record."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from handlers import job_scheduler
from handlers.models import AuditEntry, JobRecord, Workflow
from tests.console.conftest import MakeUser, logged_in
from tests.console.workflows.conftest import Send, Step, drain, page
from tests.running import claim, record

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("bad")]

SEES = ("view_jobrecord", "view_workflow")


def post(client: Client, url: str, status: int = 200, **form: str) -> str:
    response = client.post(url, form, follow=True)
    assert response.status_code == status, url
    return response.content.decode()


def skip_url(job_id: int) -> str:
    return f"/admin/workflows/jobs/{job_id}/skip/"


def test_pausing_and_resuming_are_said_and_kept_on_record(superuser: Client) -> None:
    with job_scheduler.workflow("Order 7") as flow:
        a = flow.enqueue(Step("a"))
    url = page(flow.workflow_id)
    assert "Paused Order 7" in post(superuser, f"{url}pause/", reason="gateway is down")
    assert not claim(a.job_id)
    html = post(superuser, f"{url}pause/")
    assert "Nothing was done: Order 7 was paused before, or is over." in html
    assert "its workflow is paused" in html
    assert "Resumed Order 7." in post(superuser, f"{url}resume/")
    assert "Nothing was done: Order 7 was not paused." in post(superuser, f"{url}resume/")
    assert claim(a.job_id)
    entry = AuditEntry.objects.filter(verb="pause_workflow").earliest("pk")
    assert (entry.username, entry.reason, entry.count) == ("admin", "gateway is down", 1)
    assert f'href="{url}"' in superuser.get("/admin/jobs/auditentry/?verb=pause_workflow").content.decode()


def test_cancelling_says_first_what_goes_and_does_nothing_before_that(superuser: Client, bad: set[str]) -> None:
    bad.add("bad")
    with job_scheduler.workflow("Order 7", on_end=Send("end")) as flow:
        good, _, running, _ = flow.enqueue_many([Step(name) for name in ("good", "bad", "runs", "waits")])
    claim(running.job_id)
    JobRecord.objects.filter(pk=good.job_id)
    url = page(flow.workflow_id, "cancel/")
    html = superuser.get(url).content.decode()
    assert "4 jobs that have not succeeded are deleted. 1 of them runs now and is asked to stop." in html
    assert f"job {Workflow.objects.get().on_end}" in html
    assert Workflow.objects.get().cancelled_at is None
    assert "Cancelled Order 7: what had not succeeded is deleted." in post(superuser, url, reason="ordered twice")
    drain()
    assert Workflow.objects.get().finished_at
    assert AuditEntry.objects.get(verb="cancel_workflow").reason == "ordered twice"
    assert "Nothing was done" in post(superuser, url)
    assert "is already over: cancelled" in superuser.get(url).content.decode()


def test_failed_jobs_are_retried_once_for_each_form(superuser: Client, bad: set[str]) -> None:
    bad |= {"a", "b"}
    with job_scheduler.workflow("Order 7") as flow:
        flow.enqueue_many([Step("a"), Step("b"), Step("c")])
    drain()
    url = page(flow.workflow_id, "retry/")
    assert "Retried 2 jobs of Order 7." in post(superuser, url, form_key="k", reason="fixed")
    drain()
    assert "was sent before and retried 2 jobs then" in post(superuser, url, form_key="k", reason="fixed")
    assert Workflow.objects.get().failed == 2
    bad.clear()
    assert "Retried 2 jobs" in post(superuser, url, form_key="other")
    drain()
    assert Workflow.objects.get().finished_at
    assert "Nothing was done: no job of Order 7 is failed any more." in post(superuser, url)


def test_one_job_is_retried_from_the_page_and_leads_back_to_it(superuser: Client, bad: set[str]) -> None:
    bad.add("a")
    with job_scheduler.workflow("Order 7") as flow:
        a = flow.enqueue(Step("a"))
    drain()
    html = superuser.get(page(flow.workflow_id)).content.decode()
    button = re.search(r'formaction="(/admin/jobs/jobrecord/\d+/retry/\?workflow=\d+)"', html)
    assert button
    response = superuser.post(button[1], {"expect": f"{a.job_id}:{record(a.job_id).token}"}, follow=True)
    assert response.redirect_chain[-1][0] == page(flow.workflow_id)
    assert record(a.job_id).state == "enqueued"


def test_skipping_says_first_who_goes_on(superuser: Client, bad: set[str]) -> None:
    bad |= {"a", "x"}
    with job_scheduler.workflow("Order 7") as flow:
        a, x = flow.enqueue(Step("a")), flow.enqueue(Step("x"))
        b = flow.enqueue(Send(flow.result(a)), after=a)
        flow.enqueue_many([Send("2"), Send("3")], after=a)
        flow.enqueue(Send("both"), after=[a, x])
        never = flow.enqueue(Send("never"), after=a, when="deleted")
    drain()
    url = skip_url(a.job_id)
    html = superuser.get(url).content.decode()
    for words in (
        "3 jobs that wait for nothing else go on now.", "1 job still waits for others.",
        "1 job that was to run if it had ended otherwise is deleted.",
        "1 argument of other jobs is what this job returns",
    ):  # fmt: skip
        assert words in html
    token = record(a.job_id).token
    assert "had moved on" in post(superuser, url, token="stale")
    assert "had moved on" in post(superuser, url)
    assert f"Skipped job {a.job_id}" in post(superuser, url, token=token, reason="paid by hand")
    assert record(never.job_id).state == "deleted"
    assert record(b.job_id).state == "enqueued"
    assert AuditEntry.objects.get(verb="skip").reason == "paid by hand"
    assert "only a failed job can be skipped" in superuser.get(url).content.decode()
    assert superuser.get(skip_url(99_999)).status_code == 404
    alone = job_scheduler.enqueue(Step("x"))
    assert superuser.get(skip_url(alone)).status_code == 404


@pytest.mark.parametrize(
    ("held", "may"),
    [
        ((), ""),
        (("change_workflow",), "pause resume cancel"),
        (("retry_jobrecord",), ""),
        (("change_workflow", "retry_jobrecord"), "pause resume cancel retry"),
        (("retry_jobrecord", "delete_jobrecord"), "skip"),
        (("delete_jobrecord",), ""),
    ],
)
def test_each_action_asks_for_its_permissions(
    make_user: MakeUser, bad: set[str], held: tuple[str, ...], may: str
) -> None:
    bad.add("a")
    with job_scheduler.workflow("Order 7") as flow:
        a = flow.enqueue(Step("a"))
    drain()
    person = logged_in(make_user("pat", *SEES, *held))
    blind = logged_in(make_user("bo", "view_jobrecord", *held))
    html = person.get(page(flow.workflow_id)).content.decode()
    shown = {"pause": "pause/", "cancel": "cancel/", "retry": '/retry/">Retry 1 failed', "skip": "/skip/"}
    for name, mark in shown.items():
        assert (mark in html) == (name in may.split()), name
    form = {"token": record(a.job_id).token}
    for name in ("pause", "resume", "retry", "skip", "cancel"):
        url = skip_url(a.job_id) if name == "skip" else page(flow.workflow_id, f"{name}/")
        assert blind.post(url, form).status_code == 403
        assert person.post(url, form).status_code == (302 if name in may.split() else 403), name
