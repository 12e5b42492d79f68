"""The pages that write arguments: enqueue one job, edit and retry a job."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client

from handlers.models import AuditEntry, JobHistory, JobPayload, JobRecord
from handlers.states import State
from tests.console.factories import make_job

pytestmark = [pytest.mark.django_db, pytest.mark.once]
ENQUEUE = "/admin/job-types/app.Sleep/enqueue/"
SENT = {"arg-seconds": "1.5", "arg-text": "zzz", "when": "now", "queue": "default"}


def test_form_enqueues_a_job_in_the_persons_name(operator: Client) -> None:
    response = operator.post(ENQUEUE, SENT | {"reason": "a try"}, follow=True)
    job = JobRecord.objects.get()
    assert (job.state, job.queue, job.job_type, job.created_by) == ("enqueued", "default", "app.Sleep", "user:olga")
    assert job.payload == {"seconds": 1.5, "text": "zzz"}
    assert f'<a href="/admin/jobs/jobrecord/{job.pk}/change/">job {job.pk}</a>' in response.content.decode()
    assert AuditEntry.objects.get().reason == "a try"


@pytest.mark.parametrize("at", ["2998-03-11T02:30", "2998-11-04T01:30", "2998-07-01T12:00"])
def test_time_in_the_form_is_utc_also_where_local_clocks_skip_or_repeat_it(
    operator: Client, settings: Any, at: str
) -> None:
    settings.TIME_ZONE = "America/New_York"
    assert operator.post(ENQUEUE, SENT | {"when": "at", "at": at}).status_code == 302
    run_at = JobRecord.objects.get().run_at
    assert run_at is not None
    assert run_at.isoformat() == f"{at}:00+00:00"


@pytest.mark.parametrize("when", [{"when": "delay", "delay": "5"}, {"when": "at", "at": "2999-01-02T03:04"}])
def test_form_schedules_a_job(operator: Client, when: dict[str, str]) -> None:
    assert operator.post(ENQUEUE, SENT | when | {"queue": "mail"}).status_code == 302
    job = JobRecord.objects.get()
    assert (job.state, job.queue) == ("scheduled", "mail")
    if "at" in when:
        assert job.run_at == datetime(2999, 1, 2, 3, 4, tzinfo=UTC)


def test_preview_shows_the_call_and_enqueues_nothing(operator: Client) -> None:
    html = operator.post(ENQUEUE, SENT | {"preview": "1"}).content.decode()
    assert "job_scheduler.enqueue(Sleep(seconds=1.5, text=&#x27;zzz&#x27;))" in html
    assert not JobRecord.objects.exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"arg-seconds": "soon"},
        {"arg-seconds": ""},
        {"arg-text": "a\0b"},
        {"when": "never"},
        {"when": "delay"},
        {"when": "delay", "delay": "-1"},
        {"when": "delay", "delay": "nan"},
        {"when": "delay", "delay": "1e300"},
        {"when": "at", "at": "tomorrow"},
        {"queue": "nowhere"},
        {"reason": "x" * 501},
    ],
)
def test_wrong_form_is_shown_again_and_enqueues_nothing(operator: Client, changes: dict[str, str]) -> None:
    response = operator.post(ENQUEUE, SENT | changes)
    assert response.status_code == 200
    assert "Nothing was done" in response.content.decode()
    assert not JobRecord.objects.exists()


def test_enqueue_and_edit_need_their_permissions(viewer: Client) -> None:
    job = make_job()
    assert viewer.post(ENQUEUE, SENT).status_code == 403
    assert viewer.get(ENQUEUE).status_code == 403
    assert viewer.get(f"/admin/jobs/jobrecord/{job.pk}/edit/").status_code == 403
    assert JobRecord.objects.count() == 1


def _edit(client: Client, job: JobRecord, **sent: Any) -> Any:
    return client.post(f"/admin/jobs/jobrecord/{job.pk}/edit/", {"expect": job.token} | sent, follow=True)


@pytest.mark.parametrize("state", [State.FAILED, State.SCHEDULED])
def test_edit_changes_the_arguments_and_retries(operator: Client, state: State) -> None:
    job = make_job(state)
    _edit(operator, job, **{"arg-text": "mended", "reason": "typo"})
    job.refresh_from_db()
    assert job.state == State.ENQUEUED
    assert JobPayload.objects.get(pk=job.pk).data == {"text": "mended"}
    last = JobHistory.objects.filter(job=job).last()
    assert last is not None
    assert last.data is not None
    assert last.data["old_payload"] == {"text": "hello"}
    entry = AuditEntry.objects.get()
    assert (entry.verb, entry.target, entry.reason) == ("edit_and_retry", f"job {job.pk}", "typo")
    assert (
        '<td class="field-what">retried with edited arguments</td>'
        in operator.get("/admin/jobs/auditentry/").content.decode()
    )


def test_edit_of_a_job_that_moved_on_does_nothing_and_says_so(operator: Client) -> None:
    job = make_job()
    html = _edit(operator, job, **{"expect": "0" * 16, "arg-text": "mended"}).content.decode()
    assert "has moved on" in html
    assert JobPayload.objects.get(pk=job.pk).data == {"text": "hello"}


def test_edit_of_a_running_job_leads_back(operator: Client) -> None:
    job = make_job(State.PROCESSING)
    html = operator.get(f"/admin/jobs/jobrecord/{job.pk}/edit/", follow=True).content.decode()
    assert "only failed and scheduled jobs can be edited" in html
    html = _edit(operator, job, **{"arg-text": "x"}).content.decode()
    assert "has moved on since the page was made" in html


def test_edit_of_arguments_that_no_longer_fit_says_why_and_mends_them(operator: Client) -> None:
    job = make_job(payload={"txt": "hello", "text": 5})
    html = operator.get(f"/admin/jobs/jobrecord/{job.pk}/edit/").content.decode()
    assert "do not fit the type any more" in html
    assert "&quot;txt&quot;" in html
    _edit(operator, job, **{"arg-text": "hello"})
    assert JobPayload.objects.get(pk=job.pk).data == {"text": "hello"}


def test_edit_of_an_unknown_type_says_that_it_cannot(operator: Client) -> None:
    job = make_job(job_type="gone.Type")
    response = operator.get(f"/admin/jobs/jobrecord/{job.pk}/edit/", follow=True)
    assert "is not registered here" in response.content.decode()


def test_edit_of_a_job_that_is_not_there_is_not_found(operator: Client) -> None:
    assert operator.get("/admin/jobs/jobrecord/4711/edit/").status_code == 404
    assert operator.get(f"/admin/jobs/jobrecord/{10**30}/edit/").status_code == 404


def test_engines_own_types_take_no_arguments_from_a_form(operator: Client) -> None:
    """Else whoever may enqueue or retry could delete any job with a command."""
    assert operator.get("/admin/job-types/jobs.DeleteJobCommand/enqueue/").status_code == 403
    assert operator.post("/admin/job-types/jobs.DeleteJobCommand/enqueue/", {"arg-job_id": "1"}).status_code == 403
    job = make_job(job_type="jobs.DeleteJobCommand", payload={"job_id": 1})
    assert "engine&#x27;s own type" in _edit(operator, job, **{"arg-job_id": "2"}).content.decode()
    assert JobPayload.objects.get(pk=job.pk).data == {"job_id": 1}
