"""A journey with a deploy whose code does not read a saga's state: it waits, says so, and goes on after the mend."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from handlers import event_bus
from handlers.models import JobRecord, SagaRecord
from tests.browser.conftest import sign_in
from tests.browser.people import someone
from tests.faults.conftest import Start
from tests.faults.records import wait_state
from tests.processes import wait_for
from tests.releases import release

pytestmark = [pytest.mark.browser, pytest.mark.once, pytest.mark.redis, pytest.mark.django_db(transaction=True)]


def test_saga_whose_state_a_deploy_does_not_read_waits_says_so_and_goes_on_after_the_mend(
    page: Page, live_server: Any, start_worker: Start, child_env: dict[str, str]
) -> None:
    someone("olga", "Operator")
    with release("older") as older:
        event_bus.publish(older.Sent(7))
        event_bus.publish(older.Passed(7, "Lyon"))
    child_env["JOBSITE_APPS"] = "tests.app,tests.releases.older"
    worker = start_worker("--processes", "1")
    wait_state("succeeded", *JobRecord.objects.values_list("pk", flat=True))
    worker.terminate()

    with release("newer") as newer:  # the deploy: the console and the worker have its code
        event_bus.publish(newer.Passed(7, "Rome"))
        held = JobRecord.objects.latest("pk").pk
        child_env["JOBSITE_APPS"] = "tests.app,tests.releases.newer"
        worker = start_worker("--processes", "1")
        wait_for("it waits", lambda: SagaRecord.objects.exclude(unreadable=""))
        sign_in(page, live_server.url, "olga")
        navigation = page.get_by_role("navigation", name="Console")
        navigation.get_by_role("link", name="Sagas").click()
        urgent = page.locator("#sagas-urgent")
        expect(urgent.locator(".state")).to_have_text("Cannot be read")
        urgent.get_by_role("link", name="number 7").click()
        expect(page.locator("#saga-state")).to_contain_text("Its state does not fit the code that runs: shop.Journey")
        expect(page.locator("#saga-state")).to_contain_text("It waits, with its events, for code that reads it.")
        expect(page.locator("#saga-failed")).to_contain_text(f"#{held}")
        worker.terminate()

    with release("older"):  # rolled back
        child_env["JOBSITE_APPS"] = "tests.app,tests.releases.older"
        start_worker("--processes", "1")
        page.locator("#saga-failed").get_by_role("link", name=f"#{held}").click()
        expect(page.locator("#job-timeline")).to_contain_text("does not fit the code that runs")
        page.get_by_role("button", name="Run now").click()
        wait_state("succeeded", held)
        navigation.get_by_role("link", name="Sagas").click()
        page.get_by_role("link", name="number 7").click()
        expect(page.locator("#saga-state .state")).to_have_text("Goes on")
        expect(page.locator("#saga-data")).to_contain_text("Rome")
        expect(page.locator("#saga-turns li").first).to_contain_text("Event shop.Passed")
    assert SagaRecord.objects.get().data == {"places": ["Lyon", "Rome"]}
