"""Taking back: what was retried, requeued or run now and has not begun is where it was, as it stood."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from handlers import job_scheduler
from handlers.lifecycle import promote_due
from handlers.models import AuditEntry, JobCountDelta, JobPayload, JobRecord
from handlers.states import State
from tests.console.factories import make_job
from tests.running import NotingTransport, run

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("noting")]


def fresh(job: JobRecord) -> JobRecord:
    return JobRecord.objects.get(pk=job.pk)


def stood(job: JobRecord) -> tuple[Any, ...]:
    found = fresh(job)
    return found.state, found.attempt, found.failures, found.crashes, found.alone, found.error, found.run_at


@pytest.mark.parametrize(
    ("state", "retrying", "verb"),
    [
        (State.FAILED, False, "retry"),
        (State.SCHEDULED, False, "retry"),
        (State.SCHEDULED, True, "retry"),
        (State.SUCCEEDED, False, "requeue"),
    ],
)
def test_job_is_where_it_was_as_it_stood(state: State, retrying: bool, verb: str, noting: NotingTransport) -> None:
    job = make_job(state, retrying=retrying)
    JobRecord.objects.filter(pk=job.pk).update(crashes=1, alone=True)
    before = stood(job)
    olga = User.objects.create(username="olga")
    assert getattr(job_scheduler, verb)(job.pk)
    assert fresh(job).state == "enqueued"
    counted = JobCountDelta.objects.count()
    assert job_scheduler.take_back(job.pk, by=olga, reason="wrong one")
    assert stood(job) == before
    assert JobCountDelta.objects.count() == counted  # it is no failure, nor anything else
    move = job.history.order_by("-pk")[0]
    assert (move.from_state, move.to_state, move.actor, move.reason) == ("enqueued", state, "user:olga", "wrong one")
    entry = AuditEntry.objects.get()
    assert (entry.verb, entry.count, entry.data and entry.data["job_ids"]) == ("take_back", 1, [job.pk])
    assert not job_scheduler.take_back(job.pk)
    assert noting.withdrawn[-1][0].job_id == job.pk


def test_edited_arguments_are_the_former_ones_again() -> None:
    job = make_job(State.FAILED, payload={"text": "old"})
    assert job_scheduler.retry(job.pk, payload={"text": "new"})
    assert job_scheduler.take_back(job.pk)
    assert JobPayload.objects.get(pk=job.pk).data == {"text": "old"}
    assert fresh(job).state == "failed"


def test_what_has_begun_or_was_not_asked_for_stays() -> None:
    ran = make_job(State.FAILED)
    job_scheduler.retry(ran.pk)
    run(ran.pk)
    plain, due = make_job(State.ENQUEUED), make_job(State.SCHEDULED)
    JobRecord.objects.filter(pk=due.pk).update(run_at=timezone.now() - timedelta(minutes=1))
    promote_due(10)
    before = [fresh(job).state for job in (ran, plain, due)]
    assert job_scheduler.take_back_many([ran.pk, plain.pk, due.pk]) == 0
    assert [fresh(job).state for job in (ran, plain, due)] == before


def test_page_that_is_out_of_date_takes_nothing_back() -> None:
    job = make_job(State.FAILED)
    job_scheduler.retry(job.pk)
    assert not job_scheduler.take_back(job.pk, expect=job.token)
    assert job_scheduler.take_back(job.pk, expect=fresh(job).token)
