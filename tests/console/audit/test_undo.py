"""Undo: each verb of a person, taken back a moment later as far as nothing went on from there."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from handlers import job_scheduler
from handlers.models import AuditEntry, JobRecord, RecurringJob, Workflow
from handlers.states import State
from tests.app.jobs import Note
from tests.console.conftest import OPERATES, MakeUser, logged_in
from tests.console.factories import make_job
from tests.running import run

pytestmark = pytest.mark.django_db

runs = pytest.mark.django_db(transaction=True)  # jobs run beside the test, on a connection of their own
JOBS = "/admin/jobs/jobrecord/"


def shown(client: Client, url: str, **data: Any) -> str:
    """The page that a form leads to."""
    return client.post(url, data, follow=True).content.decode()


def undo_of(html: str) -> str:
    """Where the button of the page leads to."""
    found = re.search(r'action="(/admin/undo/\d+/)"', html)
    assert found, re.findall(r'class="messagelist".*?</ul>', html, re.DOTALL)
    return found[1]


def message(html: str) -> str:
    """What the page says, as text."""
    found = re.search(r'<ul class="messagelist">(.*?)</ul>', html, re.DOTALL)
    assert found
    return " ".join(re.sub(r"<[^>]*>", " ", found[1]).split())


def act(client: Client, verb: str, jobs: Sequence[JobRecord], **more: Any) -> str:
    data = {"action": verb, "index": "0", "_selected_action": [job.pk for job in jobs], "confirmed": "yes", **more}
    return shown(client, JOBS, expect=[f"{job.pk}:{job.token}" for job in jobs], **data)


def states(*jobs: JobRecord) -> list[str]:
    found = JobRecord.objects.in_bulk([job.pk for job in jobs])
    return [found[job.pk].state for job in jobs]


@pytest.mark.parametrize(
    ("verb", "state", "words"),
    [
        ("retry", State.FAILED, "is back as it was"),
        ("retry", State.SCHEDULED, "is back as it was"),
        ("requeue", State.SUCCEEDED, "is back as it was"),
        ("delete", State.FAILED, "is back as it was"),
        ("delete", State.ENQUEUED, "is back as it was"),
        ("move", State.ENQUEUED, "is back as it was"),
    ],
)
def test_verb_on_one_job_is_undone_and_on_record(operator: Client, verb: str, state: State, words: str) -> None:
    job = make_job(state)
    form = {"expect": f"{job.pk}:{job.token}", "confirmed": "yes", "queue": "mail"}
    html = shown(operator, f"{JOBS}{job.pk}/{verb}/", **form)
    url = undo_of(html)
    said = message(shown(operator, url, back=f"{JOBS}{job.pk}/change/"))
    assert said == f"Undone: job {job.pk} {words}."
    after = JobRecord.objects.get(pk=job.pk)
    assert (after.state, after.queue, after.failures, after.error) == (state, job.queue, job.failures, job.error)
    entry = AuditEntry.objects.order_by("-pk")[0]
    assert (entry.username, entry.reason, entry.count) == ("olga", f"undo: {verb}", 1)
    assert "nothing to undo" in message(shown(operator, url))
    assert states(job) == [state]


@runs
def test_verb_on_ticked_rows_is_undone_as_far_as_none_has_begun(operator: Client) -> None:
    jobs = [make_job(), make_job(), make_job()]
    html = act(operator, "retry", jobs)
    run(jobs[0].pk)
    said = message(shown(operator, undo_of(html)))
    assert said == "Undone: 2 jobs are back as they were. 1 had begun."
    assert states(*jobs[1:]) == ["failed", "failed"]
    assert states(jobs[0]) != ["failed"]


@runs
def test_what_has_begun_is_not_undone_and_said_so(operator: Client) -> None:
    job = make_job()
    url = undo_of(shown(operator, f"{JOBS}{job.pk}/retry/", expect=f"{job.pk}:{job.token}"))
    run(job.pk)
    assert message(shown(operator, url)) == "It had begun: nothing to undo."


def test_what_somebody_did_again_since_stays(operator: Client) -> None:
    job = make_job()
    url = undo_of(shown(operator, f"{JOBS}{job.pk}/retry/", expect=f"{job.pk}:{job.token}"))
    job_scheduler.delete(job.pk, by="another")
    job_scheduler.restore(job.pk, by="another")
    assert "nothing to undo" in message(shown(operator, url))
    assert states(job) == ["enqueued"]


def test_running_job_that_was_stopped_and_deleted_offers_no_undo(operator: Client) -> None:
    job = make_job(State.PROCESSING)
    html = shown(operator, f"{JOBS}{job.pk}/delete/", expect=f"{job.pk}:{job.token}")
    assert "Deleted job" in html
    assert "/admin/undo/" not in html


def test_undo_is_of_ones_own_acts_while_one_may_and_not_for_long(operator: Client, make_user: MakeUser) -> None:
    job = make_job()
    url = undo_of(shown(operator, f"{JOBS}{job.pk}/retry/", expect=f"{job.pk}:{job.token}"))
    assert "nothing of yours to undo" in shown(logged_in(make_user("otto", *OPERATES)), url)
    assert operator.get(url).status_code == 405
    AuditEntry.objects.update(at=timezone.now() - timedelta(minutes=16))
    assert "too long ago" in shown(operator, url)
    AuditEntry.objects.update(at=timezone.now())
    olga = User.objects.get(username="olga")
    olga.user_permissions.remove(Permission.objects.get(codename="retry_jobrecord"))
    assert operator.post(url).status_code == 403
    assert states(job) == ["enqueued"]


def test_undo_sent_twice_counts_once_and_leads_to_no_other_site(operator: Client) -> None:
    job = make_job()
    url = undo_of(shown(operator, f"{JOBS}{job.pk}/retry/", expect=f"{job.pk}:{job.token}"))
    for _ in range(2):
        answer = operator.post(url, {"form_key": "one", "back": "//evil.example/"})
        assert answer.headers["Location"] == "/admin/"
    assert AuditEntry.objects.filter(verb="take_back").count() == 1


@runs
def test_message_says_what_became_of_few_jobs_and_the_page_can_ask_again(operator: Client) -> None:
    job = make_job()
    html = shown(operator, f"{JOBS}{job.pk}/retry/", expect=f"{job.pk}:{job.token}")
    assert f"Retried job {job.pk}. It waits for a worker." in message(html)
    assert "data-goes-on" in html
    found = re.search(r'data-from="([^"]+)"', html)
    assert found
    run(job.pk)
    part = operator.get(found[1]).content.decode()
    assert "data-failed" not in part
    assert "It succeeded on attempt 2." in part
    assert f'data-say="Job {job.pk}: it succeeded on attempt 2"' in part
    assert "data-goes-on" not in part
    assert operator.get("/admin/jobs/after/?id=x&id=9999999999999999999999").content.strip() == b""


def queue(client: Client) -> tuple[str, Callable[[], bool]]:
    return "/admin/queues/default/", lambda: "default" in job_scheduler.paused_queues()


def job_type(client: Client) -> tuple[str, Callable[[], bool]]:
    return "/admin/job-types/app.Note/", lambda: "app.Note" in job_scheduler.paused_types()


def recurring(client: Client) -> tuple[str, Callable[[], bool]]:
    job_scheduler.add_or_update_recurring("hourly", Note("it"), "0 * * * *")
    row = RecurringJob.objects.get()
    return f"/admin/recurring/{row.pk}/", lambda: RecurringJob.objects.get().paused_at is not None


def workflow(client: Client) -> tuple[str, Callable[[], bool]]:
    with job_scheduler.workflow() as flow:
        flow.enqueue(Note("first"))
    return f"/admin/workflows/{flow.workflow_id}/", lambda: Workflow.objects.get().paused_at is not None


@pytest.mark.parametrize("kind", [queue, job_type, recurring, workflow])
def test_pause_and_resume_are_undone_by_each_other(
    superuser: Client, kind: Callable[[Client], tuple[str, Callable[[], bool]]]
) -> None:
    url, is_paused = kind(superuser)
    undo = undo_of(shown(superuser, f"{url}pause/", span=""))
    assert is_paused()
    assert "runs again" in message(shown(superuser, undo))
    assert not is_paused()
    assert "nothing to undo" in message(shown(superuser, undo))
    shown(superuser, f"{url}pause/", span="")
    undo = undo_of(shown(superuser, f"{url}resume/"))
    assert not is_paused()
    assert "is paused again" in message(shown(superuser, undo))
    assert is_paused()


def test_resumed_queue_is_paused_again_until_when_it_was(superuser: Client) -> None:
    shown(superuser, "/admin/queues/default/pause/", span="1h")
    until = job_scheduler.paused_queues()["default"].until
    undo = undo_of(shown(superuser, "/admin/queues/default/resume/"))
    shown(superuser, undo)
    assert job_scheduler.paused_queues()["default"].until == until


def test_second_pause_offers_no_undo_that_would_end_the_first(superuser: Client) -> None:
    shown(superuser, "/admin/queues/default/pause/", span="")
    html = shown(superuser, "/admin/queues/default/pause/", span="1h")
    assert "Paused queue default" in html
    assert "/admin/undo/" not in html
