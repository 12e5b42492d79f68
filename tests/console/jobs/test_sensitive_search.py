"""A search is a question: whoever may not see a secret may not ask for it either, wherever in a job it lies."""

from __future__ import annotations

import pytest
from django.test import Client

from handlers.models import JobRecord
from tests.console.factories import make_job

pytestmark = pytest.mark.django_db

NESTED = {"job": {"type": "app.Pay", "payload": {"order_id": 7, "token": "tok-secret-1"}}, "delay": None}


@pytest.fixture
def job() -> JobRecord:
    """A job that holds a job with a secret."""
    return make_job(job_type="jobs.EnqueueJobCommand", payload=NESTED)


def _found(client: Client, job: JobRecord, query: str) -> bool:
    return f"/jobrecord/{job.pk}/" in client.get("/admin/jobs/jobrecord/", {"q": query}).content.decode()


@pytest.mark.parametrize("query", ["tok-secret-1", "args.job.payload.token:tok-secret-1"])
def test_secret_of_a_job_inside_a_job_is_not_found_without_the_permission(
    viewer: Client, superuser: Client, job: JobRecord, query: str
) -> None:
    assert _found(superuser, job, query)
    assert not _found(viewer, job, query)


def test_other_arguments_of_a_job_inside_a_job_are_found(viewer: Client, job: JobRecord) -> None:
    assert _found(viewer, job, "args.job.payload.order_id:7")


def test_list_says_where_words_are_not_looked_for(viewer: Client, superuser: Client) -> None:
    job = make_job(job_type="app.Pay", payload={"order_id": 4711, "token": "tok-secret-1"})
    note = "In the arguments of job types that have sensitive ones no words are looked for."

    def says(client: Client, query: str) -> bool:
        return note in client.get("/admin/jobs/jobrecord/", {"q": query}).content.decode()

    assert not _found(viewer, job, '"4711"')
    assert says(viewer, '"4711"')
    assert _found(viewer, job, "args.order_id:4711")
    assert not says(viewer, "args.order_id:4711")
    assert _found(superuser, job, '"4711"')
    assert not says(superuser, '"4711"')
