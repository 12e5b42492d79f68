"""A form that is sent twice counts once, on the server: by two clicks, by Back and again, by two tabs at one moment."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from html import unescape
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from django.db import connections
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from handlers import job_scheduler
from handlers.api.clients import create_client
from handlers.models import AuditEntry, BulkOperation, JobRecord, RecurringJob
from handlers.states import State
from tests.app.jobs import Note
from tests.console.conftest import OPERATES, MakeUser, logged_in
from tests.console.factories import make_job

pytestmark = pytest.mark.django_db(transaction=True)
ENQUEUE = "/admin/job-types/app.Sleep/enqueue/"
JOBS = "/admin/jobs/jobrecord/"
BULK = "/admin/bulk/new/?verb=requeue&state=succeeded"
SENT = {"arg-seconds": "1.5", "arg-text": "zzz", "when": "now", "queue": "default"}


@pytest.fixture
def operator(make_user: MakeUser) -> Client:
    """May run bulk operations, too."""
    return logged_in(make_user("olga", *OPERATES, "run_bulkoperation"))


def hidden(client: Client, url: str) -> dict[str, Any]:
    """The hidden fields of the page's form."""
    html = client.get(url).content.decode()
    inputs = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', html)
    fields = {name: unescape(value) for name, value in inputs}
    assert fields["form_key"]
    return fields


def at_once(client: Client, url: str, fields: dict[str, Any]) -> list[HttpResponse]:
    """The answers to a form that is sent twice at one moment, each on a connection of its own."""
    barrier = Barrier(2)

    def send(own: Client) -> Any:
        try:
            barrier.wait(60)
            return own.post(url, fields)
        finally:
            connections.close_all()

    def same() -> Client:
        twin = Client()
        twin.cookies = client.cookies
        return twin

    with ThreadPoolExecutor(2) as pool:
        return [answer.result(60) for answer in [pool.submit(send, same()) for _ in range(2)]]


def test_enqueue_pressed_twice_makes_one_job(operator: Client) -> None:
    fields = SENT | hidden(operator, ENQUEUE)
    operator.post(ENQUEUE, fields)
    html = operator.post(ENQUEUE, fields, follow=True).content.decode()
    job = JobRecord.objects.get()
    assert f'enqueued <a href="/admin/jobs/jobrecord/{job.pk}/change/">job {job.pk}</a> then' in html
    operator.post(ENQUEUE, fields | {"arg-text": "another"})  # back, and changed: that is meant
    operator.post(ENQUEUE, SENT | hidden(operator, ENQUEUE))  # a form of its own
    assert JobRecord.objects.count() == AuditEntry.objects.count() == 3


def test_form_that_was_refused_can_be_mended_and_sent(operator: Client) -> None:
    fields = SENT | hidden(operator, ENQUEUE)
    assert operator.post(ENQUEUE, fields | {"arg-seconds": "soon"}).status_code == 200
    assert operator.post(ENQUEUE, fields | {"preview": "1"}).status_code == 200
    assert operator.post(ENQUEUE, fields).status_code == 302
    assert JobRecord.objects.count() == 1


def test_enqueue_and_bulk_start_sent_twice_at_one_moment_act_once(operator: Client) -> None:
    answers = at_once(operator, ENQUEUE, SENT | hidden(operator, ENQUEUE))
    assert [answer.status_code for answer in answers] == [302, 302]
    assert JobRecord.objects.count() == 1
    make_job(State.SUCCEEDED)
    answers = at_once(operator, BULK, hidden(operator, BULK))
    run = BulkOperation.objects.get()
    assert {answer.headers["Location"] for answer in answers} == {f"/admin/bulk/{run.pk}/"}
    assert JobRecord.objects.filter(job_type="jobs.RunBulk").count() == 1


def test_bulk_start_sent_again_leads_to_the_run_that_it_started(operator: Client) -> None:
    make_job(State.SUCCEEDED)
    fields = hidden(operator, BULK)
    operator.post(BULK, fields)
    html = operator.post(BULK, fields, follow=True).content.decode()
    assert "started this run then; nothing was done now" in html
    assert BulkOperation.objects.count() == 1


def row(client: Client, job: JobRecord) -> tuple[str, dict[str, Any]]:
    return f"{JOBS}{job.pk}/requeue/", hidden(client, f"{JOBS}{job.pk}/change/")


def ticks(client: Client, job: JobRecord) -> tuple[str, dict[str, Any]]:
    url = f"{JOBS}?state=succeeded"
    return url, hidden(client, url) | {"action": "requeue", "_selected_action": [job.pk]}


