"""The page of a job that waits for others, or for which others wait."""

from __future__ import annotations

import re
from html import unescape

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from handlers import job_scheduler
from handlers.models import Workflow
from tests.console.conftest import MakeUser, logged_in
from tests.console.workflows.conftest import Send, Step, drain, page

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("bad")]


def html_of(client: Client, job_id: int) -> str:
    response = client.get(f"/admin/jobs/jobrecord/{job_id}/change/")
    assert response.status_code == 200
    return response.content.decode()


def text_of(client: Client, job_id: int) -> str:
    bare = re.sub(r"<[^>]+>", " ", html_of(client, job_id))
    return unescape(re.sub(r"\s+([,.])", r"\1", re.sub(r"\s+", " ", bare)))


def test_job_says_for_what_it_waits_and_what_is_to_come(superuser: Client) -> None:
    with job_scheduler.workflow("Order 7") as flow:
        a = flow.enqueue(Step("a"))
        b = flow.enqueue(Send(flow.result(a)), after=a)
    text = text_of(superuser, b.job_id)
    assert f"Waits for a job to succeed: job {a.job_id} waits on its queue" in text
    assert f"Send(to='x', what=<result of job {a.job_id}>)" in text
    assert "Arguments to come" in text
    assert f"what job {a.job_id} returns" in text
    assert 'id="job-flow" data-live' in html_of(superuser, b.job_id)
    assert f'href="{page(flow.workflow_id)}"' in html_of(superuser, b.job_id)
    drain()
    text = text_of(superuser, b.job_id)
    assert "Send(to='x', what='a')" in text
    assert "to come" not in text


def test_failed_job_says_who_waits_and_offers_to_skip_it(superuser: Client, make_user: MakeUser, bad: set[str]) -> None:
    bad.add("a")
    with job_scheduler.workflow("Order 7", on_end=Send("over")) as flow:
        a = flow.enqueue(Step("a"))
        after = flow.enqueue_many([Send(str(n)) for n in range(8)], after=a)
    drain()
    text = text_of(superuser, a.job_id)
    assert "8 jobs wait for it. Retried, it may yet succeed" in text
    assert f"shop.Send #{after[0].job_id}" in text
    assert "and 3 more" in text
    url = f"/admin/workflows/jobs/{a.job_id}/skip/"
    assert url in html_of(superuser, a.job_id)
    for held in (("retry_jobrecord",), ("delete_jobrecord",), ("retry_jobrecord", "delete_jobrecord")):
        person = logged_in(make_user("-".join(held), "view_jobrecord", *held))
        html = html_of(person, a.job_id)
        assert url not in html
        assert f'href="{page(flow.workflow_id)}"' not in html
        assert "Order 7" in html
    end = Workflow.objects.get().on_end
    assert end
    assert "runs once none is left to run" in text_of(superuser, end)


def test_job_says_that_its_workflow_is_paused_or_that_it_opened_one(superuser: Client) -> None:
    with job_scheduler.workflow("Order 7") as flow:
        a = flow.enqueue(Step("a"))
    job_scheduler.pause_workflow(flow.workflow_id)
    assert "It waits. Its workflow is paused since" in text_of(superuser, a.job_id)
    with job_scheduler.workflow("inner") as inner:
        inner.enqueue(Step("b"))
    Workflow.objects.filter(pk=inner.workflow_id).update(opened_by=a.job_id)
    assert "inner #" in text_of(superuser, a.job_id)
    assert "goes on: who waits for this job waits for that" in text_of(superuser, a.job_id)


def test_continuation_outside_of_a_workflow_is_told_too(superuser: Client) -> None:
    first = job_scheduler.enqueue(Step("a"))
    second = job_scheduler.continue_with(first, Send("b"), when="ended")
    assert f"Waits for a job to end: job {first} waits on its queue" in text_of(superuser, second)
    assert f"Wait for it shop.Send #{second}" in text_of(superuser, first)


def test_other_jobs_pages_read_nothing_for_that(superuser: Client) -> None:
    alone = job_scheduler.enqueue(Step("a"))
    html_of(superuser, alone)
    with CaptureQueriesContext(connection) as queries:
        html_of(superuser, alone)
    assert not [q["sql"] for q in queries if "workflow" in q["sql"] and "permission" not in q["sql"]]
