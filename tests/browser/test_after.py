"""After an action, in a real browser: what became of it is there by itself, said aloud, and can be undone."""

from __future__ import annotations

import time
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from handlers.models import JobRecord
from handlers.states import State
from tests.browser.conftest import NewPage, sign_in
from tests.browser.people import someone
from tests.console.factories import make_job
from tests.faults.conftest import Start
from tests.faults.records import wait_state
from tests.processes import wait_for

pytestmark = [pytest.mark.browser, pytest.mark.once, pytest.mark.redis, pytest.mark.django_db(transaction=True)]

JOBS = "/admin/jobs/jobrecord/"


def opened(page: Page, live_server: Any, path: str) -> Page:
    someone("olga", "Operator")
    sign_in(page, live_server.url, "olga")
    page.goto(live_server.url + path)
    return page


def test_retried_job_shows_and_says_its_outcome_without_a_reload(
    page: Page, live_server: Any, start_worker: Start
) -> None:
    first, job = make_job(), make_job()
    start_worker("--processes", "1")
    opened(page, live_server, f"{JOBS}{first.pk}/change/")
    page.get_by_role("button", name="Retry", exact=True).click()
    wait_state("succeeded", first.pk)  # the worker is warm
    page.goto(f"{live_server.url}{JOBS}{job.pk}/change/")
    loads: list[str] = []
    page.on("load", lambda loaded: loads.append(loaded.url))
    began = time.monotonic()
    page.get_by_role("button", name="Retry", exact=True).click()
    expect(page.locator(".messagelist")).to_contain_text("It succeeded on attempt 2.")
    print(f"retry pressed to its outcome on the page: {(time.monotonic() - began) * 1000:.0f} ms")
    expect(page.locator("h1 .state")).to_have_text("Succeeded")
    expect(page.locator("#live-told")).to_have_text(f"Job {job.pk}: it succeeded on attempt 2")
    expect(page.get_by_role("button", name="Undo")).to_have_count(0)
    assert len(loads) == 1


def test_list_follows_what_was_retried_and_a_retry_is_undone(page: Page, live_server: Any) -> None:
    jobs = [make_job(), make_job()]
    opened(page, live_server, f"{JOBS}?state=failed")
    for job in jobs:
        page.locator(f"input.action-select[value='{job.pk}']").check()
    page.locator(".actions").get_by_role("button", name="Retry", exact=True).click()
    said = page.locator(".messagelist")
    expect(said).to_contain_text("Retried 2 jobs. 2 wait for a worker.")
    JobRecord.objects.filter(pk=jobs[0].pk).update(state=State.PROCESSING, attempt=2)
    expect(said).to_contain_text("1 wait for a worker, 1 running")
    page.get_by_role("button", name="Undo").click()
    expect(said).to_contain_text("Undone: 1 job is back as it was. 1 had begun.")
    assert page.url == f"{live_server.url}{JOBS}?state=failed"
    wait_for("the job is failed again", lambda: JobRecord.objects.get(pk=jobs[1].pk).state == "failed")


def test_second_press_is_held_back_and_that_of_another_tab_says_what_the_first_one_did(
    new_page: NewPage, live_server: Any
) -> None:
    page, job = new_page(), make_job()
    opened(page, live_server, f"{JOBS}{job.pk}/change/")
    other = page.context.new_page()
    other.goto(page.url)
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if request.method == "POST" else None)
    page.get_by_role("button", name="Retry", exact=True).dblclick()
    expect(page.locator(".messagelist")).to_contain_text("Retried job")
    assert len(sent) == 1
    other.get_by_role("button", name="Retry", exact=True).click()
    expect(other.locator(".messagelist")).to_contain_text(f"You retried job {job.pk}")
    expect(other.locator(".messagelist")).to_contain_text("it waits for a worker. Nothing was done now.")
