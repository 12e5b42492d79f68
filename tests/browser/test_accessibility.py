"""Every page in every state can be used by everybody, at each width and in both themes; and by keyboard alone."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from handlers.states import State
from tests.browser.conftest import NewPage, sign_in
from tests.browser.judging import judge, judged_page
from tests.browser.pages import LISTS, every_page, furnish, refused_pages
from tests.console.factories import make_job

pytestmark = [pytest.mark.browser, pytest.mark.redis, pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def _admin() -> None:
    User.objects.create_superuser("admin", password="secret")


def judged(page: Page, live_server: Any, paths: Iterable[str], *, status: int = 200, prefix: str = "") -> list[str]:
    """What is wrong with these pages."""
    found = []
    for path in paths:
        response = page.goto(live_server.url + path)
        assert response
        assert response.status == status, path
        found += judge(page, f"{prefix}{path}")
    return found


def told(found: list[str]) -> None:
    """Fail with all that was found."""
    assert not found, "\n".join(found)


def test_every_page_can_be_used_by_everybody_at_each_width_and_in_both_themes(
    new_page: NewPage, live_server: Any
) -> None:
    page = judged_page(new_page)
    sign_in(page, live_server.url, "admin")
    found = judged(page, live_server, LISTS, prefix="empty ")
    furnish()
    found += judged(page, live_server, every_page())
    found += judged(page, live_server, refused_pages(), status=400)
    told(found)


def test_failed_job_is_found_and_retried_by_keyboard_alone(page: Page, live_server: Any) -> None:
    job = make_job()
    sign_in(page, live_server.url, "admin")
    page.keyboard.press("/")
    expect(page.locator("#searchbar")).to_be_focused()
    page.keyboard.type(f"id:{job.pk}")
    page.keyboard.press("Enter")
    page.wait_for_url("**q=id*")
    page.wait_for_load_state()
    page.keyboard.press("j")  # moves, and types nothing into the box
    expect(page.locator("#result_list tbody tr").first).to_have_class(re.compile("current"))
    page.keyboard.press("Enter")
    page.wait_for_url("**/change/**")  # loaded, the scripts that bind the keys too
    expect(page.get_by_role("heading", name="Why it failed")).to_be_visible()
    page.keyboard.press("r")
    expect(page.get_by_role("button", name="Retry", exact=True)).to_be_focused()
    page.keyboard.press("Enter")
    page.locator("h1 .state-enqueued").wait_for()
    job.refresh_from_db()
    assert job.state == State.ENQUEUED
