"""A journey with a long job: its progress, live on its page; killed, and gone on with at its step."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group
from playwright.sync_api import Page, expect

from handlers import job_scheduler
from handlers.models import JobStep
from tests.app.runs import Import
from tests.browser.conftest import sign_in
from tests.browser.people import someone
from tests.faults.conftest import Start
from tests.faults.records import Notes, wait_state
from tests.processes import wait_for

pytestmark = [pytest.mark.browser, pytest.mark.once, pytest.mark.redis, pytest.mark.django_db(transaction=True)]


def test_long_job_is_watched_killed_and_goes_on_where_it_was(
    page: Page, live_server: Any, start_worker: Start, notes: Notes
) -> None:
    someone("olga", "Operator")
    Group.objects.bulk_create(Group(name=f"group {number:02}") for number in range(1, 41))
    job_id = int(job_scheduler.enqueue(Import()))
    sign_in(page, live_server.url, "olga")
    page.goto(f"{live_server.url}/admin/jobs/jobrecord/{job_id}/change/")
    worker = start_worker("--processes", "1")
    progress = page.locator("#job-progress")
    expect(progress).to_contain_text("at group 20")  # without a load of the page
    expect(progress).to_contain_text("load")
    wait_for("its place is kept", lambda: JobStep.objects.filter(rows__gte=19))
    (child,) = worker.children()
    child.kill()
    notes.let_go()
    wait_state("succeeded", job_id)
    expect(page.locator("#job-heading")).to_contain_text("Succeeded")
    steps = page.locator("#job-progress tbody tr")
    expect(steps.filter(has_text="load").locator("td").nth(1)).to_have_text("1")
    expect(steps.filter(has_text="tell").locator("td").nth(1)).to_have_text("2")
    expect(steps.filter(has_text="done")).to_have_count(3)
    assert notes.lines().count("load") == notes.lines().count("tell") == 1
