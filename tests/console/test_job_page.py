"""The job page: log lines, relations, Markdown, and bounds."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from handlers.models import AttemptError, AttemptLog, JobRecord
from handlers.states import State
from tests.console.factories import make_job

pytestmark = pytest.mark.django_db


def page(client: Client, job: JobRecord, query: str = "") -> str:
    response = client.get(reverse("admin:jobs_jobrecord_change", args=[job.pk]) + query)
    assert response.status_code == 200
    return response.content.decode()


def test_log_lines_are_shown_inert(viewer: Client) -> None:
    job = make_job()
    AttemptLog.objects.create(
        job=job, attempt=1, lines=[["2026-01-01T00:00:00+00:00", "ERROR", "shop", "<script>\u202ex"], "garbage"]
    )
    html = page(viewer, job)
    assert "log-error" in html
    assert "&lt;script&gt;\\u202ex" in html


def test_parent_children_and_correlation_are_linked(viewer: Client) -> None:
    parent = make_job(State.SUCCEEDED)
    job = make_job(parent_id=parent.pk, correlation="order 7")
    child = make_job(parent_id=job.pk)
    html = page(viewer, job)
    for other in (parent, child):
        assert reverse("admin:jobs_jobrecord_change", args=[other.pk]) in html
    assert "?q=correlation%3A%22order%207%22" in html


def test_markdown_fence_cannot_be_broken_out_of(viewer: Client) -> None:
    html = page(viewer, make_job(message="````` [x](http://evil)"))
    assert "``````\n" in html


def test_old_attempt_links_to_its_traceback_and_logs(viewer: Client) -> None:
    job = make_job()
    first = job.history.get(to_state=State.FAILED)
    AttemptError.objects.filter(job=job).update(traceback="the very first")
    AttemptLog.objects.create(job=job, attempt=1, lines=[["2026-01-01T00:00:00+00:00", "INFO", "shop", "hello log"]])
    for attempt in range(2, 9):
        AttemptError.objects.create(job=job, attempt=attempt, at=job.created_at, exception="E", traceback="later")
        first.pk, first.attempt = None, attempt
        first.save()
    JobRecord.objects.filter(pk=job.pk).update(attempt=8)
    html = page(viewer, job)
    assert "?attempt=1" in html
    assert "the very first" not in html
    assert "hello log" not in html
    html = page(viewer, job, "?attempt=1")
    assert "the very first" in html
    assert "hello log" in html


@pytest.mark.parametrize("nonsense", ["%00x", "-1", "99999999999999999999", "2147483647"])
def test_attempt_that_is_none_shows_the_page(viewer: Client, nonsense: str) -> None:
    assert page(viewer, make_job(), f"?attempt={nonsense}")
