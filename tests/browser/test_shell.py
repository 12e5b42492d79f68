"""What is around every page: one line of header on a phone, and a navigation that opens and folds without a script."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from tests.browser.conftest import NewPage, sign_in
from tests.console.factories import make_job

pytestmark = [pytest.mark.browser, pytest.mark.redis, pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def _admin() -> None:
    User.objects.create_superuser("admin", password="secret")


def test_phone_has_one_line_of_header_that_says_where_one_is_and_opens_without_a_script(
    new_page: NewPage, live_server: Any
) -> None:
    page = new_page(viewport={"width": 390, "height": 844}, java_script_enabled=False)
    sign_in(page, live_server.url, "admin")
    nav = page.get_by_role("navigation", name="Console")
    switch = page.locator(".nav-switch.on-phone summary")
    for name in ("Audit", "Users", "Overview"):
        expect(nav).to_be_hidden()
        switch.click()
        nav.get_by_role("link", name=name, exact=True).click()
        expect(page.locator(".nav-switch .here")).to_have_text(name)
        expect(page.locator(".nav-switch .here")).to_be_in_viewport(ratio=1)
        header = page.locator("#header").bounding_box()
        assert header
        assert header["height"] <= 56
        assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
    page.locator(".account summary").click()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("link", name="Log in again")).to_be_visible()


def test_desk_has_the_navigation_beside_the_page_until_it_is_folded_and_it_stays_so(
    page: Page, live_server: Any
) -> None:
    sign_in(page, live_server.url, "admin")
    nav = page.get_by_role("navigation", name="Console")
    expect(nav.get_by_role("link", name="Overview")).to_have_attribute("aria-current", "page")
    assert beside(page) > 150
    page.locator(".nav-switch.on-desk summary").click()
    expect(nav).to_be_hidden()
    assert beside(page) < 50
    page.wait_for_function("document.cookie.includes('console_nav=folded')")  # a moment after it has folded
    page.reload()
    expect(nav).to_be_hidden()
    page.locator(".nav-switch.on-desk summary").press("Enter")
    expect(nav).to_be_visible()
    page.wait_for_function("!document.cookie.includes('console_nav=folded')")
    page.reload()
    expect(nav).to_be_visible()


def test_icon_and_navigation_turn_when_a_job_fails_while_one_looks(page: Page, live_server: Any) -> None:
    make_job("processing")
    sign_in(page, live_server.url, "admin")
    mark = page.locator("#mark-failures")
    expect(mark).to_be_empty()
    make_job("failed")
    expect(mark).to_contain_text("1 job is failed now")
    assert "icon-failing" in (page.locator("#favicon").get_attribute("href") or "")


def beside(page: Page) -> float:
    """How far from the left edge the page's own heading is."""
    box = page.get_by_role("heading", name="Overview").bounding_box()
    assert box
    return box["x"]


def test_single_keys_are_turned_off_in_the_help_and_then_none_acts_on_any_page(page: Page, live_server: Any) -> None:
    job = make_job("failed")
    sign_in(page, live_server.url, "admin")
    page.goto(f"{live_server.url}/admin/jobs/jobrecord/{job.pk}/change/")
    for keys in ("Control+Shift+R", "Alt+R", "Meta+R"):  # the browser's own, or a screen reader's
        page.evaluate(
            "key => document.dispatchEvent(new KeyboardEvent('keydown', {key: 'R', shiftKey: true, bubbles: true,"
            " ctrlKey: key.includes('Control'), altKey: key.includes('Alt'), metaKey: key.includes('Meta')}))",
            keys,
        )
    page.keyboard.press("?")
    page.get_by_role("button", name="Turn single keys off").click()
    expect(page.locator("#live-told")).to_have_text("Single keys do nothing any more.")
    for key in ("Shift+R", "r", "/", "?"):
        page.keyboard.press(key)
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.locator("ul.messagelist")).to_be_focused()  # still: no key went anywhere
    page.goto(f"{live_server.url}/admin/jobs/jobrecord/")
    page.keyboard.press("j")
    expect(page.locator("#result_list tr.current")).to_have_count(0)
    job.refresh_from_db()
    assert job.state == "failed"
