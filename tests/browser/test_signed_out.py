"""The session is over, or is another one: what was typed is there again, and nothing was done meanwhile."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.sessions.models import Session
from playwright.sync_api import Page, expect

from handlers.models import JobRecord
from tests.browser.conftest import NewPage, sign_in
from tests.browser.people import PASSWORD, someone

pytestmark = [pytest.mark.browser, pytest.mark.once, pytest.mark.redis, pytest.mark.django_db(transaction=True)]
ENQUEUE = "/admin/job-types/app.Sleep/enqueue/"


def fill(page: Page, url: str) -> None:
    page.goto(f"{url}{ENQUEUE}")
    page.get_by_label("seconds").fill("1.5")
    page.get_by_label("text").fill('typed "here" <b>')
    page.get_by_label("Reason").fill("a try")


@pytest.mark.parametrize("scripts", [True, False])
def test_enqueue_after_the_session_is_over_keeps_what_was_typed(
    new_page: NewPage, live_server: Any, scripts: bool
) -> None:
    someone("olga", "Operator")
    page = new_page(refusals=True, java_script_enabled=scripts)
    sign_in(page, live_server.url, "olga", PASSWORD)
    fill(page, live_server.url)
    Session.objects.all().delete()
    page.get_by_role("button", name="Enqueue", exact=True).click()
    expect(page.locator(".errornote")).to_contain_text("nothing was done")
    page.get_by_label("Username").fill("olga")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    if not scripts:
        page.get_by_role("button", name="Back to the form, as you sent it").click()
    expect(page.locator(".messagelist")).to_contain_text("Nothing was done. This is the form as you sent it")
    expect(page.get_by_label("text")).to_have_value('typed "here" <b>')
    expect(page.get_by_label("Reason")).to_have_value("a try")
    assert not JobRecord.objects.exists()
    page.get_by_role("button", name="Enqueue", exact=True).click()
    expect(page.locator(".messagelist")).to_contain_text("Enqueued job")
    assert JobRecord.objects.get().payload == {"seconds": 1.5, "text": 'typed "here" <b>'}


def test_form_of_one_tab_outlives_the_login_of_another(new_page: NewPage, live_server: Any) -> None:
    someone("olga", "Operator")
    page = new_page(refusals=True)
    sign_in(page, live_server.url, "olga", PASSWORD)
    fill(page, live_server.url)
    Session.objects.all().delete()
    sign_in(page.context.new_page(), live_server.url, "olga", PASSWORD)
    page.get_by_role("button", name="Enqueue", exact=True).click()
    expect(page.locator(".messagelist")).to_contain_text("Nothing was done. This is the form as you sent it")
    expect(page.get_by_label("text")).to_have_value('typed "here" <b>')
    assert not JobRecord.objects.exists()