@pytest.mark.parametrize("form", [row, ticks])
def test_requeue_sent_twice_runs_the_job_once_and_says_so(
    operator: Client, form: Callable[[Client, JobRecord], tuple[str, dict[str, Any]]]
) -> None:
    job = make_job(State.SUCCEEDED)
    url, fields = form(operator, job)
    assert "Requeued" in operator.post(url, fields, follow=True).content.decode()
    again = operator.post(url, fields, follow=True).content.decode()
    assert ("You requeued job" if form is row else "Requeued 1 job. It waits for a worker.") in again
    assert "othing was done now" in again
    assert AuditEntry.objects.filter(verb="requeue", count=1).count() == AuditEntry.objects.count() == 1


def test_edit_and_retry_sent_twice_runs_the_job_once_and_says_so(operator: Client) -> None:
    job = make_job(payload={"text": "before"})
    url = f"{JOBS}{job.pk}/edit/"
    fields = hidden(operator, url) | {"arg-text": "mended"}
    assert "Retried job" in operator.post(url, fields, follow=True).content.decode()
    again = operator.post(url, fields, follow=True).content.decode()
    assert "You retried job" in again
    assert "only failed and scheduled jobs can be edited" not in again
    assert AuditEntry.objects.count() == 1
    JobRecord.objects.filter(pk=job.pk).update(state=State.SUCCEEDED)
    changed = operator.post(url, fields | {"arg-text": "another"}, follow=True).content.decode()
    assert "it succeeded on attempt 1. Nothing was done now." in changed
    assert AuditEntry.objects.filter(count=1).count() == 1


TEMPLATES = Path(__file__).parents[3] / "templates" / "dashboard"
# One gives back a form with its own key, two are the stock admin's; a failure group has a mark of its own; the rest set
# how a person sees the console, which is the same when it is set twice.
OTHERS = {
    "access/nothing_done.html", "account/switch.html", "failures/group.html", "jobs/list.html", "kit/languages.html",
    "overview/overview.html", "site/admin/base_site.html", "site/registration/password_change_form.html",
    "views/views.html",
}  # fmt: skip


def test_every_form_that_acts_carries_a_key() -> None:
    bare = []
    for path in TEMPLATES.rglob("*.html"):
        text = path.read_text()
        if text.count("{% csrf_token %}") != text.count("{% csrf_token %}{% form_key %}"):
            bare.append(str(path.relative_to(TEMPLATES)))
    assert set(bare) <= OTHERS


def paused(client: Client) -> tuple[str, dict[str, Any]]:
    return "/admin/queues/default/pause/", {"span": "1h"}


def resumed(client: Client) -> tuple[str, dict[str, Any]]:
    job_scheduler.pause_queue("default")
    return "/admin/queues/default/resume/", {}


def paused_type(client: Client) -> tuple[str, dict[str, Any]]:
    return "/admin/job-types/app.Note/pause/", {}


def made_policy(client: Client) -> tuple[str, dict[str, Any]]:
    rule = {"max_attempts": 5, "backoff": "fixed", "delay_seconds": 5, "factor": 2, "jitter": 0, "on_exhausted": "fail"}
    return "/admin/retry-policies/new/", {**rule, "name": "patient", "do": "save", "version": "0"}


def revoked(client: Client) -> tuple[str, dict[str, Any]]:
    row, _ = create_client("shop", verbs=["read"], expires_at=timezone.now() + timedelta(days=1), by="somebody")
    return f"/admin/clients/{row.pk}/revoke/", {}


def paused_recurring(client: Client) -> tuple[str, dict[str, Any]]:
    job_scheduler.add_or_update_recurring("hourly", Note("it"), "0 * * * *")
    return f"/admin/recurring/{RecurringJob.objects.get().pk}/pause/", {"span": ""}


@pytest.mark.parametrize("form", [paused, resumed, paused_type, made_policy, revoked, paused_recurring])
def test_form_that_is_sent_twice_changes_it_once_and_says_so(
    superuser: Client, form: Callable[[Client], tuple[str, dict[str, Any]]]
) -> None:
    url, fields = form(superuser)
    before = AuditEntry.objects.count()
    superuser.post(url, fields | {"form_key": "one"}, follow=True)
    assert AuditEntry.objects.count() == before + 1
    again = superuser.post(url, fields | {"form_key": "one"}, follow=True).content.decode()
    assert "othing was done now" in again
    assert AuditEntry.objects.count() == before + 1
