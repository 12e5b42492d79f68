"""Every page, judged by axe: nothing serious, in light and in dark. And by keyboard alone."""

from __future__ import annotations

import re
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from handlers.states import State
from tests.browser.conftest import NewPage, sign_in
from tests.browser.pages import every_page, furnish, refused_pages
from tests.console.factories import make_job

pytestmark = [pytest.mark.browser, pytest.mark.redis, pytest.mark.django_db(transaction=True)]

SERIOUS = ("serious", "critical")
# Not the stylesheets once more: axe would put them into the page inline, which its policy forbids.
OPTIONS = {"resultTypes": ["violations"], "preload": False}


@pytest.fixture(autouse=True)
def _admin() -> None:
    User.objects.create_superuser("admin", password="secret")


def complaints(page: Page) -> list[str]:
    """What axe finds that is serious or worse: the rule, and where."""
    violations = Axe().run(page, options=OPTIONS).response["violations"]
    return [
        f"{violation['id']} ({violation['impact']}): {node['html'][:200]} {node.get('failureSummary', '')[:300]}"
        for violation in violations
        if violation["impact"] in SERIOUS
        for node in violation["nodes"][:3]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_on_any_page(new_page: NewPage, live_server: Any, scheme: str) -> None:
    furnish()
    page = new_page(color_scheme=scheme, viewport={"width": 1280, "height": 900}, refusals=True)
    sign_in(page, live_server.url, "admin", "secret")
    found = []
    for url, status in [*((url, 200) for url in every_page()), *((url, 400) for url in refused_pages())]:
        response = page.goto(live_server.url + url)
        assert response
        assert response.status == status, url
        found += [f"{url}: {complaint}" for complaint in complaints(page)]
    assert not found, "\n".join(found)


def test_axe_finds_nothing_serious_where_one_signs_in(page: Page, live_server: Any) -> None:
    page.goto(f"{live_server.url}/admin/")
    assert not complaints(page)


def test_failed_job_is_found_and_retried_by_keyboard_alone(page: Page, live_server: Any) -> None:
    job = make_job()
    sign_in(page, live_server.url, "admin", "secret")
    page.keyboard.press("/")
    expect(page.locator("#searchbar")).to_be_focused()
    page.keyboard.type(f"id:{job.pk}")
    page.keyboard.press("Enter")
    page.wait_for_url("**q=id*")
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    expect(page.locator("#result_list tbody tr").first).to_have_class(re.compile("current"))
    page.keyboard.press("Enter")
    page.wait_for_url("**/change/**")  # loaded, the scripts that bind the keys too
    expect(page.get_by_role("heading", name="Why it failed")).to_be_visible()
    page.keyboard.press("r")
    page.locator("h1 .state-enqueued").wait_for()
    job.refresh_from_db()
    assert job.state == State.ENQUEUED
