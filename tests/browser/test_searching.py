"""The failed job of an order, found by its number from any page, mended and retried; a pasted error, kept as a view."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from handlers.models import JobRecord
from tests.browser.conftest import sign_in
from tests.browser.people import someone
from tests.console.factories import make_job

pytestmark = [pytest.mark.browser, pytest.mark.once, pytest.mark.redis, pytest.mark.django_db(transaction=True)]
MOST = {"clicks": 4, "keys": 12, "loads": 5}  # the login's clicks and keys are not counted, its loads are
TRACEBACK = "Traceback (most recent call last):\n  File 'x.py', line 1, in f\n    f()\nshop.Refused: no such address\n"


class Hands:
    """A person at a page: how often they click, press a key, and wait for a page."""

    def __init__(self, page: Page) -> None:
        self.page, self.did = page, dict.fromkeys(MOST, 0)
        page.on("load", lambda _: self.did.update(loads=self.did["loads"] + 1))

    def click(self, place: Any) -> None:
        """Once."""
        place.click()
        self.did["clicks"] += 1

    def press(self, *keys: str) -> None:
        """One after the other."""
        for key in keys:
            self.page.keyboard.press(key)
            self.did["keys"] += 1


def test_failed_job_of_an_order_is_mended_and_retried_in_few_clicks_keys_and_loads(
    page: Page, live_server: Any
) -> None:
    someone("olga", "Operator")
    number = 4711
    failed = make_job(
        job_type="app.Ship", payload={"order_id": number, "address": "nowhere"}, message="no such address"
    )
    hands = Hands(page)
    sign_in(page, live_server.url, "olga")
    hands.click(page.get_by_role("searchbox", name="Search jobs"))
    hands.press(*str(number), "Enter")
    hands.click(page.locator(".in-arguments").get_by_role("link", name="Edit and retry"))
    hands.click(page.get_by_label("address"))
    hands.press("Control+a", *"Oak 2")
    hands.click(page.get_by_role("button", name="Retry", exact=True))
    expect(page.locator(".messagelist")).to_contain_text(f"Retried job {failed.pk} with these arguments")
    assert JobRecord.objects.get(pk=failed.pk).payload == {"order_id": number, "address": "Oak 2"}
    page.wait_for_load_state()
    assert all(hands.did[what] <= most for what, most in MOST.items()), hands.did


def test_pasted_traceback_is_searched_for_by_its_error_and_kept_as_a_view(page: Page, live_server: Any) -> None:
    someone("olga", "Operator")
    wanted = make_job(exception="shop.Refused", message="no such address")
    make_job()
    sign_in(page, live_server.url, "olga")
    page.keyboard.press("/")
    paste = """([box, text]) => {
        const data = new DataTransfer();
        data.setData("text/plain", text);
        box.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
    }"""
    box = page.get_by_role("searchbox", name="Search jobs")
    expect(box).to_be_focused()
    page.evaluate(paste, [box.element_handle(), TRACEBACK])
    expect(box).to_have_value("shop.Refused: no such address")
    box.press("Enter")
    expect(page.locator("#result_list tbody tr")).to_have_count(1)
    page.get_by_text("Failed", exact=True).first.click()
    page.get_by_role("button", name="Filter").click()
    assert "type=" not in page.url, "what is empty stays out of the address"
    page.get_by_text("Save as a view").click()
    page.get_by_label("Name", exact=True).fill("No address")
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_role("navigation", name="Console").get_by_role("link", name="No address").click()
    expect(page.get_by_text("View: No address")).to_be_visible()
    expect(page.locator("#result_list")).to_contain_text(f"#{wanted.pk}")
