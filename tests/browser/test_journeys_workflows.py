"""A journey with a workflow, from signing in on: it fails half-way, is mended, and comes to its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from handlers import job_scheduler
from handlers.models import AuditEntry, Workflow
from tests.app.jobs import Note, Ship
from tests.browser.conftest import sign_in
from tests.browser.people import someone
from tests.faults.conftest import Start
from tests.faults.records import Notes, wait_state
from tests.processes import wait_for

pytestmark = [pytest.mark.browser, pytest.mark.once, pytest.mark.redis, pytest.mark.django_db(transaction=True)]


def test_workflow_that_fails_half_way_is_mended_and_goes_on_from_there_to_its_end(
    page: Page, live_server: Any, start_worker: Start, notes: Notes
) -> None:
    someone("olga", "Operator")
    down = Path(f"{notes.path}.down")
    down.touch()
    with job_scheduler.workflow("Order 4711", on_success=Note("all is done")) as flow:
        picked = flow.enqueue(Note("picked"))
        wrong, held_up = flow.enqueue_many([Ship(4711, "nowhere"), Ship(4712)], after=picked)
        told = flow.enqueue_many([Note(f"told {n}") for n in range(20)], after=[wrong, held_up])
    start_worker("--processes", "1")
    wait_state("failed", wrong.job_id, held_up.job_id)
    wait_for("both are counted", lambda: Workflow.objects.get().failed == 2)
    down.unlink()  # the carrier is back; the address is still wrong

    sign_in(page, live_server.url, "olga")
    page.get_by_role("navigation", name="Console").get_by_role("link", name="Workflows").click()
    page.get_by_label("State").select_option("failed")
    page.get_by_role("button", name="Filter").click()
    page.get_by_role("link", name="Order 4711").click()
    expect(page.locator("#workflow-progress")).to_contain_text("1 of 23 done, 2 failed")
    expect(page.locator("#workflow-progress")).not_to_contain_text("nothing is left")  # twenty wait
    graph = page.locator(".flow-graph")
    expect(graph.locator(".pile")).to_contain_text("20")
    waits = page.locator("table.flow-nodes tr", has_text=f"#{told[0].job_id}")
    expect(waits).to_contain_text(f"job {wrong.job_id}, job {held_up.job_id} failed: retry or skip them")

    # The one with the wrong address is mended on its own page.
    graph.locator(".box-failed", has_text=f"#{wrong.job_id}").click()
    expect(page.locator("#job-flow")).to_contain_text("Order 4711")
    expect(page.locator("#job-plan")).to_contain_text("20 jobs wait for it.")
    page.get_by_role("link", name="Edit and retry").click()
    page.get_by_label("address").fill("Side Street 2")
    page.get_by_role("button", name="Retry", exact=True).click()
    wait_state("succeeded", wrong.job_id)
    page.locator("#job-flow").get_by_role("link", name="Order 4711").click()

    # The other one was only unlucky: it is retried with the whole.
    expect(page.locator("#workflow-progress")).to_contain_text("2 of 23 done, 1 failed")
    page.get_by_label("Reason").fill("the carrier is back")
    page.get_by_role("button", name="Retry 1 failed").click()
    expect(page.locator(".messagelist")).to_contain_text("Retried 1 job of Order 4711.")
    expect(page.locator("#workflow-progress .state").first).to_have_text("Succeeded")
    expect(page.locator("#workflow-progress")).to_contain_text("all 23 done")
    expect(page.locator(".flow-graph .box-failed")).to_have_count(0)
    notes.wait("all is done")
    lines = notes.lines()
    assert lines.count("picked") == 1  # what had succeeded did not run again
    assert sum(line.startswith("told") for line in lines) == 20
    assert AuditEntry.objects.get(verb="retry_workflow").reason == "the carrier is back"
