"""Sensitive arguments: who lacks the permission sees them nowhere."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from handlers import execution, job_scheduler, lifecycle
from handlers.cancellation import CancellationToken
from handlers.models import AttemptError, JobHistory, JobPayload, JobRecord
from handlers.registry import registry
from tests.console.conftest import logged_in
from tests.console.factories import make_job
from tests.running import message

pytestmark = [pytest.mark.django_db, pytest.mark.once]

SECRETS = ("tok-secret-1", "4111-secret-2", "778899")
PAYLOAD = {
    "order_id": 7,
    "token": SECRETS[0],
    "card": {"number": SECRETS[1], "holder": "Ann"},
    "pins": [int(SECRETS[2])],
    "note": None,
}


def _job(**options: Any) -> JobRecord:
    return make_job(job_type="app.Pay", payload=PAYLOAD, message="refused", **options)


@pytest.fixture
def privileged(make_user: Callable[..., User]) -> Client:
    user = make_user("paula", "view_jobrecord", "retry_jobrecord", "enqueue_jobrecord")
    user.user_permissions.add(Permission.objects.get(codename="view_sensitive"))
    return logged_in(user)


def _body(response: Any) -> str:
    content = b"".join(response.streaming_content) if response.streaming else response.content
    return bytes(content).decode()


@pytest.mark.parametrize(
    "page",
    [
        "jobs/jobrecord/{id}/change/",
        "jobs/jobrecord/{id}/edit/",
        "jobs/jobrecord/{id}/edit/?raw=1",
        "jobs/jobrecord/",
        "jobs/jobrecord/?q=tok-secret-1",
        "jobs/export/?format=csv",
        "jobs/export/?format=json",
        "jobs/auditentry/",
        "job-types/app.Pay/",
        "job-types/app.Pay/enqueue/",
        "",
    ],
)
@pytest.mark.parametrize("who", ["viewer", "operator"])
def test_no_page_shows_a_secret_without_the_permission(request: pytest.FixtureRequest, who: str, page: str) -> None:
    job = _job()
    job_scheduler.retry(job.pk, payload=PAYLOAD | {"order_id": 8}, by="somebody")
    JobRecord.objects.filter(pk=job.pk).update(state="failed")
    body = _body(request.getfixturevalue(who).get(f"/admin/{page.format(id=job.pk)}"))
    secrets = SECRETS[1:] if "q=" in page else SECRETS  # the words of a search are the person's own
    assert not [secret for secret in secrets if secret in body]
    if "q=" in page:  # finding it would tell it too
        assert f"/jobrecord/{job.pk}/" not in body


def test_job_page_shows_all_with_the_permission(privileged: Client) -> None:
    job = _job()
    body = _body(privileged.get(f"/admin/jobs/jobrecord/{job.pk}/change/"))
    assert all(secret in body for secret in SECRETS)


@pytest.mark.parametrize("who", ["viewer", "privileged"])
def test_what_is_copied_for_a_ticket_holds_no_secret_whoever_copies_it(
    request: pytest.FixtureRequest, who: str
) -> None:
    job = _job()
    body = _body(request.getfixturevalue(who).get(f"/admin/jobs/jobrecord/{job.pk}/change/"))
    copied = re.findall(r'data-copies="([^"]+)"', body)
    assert "job-markdown" in copied
    for name in copied:
        (text,) = re.findall(rf'<(?:textarea|pre)[^>]* id="{name}"[^>]*>(.*?)</(?:textarea|pre)>', body, re.DOTALL)
        assert not [secret for secret in SECRETS if secret in text], name
    assert "order_id=7" in body


def test_job_page_shows_no_values_of_an_unknown_type(viewer: Client) -> None:
    job = make_job(job_type="gone.Type", payload={"what": "tok-secret-1"})
    body = _body(viewer.get(f"/admin/jobs/jobrecord/{job.pk}/change/"))
    assert "tok-secret-1" not in body
    assert "what" in body


def test_old_arguments_stay_stored(viewer: Client) -> None:
    job = _job()
    job_scheduler.retry(job.pk, payload=PAYLOAD | {"order_id": 8}, by="somebody")
    assert any(SECRETS[0] in str(move.data) for move in JobHistory.objects.filter(job=job))


def test_edit_form_keeps_hidden_values_when_left_blank(operator: Client) -> None:
    job = _job()
    url = f"/admin/jobs/jobrecord/{job.pk}/edit/"
    response = operator.post(url, {"expect": job.token, "arg-order_id": "9", "null-note": "on"})
    assert response.status_code == 302
    assert JobPayload.objects.get(pk=job.pk).data == PAYLOAD | {"order_id": 9}


def test_raw_form_keeps_masked_values_and_takes_new_ones(operator: Client) -> None:
    job = _job()
    raw = (
        '{"order_id": 7, "token": "••••••", "card": {"number": "new", "holder": "Bob"}, "pins": "••••••", "note": null}'
    )
    url = f"/admin/jobs/jobrecord/{job.pk}/edit/?raw=1"
    assert operator.post(url, {"expect": job.token, "raw": raw}).status_code == 302
    assert JobPayload.objects.get(pk=job.pk).data == PAYLOAD | {"card": {"number": "new", "holder": "Bob"}}


def test_edit_form_fills_in_secrets_with_the_permission(privileged: Client) -> None:
    job = _job()
    body = _body(privileged.get(f"/admin/jobs/jobrecord/{job.pk}/edit/"))
    assert all(secret in body for secret in SECRETS)


@pytest.mark.redis
@pytest.mark.django_db(transaction=True)
def test_what_a_failed_attempt_records_holds_no_secret() -> None:
    job_id = job_scheduler.enqueue(registry.get("app.Pay").decode(PAYLOAD))
    (claim,) = lifecycle.claim([message(job_id)], worker="w", lease=timedelta(minutes=1))
    move = execution.run(claim, CancellationToken(job_id=job_id, attempt=1), worker="w")
    assert move is not None
    lifecycle.apply([move], actor="w")
    told = [JobRecord.objects.get(pk=job_id).error]
    told += [f"{error.message} {error.traceback}" for error in AttemptError.objects.filter(job_id=job_id)]
    told += [f"{row.reason} {row.data}" for row in JobHistory.objects.filter(job_id=job_id)]
    assert "cannot pay with ••••••" in " ".join(told)
    assert not [secret for secret in SECRETS if secret in " ".join(told)]
