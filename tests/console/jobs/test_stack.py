"""The live stack on the job page: who may ask, what is shown, and that it ends."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from handlers import recovery, stacks
from handlers.models import AuditEntry, JobRecord, LiveStack
from handlers.states import State
from tests.console.conftest import MakeUser, logged_in
from tests.console.factories import make_job

pytestmark = pytest.mark.django_db
FRAMES = """  File "/srv/shop/jobs.py", line 42, in handle
    gateway.charge(order)
  File "/srv/.venv/lib/python3.11/site-packages/httpx/_client.py", line 1144, in post
    return self.request("POST", url)
"""


def page(client: Client, job: JobRecord) -> str:
    return client.get(reverse("admin:jobsite_jobs_jobrecord_change", args=[job.pk])).content.decode()


def ask(client: Client, job: JobRecord, token: str = "", **fields: str) -> int:
    form = {"expect": f"{job.pk}:{token or job.token}", **fields}
    return client.post(reverse("admin:jobsite_jobs_jobrecord_stack", args=[job.pk]), form).status_code


def answered(job: JobRecord, text: str) -> None:
    LiveStack.objects.create(
        job_id=job.pk, token=job.token, worker=job.worker, asked_at=timezone.now(), taken_at=timezone.now(), text=text
    )


def part(html: str) -> str:
    """The live part of the page, and a little more."""
    return html.split('<div id="job-stack"')[1].split("<h2>Call</h2>", maxsplit=1)[0]


def test_button_asks_the_job_s_worker_and_the_page_waits_for_the_answer(operator: Client) -> None:
    job = make_job(State.PROCESSING)
    assert "Show live stack" in page(operator, job)
    assert ask(operator, job, reason="it hangs") == 302
    assert stacks.wanted([job.worker]) == {job.pk}
    assert stacks.wanted(["another"]) == set()
    entry = AuditEntry.objects.get()
    assert (entry.verb, entry.target, entry.count, entry.reason) == ("show_stack", f"job {job.pk}", 1, "it hangs")
    shown = part(page(operator, job))
    assert 'data-live="soon"' in shown
    assert "Its worker is asked" in shown
    stacks.keep(job.pk, job.token, FRAMES)
    assert stacks.wanted([job.worker]) == set()
    shown = part(page(operator, job))
    assert "gateway.charge(order)" in shown
    assert "1 library frame" in shown
    assert 'data-live="soon"' not in shown
    assert "data-live" in shown
    assert ask(operator, job) == 302
    assert "gateway.charge" not in page(operator, job), "an older answer is none"


def test_page_says_what_stopping_does_to_the_job_and_its_neighbours(operator: Client) -> None:
    html = page(operator, make_job(State.PROCESSING))
    assert "its worker process is killed; what else ran in it has time to end" in html
    assert "asyncio.CancelledError" not in html
    assert "asyncio.CancelledError" in page(operator, make_job(State.PROCESSING, job_type="app.AsyncNote"))


def test_page_says_that_no_answer_came_and_why_that_may_be(operator: Client) -> None:
    job = make_job(State.PROCESSING)
    ask(operator, job)
    LiveStack.objects.update(asked_at=timezone.now() - timedelta(seconds=6))
    shown = part(page(operator, job))
    assert "No answer yet" in shown
    assert "lets nothing else run" in shown
    assert 'data-live="soon"' not in shown
    LiveStack.objects.update(asked_at=timezone.now() - stacks.WANTED - timedelta(seconds=1))
    assert stacks.wanted([job.worker]) == set(), "nobody waits any more"
    JobRecord.objects.update(state=State.SUCCEEDED)
    assert "moved on before its worker could tell" in part(page(operator, job))


def test_stack_of_a_run_that_is_over_stays_until_the_next_run(operator: Client) -> None:
    job = make_job(State.PROCESSING)
    answered(job, FRAMES)
    JobRecord.objects.update(state=State.FAILED)
    html = page(operator, job)
    assert "gateway.charge(order)" in part(html)
    assert "data-live" not in part(html)
    assert "Show live stack" not in html
    JobRecord.objects.update(state=State.PROCESSING, token="another")
    assert "gateway.charge(order)" not in page(operator, job)


def test_only_those_who_may_stop_a_running_job_ask_or_see(viewer: Client, make_user: MakeUser) -> None:
    job = make_job(State.PROCESSING)
    retries = logged_in(make_user("rita", "view_jobrecord", "retry_jobrecord"))
    blind = logged_in(make_user("ben", "delete_jobrecord"))
    for client in (viewer, retries, blind):
        assert ask(client, job) == 403
    assert not LiveStack.objects.exists()
    assert not AuditEntry.objects.exists()
    answered(job, FRAMES)
    for client in (viewer, retries):
        html = page(client, job)
        assert "gateway.charge" not in html
        assert "Show live stack" not in html


@pytest.mark.parametrize("state", [State.ENQUEUED, State.FAILED])
def test_job_that_does_not_run_cannot_be_asked(operator: Client, state: State) -> None:
    job = make_job(state)
    assert ask(operator, job) == 302
    assert not LiveStack.objects.exists()
    assert "Show live stack" not in page(operator, job)


def test_stale_page_asks_nothing_and_says_so(operator: Client) -> None:
    job = make_job(State.PROCESSING)
    assert ask(operator, job, token="0" * 16) == 302
    assert not LiveStack.objects.exists()
    assert "had moved on since the page was made; nothing was asked" in page(operator, job)


def test_hostile_stack_is_stored_clean_and_shown_inert_and_bounded(operator: Client) -> None:
    job = make_job(State.PROCESSING)
    ask(operator, job)
    hostile = '  File "<script>alert(1)</script>", line 1, in f\x00\ud800\n    <img src=x>\u202e\n' * 20_000
    stacks.keep(job.pk, job.token, hostile)
    with CaptureQueriesContext(connection) as captured:
        html = page(operator, job)
    assert "<script>alert" not in html
    assert "<img src=x>" not in html
    assert "\u202e" not in html
    assert "&lt;img src=x&gt;" in html
    assert len(html) < 400_000
    assert sum("jobs_livestack" in query["sql"] for query in captured) == 1


def test_answer_to_nobody_is_not_kept() -> None:
    job = make_job(State.PROCESSING)
    stacks.keep(job.pk, job.token, FRAMES)
    assert not LiveStack.objects.exists()
    answered(job, FRAMES)
    stacks.keep(job.pk, job.token, "late")
    assert LiveStack.objects.get().text == FRAMES


def test_stacks_are_erased_after_a_day() -> None:
    fresh, old = make_job(State.PROCESSING), make_job(State.PROCESSING)
    for job in (fresh, old):
        answered(job, FRAMES)
    LiveStack.objects.filter(pk=old.pk).update(asked_at=timezone.now() - stacks.KEEP - timedelta(minutes=1))
    while recovery.age_out():
        pass
    assert LiveStack.objects.get().pk == fresh.pk
