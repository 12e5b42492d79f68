"""A journey with a job that waits for somebody, from the Overview to what came of it."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from handlers import job_scheduler
from handlers.models import AuditEntry
from tests.app.approvals import PayOut
from tests.browser.conftest import sign_in
from tests.browser.people import someone
from tests.faults.conftest import Start
from tests.faults.records import Notes, wait_state

pytestmark = [pytest.mark.browser, pytest.mark.once, pytest.mark.redis, pytest.mark.django_db(transaction=True)]


def test_job_that_waits_for_approval_is_approved_and_goes_on(
    page: Page, live_server: Any, start_worker: Start, notes: Notes
) -> None:
    someone("olga", "Operator")
    job_id = int(job_scheduler.enqueue(PayOut(4711)))
    start_worker("--processes", "1")
    wait_state("waiting", job_id)

    sign_in(page, live_server.url, "olga")
    page.get_by_role("link", name="1 job waits for an answer").click()
    expect(page.locator("#result_list")).to_contain_text("waits for approval")
    page.get_by_role("link", name=f"app.PayOut #{job_id}").click()
    expect(page.locator("#job-sentence")).to_contain_text("Waits for approval since")
    wait = page.locator("#job-wait")
    expect(wait).to_contain_text("without an answer it goes on")
    wait.get_by_role("button", name="Approve").click()  # the browser asks for the reason first
    expect(wait.get_by_label("Reason")).to_be_focused()
    wait.get_by_label("Reason").fill("the customer called")
    wait.get_by_role("button", name="Approve").click()
    expect(page.locator(".messagelist")).to_contain_text(f"Approved job {job_id}.")
    wait_state("succeeded", job_id)
    page.reload()
    expect(page.locator("h1 .state")).to_have_text("Succeeded")
    expect(page.locator("#job-signals")).to_contain_text("the customer called")
    assert "paid 4711: the customer called" in notes.lines()
    assert AuditEntry.objects.get(verb="signal").username == "olga"
