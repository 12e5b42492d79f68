"""A job that waits: what its page says, and who may answer it how."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from handlers.models import AuditEntry, JobRecord, JobSignal
from handlers.states import State
from tests.console.conftest import MakeUser, logged_in
from tests.console.factories import make_job

pytestmark = pytest.mark.django_db


def page(client: Client, job: JobRecord) -> str:
    return client.get(reverse("admin:jobsite_jobs_jobrecord_change", args=[job.pk])).content.decode()


def answer(client: Client, job: JobRecord, **fields: str) -> str:
    """What the page says afterwards."""
    form = {"expect": f"{job.pk}:{job.token}", "reason": "the customer called", **fields}
    response = client.post(reverse("admin:jobsite_jobs_jobrecord_signal", args=[job.pk]), form)
    told = [str(message) for message in get_messages(response.wsgi_request)]
    return told[-1] if told else str(response.status_code)


def state(job: JobRecord) -> str:
    job.refresh_from_db()
    return job.state


def data(job: JobRecord) -> Any:
    return JobSignal.objects.get(job=job).data


def test_page_says_for_what_it_waits_since_when_and_until_when(viewer: Client, operator: Client) -> None:
    job = make_job(State.WAITING)
    shown = page(viewer, job)
    assert "Waits for <strong>approval</strong> since" in shown
    assert "as long as it takes" in shown
    assert "Approve" not in shown
    JobRecord.objects.filter(pk=job.pk).update(run_at=timezone.now() + timedelta(days=3))
    shown = page(operator, job)
    assert "goes on without it" in shown
    assert "Else a scheduler sends it there" in shown
    assert 'value="approve"' in shown
    assert 'value="decline"' in shown
    assert 'name="data"' not in shown


@pytest.mark.parametrize(("button", "approved"), [("approve", True), ("decline", False)])
def test_an_approval_is_sent_with_the_reason_and_the_name(operator: Client, button: str, approved: bool) -> None:
    job = make_job(State.WAITING)
    told = answer(operator, job, answer=button)
    assert told == ("Approved" if approved else "Declined") + f" job {job.pk}."
    assert data(job) == {"approved": approved, "reason": "the customer called", "by": "olga"}
    assert state(job) == "enqueued"
    entry = AuditEntry.objects.get()
    assert entry.data
    assert (entry.verb, entry.username, entry.reason) == ("signal", "olga", "the customer called")
    assert entry.data["approved"] is approved
    shown = page(operator, job)
    assert "Signals" in shown
    assert "the customer called" in shown
    audit = operator.get(reverse("admin:jobsite_jobs_auditentry_changelist")).content.decode()
    assert f"{'approved' if approved else 'declined'}" in audit


def test_an_answer_without_a_reason_is_none(operator: Client) -> None:
    job = make_job(State.WAITING)
    assert "Say why" in answer(operator, job, answer="approve", reason="  ")
    assert state(job) == "waiting"


def test_anything_else_is_sent_as_json(operator: Client) -> None:
    job = make_job(State.WAITING, waits_for="payment")
    assert "Send signal" in page(operator, job)
    assert "must be JSON" in answer(operator, job, data="{paid")
    assert "waits for something else" in answer(operator, job, answer="approve")
    assert state(job) == "waiting"
    assert answer(operator, job, data='{"paid": 7}') == f"Sent job {job.pk} what it waits for."
    assert data(job) == {"paid": 7}
    empty = make_job(State.WAITING, waits_for="payment")
    answer(operator, empty, data="")
    assert data(empty) is None
    assert state(empty) == "enqueued"


def test_who_comes_too_late_is_told_what_was(operator: Client) -> None:
    job = make_job(State.WAITING)
    answer(operator, job, answer="approve")
    told = answer(operator, job, answer="decline")
    assert "Nothing was done now." in told
    assert data(job)["approved"] is True


def test_who_may_not_answer_does_not(make_user: MakeUser) -> None:
    job = make_job(State.WAITING)
    client = logged_in(make_user("rita", "view_jobrecord", "retry_jobrecord"))
    assert answer(client, job, answer="approve") == "403"
    assert state(job) == "waiting"


def test_the_list_says_for_what_jobs_wait_and_overview_how_many(operator: Client) -> None:
    make_job(State.WAITING, waits_for="approval")
    make_job(State.WAITING, waits_for="the <b>bank</b>")
    listed = operator.get(reverse("admin:jobsite_jobs_jobrecord_changelist"), {"state": "waiting"}).content.decode()
    assert "waits for approval" in listed
    assert "waits for the &lt;b&gt;bank&lt;/b&gt;" in listed
    assert "Waiting jobs" in listed
    overview = operator.get(reverse("admin:index")).content.decode()
    assert "2 jobs wait for an answer" in overview
    assert "?state=waiting" in overview


def test_what_arguments_hide_is_hidden_in_signals(operator: Client, make_user: MakeUser) -> None:
    job = make_job(State.WAITING, job_type="app.Pay", payload={"token": "4111-1111-1111", "order_id": 7})
    JobSignal.objects.create(
        job=job, name="paid", status="came", attempt=1, at=timezone.now(), data={"note": "card 4111-1111-1111"}
    )
    assert "4111-1111" not in page(operator, job)
    sees = logged_in(make_user("sam", "view_jobrecord", "view_sensitive"))
    assert "card 4111-1111-1111" in page(sees, job)
