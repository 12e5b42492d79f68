"""The job page tells how far a run is, which steps are done, and what it logs while it goes on."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from handlers.models import JobRecord, JobStep, RunState
from handlers.states import State
from tests.console.factories import make_job

pytestmark = pytest.mark.django_db

NOW = timezone.now()


def page(client: Client, job: JobRecord) -> str:
    response = client.get(reverse("admin:jobsite_jobs_jobrecord_change", args=[job.pk]))
    assert response.status_code == 200
    return " ".join(response.content.decode().split())


def state_of(job: JobRecord, **values: Any) -> None:
    RunState.objects.create(job=job, **{"attempt": job.attempt, "at": NOW, **values})


def step_of(job: JobRecord, name: str, **values: Any) -> None:
    JobStep.objects.create(job=job, name=name, **{"attempt": 1, "started_at": NOW - timedelta(seconds=3), **values})


def test_a_running_job_tells_how_far_it_is_and_what_it_logs(admin_client: Client) -> None:
    job = make_job(State.PROCESSING)
    line = ["2026-11-30T03:00:00.000+00:00", "INFO", "shop", "half of <it>"]
    state_of(job, done=1417, total=5000, message="at <b>order</b> 7", lines=[line])
    step_of(job, "charge", finished_at=NOW)
    step_of(job, "each shop.order", rows=1417)
    text = page(admin_client, job)
    assert '<progress value="28" max="100"' in text
    assert "<strong>1,417 of 5,000</strong> <span>at &lt;b&gt;order&lt;/b&gt; 7</span>" in text
    assert "half of &lt;it&gt;" in text
    assert "<td>done</td> <td>1</td>" in text
    assert "1417 rows</span></th> <td>running</td>" in text


def test_one_that_ended_tells_how_far_it_came(admin_client: Client) -> None:
    job = make_job(State.FAILED)
    state_of(job, done=3.5, message="", lines=[["", "INFO", "shop", "of its run alone"]], checkpoint_at=NOW)
    step_of(job, "ship")
    text = page(admin_client, job)
    assert "<progress" not in text
    assert "<strong>3.50</strong>" in text
    assert "attempt 1," in text
    assert "broke off: the next attempt goes on with it" in text
    assert "The last checkpoint was kept" in text
    assert "of its run alone" not in text


def test_what_steps_returned_and_checkpoints_hold_is_not_shown(admin_client: Client) -> None:
    job = make_job(State.FAILED)
    state_of(job, checkpoint={"card": "4111-1111"}, checkpoint_at=NOW, checkpoint_attempt=1)
    step_of(job, "charge", finished_at=NOW, data={"card": "4111-1111"})
    assert "4111-1" not in page(admin_client, job)


def test_only_the_newest_steps_are_shown(admin_client: Client) -> None:
    job = make_job(State.PROCESSING)
    for number in range(60):
        step_of(job, f"step {number}", finished_at=NOW)
    text = page(admin_client, job)
    assert "Only the newest steps are shown" in text
    assert ("step 9<" in text, "step 10<" in text, "step 59<" in text) == (False, True, True)


def test_a_job_whose_handler_tells_nothing_has_no_such_section(admin_client: Client) -> None:
    assert "Progress" not in page(admin_client, make_job(State.PROCESSING))


def test_a_snoozed_job_says_so_though_an_attempt_before_it_failed(admin_client: Client) -> None:
    job = make_job(State.FAILED)
    job.history.filter(to_state=State.FAILED).update(to_state=State.SCHEDULED, reason="not yet")
    job.errors.all().delete()
    JobRecord.objects.filter(pk=job.pk).update(state=State.SCHEDULED, run_at=NOW + timedelta(minutes=5))
    text = page(admin_client, job)
    assert "Snoozed by its handler; runs again" in text
    assert "not yet" in text
    assert "snoozed</span>" in text.lower()
