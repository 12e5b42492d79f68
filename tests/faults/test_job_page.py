"""What a real worker recorded of a job, as the job page tells it."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from handlers import job_scheduler
from handlers.models import JobPayload
from tests.app.jobs import Announce
from tests.faults.conftest import Start
from tests.faults.records import wait_state

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis, pytest.mark.once]


def test_log_lines_and_child_of_a_job_that_a_worker_ran_are_on_its_page(start_worker: Start, client: Client) -> None:
    job_id = int(job_scheduler.enqueue(Announce("ann")))
    start_worker("--processes", "1")
    wait_state("succeeded", job_id)
    child = JobPayload.objects.get(parent_id=job_id)
    wait_state("succeeded", child.pk)
    client.force_login(User.objects.create_superuser("admin"))
    html = client.get(reverse("admin:jobsite_jobs_jobrecord_change", args=[job_id])).content.decode()
    assert "announcing ann" in html
    assert f"app.Greet #{child.pk}" in html
    html = client.get(reverse("admin:jobsite_jobs_jobrecord_change", args=[child.pk])).content.decode()
    assert f"app.Announce #{job_id}" in html
