"""The session is over, or is another one: what was typed is there again, and nothing was done meanwhile."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.sessions.models import Session
from playwright.sync_api import Locator, Page, expect

from handlers.models import JobRecord
from tests.browser.conftest import NewPage, fill_in_login
from tests.browser.people import PASSWORD, someone
from tests.console.factories import make_job

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
    fill_in_login(page, live_server.url, "olga", PASSWORD)
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
    fill_in_login(page, live_server.url, "olga", PASSWORD)
    fill(page, live_server.url)
    Session.objects.all().delete()
    fill_in_login(page.context.new_page(), live_server.url, "olga", PASSWORD)
    page.get_by_role("button", name="Enqueue", exact=True).click()
    expect(page.locator(".messagelist")).to_contain_text("Nothing was done. This is the form as you sent it")
    expect(page.get_by_label("text")).to_have_value('typed "here" <b>')
    assert not JobRecord.objects.exists()


def sign_in_again(page: Page) -> None:
    page.get_by_label("Username").fill("ada")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()


def test_every_kind_of_form_outlives_its_session(new_page: NewPage, live_server: Any) -> None:
    someone("ada", "Administrator")
    page, url = new_page(refusals=True), live_server.url
    fill_in_login(page, url, "ada", PASSWORD)
    jobs = [make_job(), make_job()]
    said = page.locator(".messagelist")

    def press_when_it_is_over(name: str, of: Locator | Page = page) -> None:
        Session.objects.all().delete()
        of.get_by_role("button", name=name, exact=True).click()
        expect(page.locator(".errornote")).to_contain_text("nothing was done")
        sign_in_again(page)

    # Those with a page for their form have it back as it was typed, and are sent once more from there.
    page.goto(f"{url}/admin/bulk/new/?verb=retry&state=failed")
    page.get_by_label("Canary jobs").fill("7")
    page.get_by_label("Reason").fill("a bulk reason")
    press_when_it_is_over("Retry 2 jobs")
    expect(said).to_contain_text("Nothing was done. This is the form as you sent it")
    expect(page.get_by_label("Canary jobs")).to_have_value("7")
    expect(page.get_by_label("Reason")).to_have_value("a bulk reason")
    page.goto(f"{url}/admin/retry-policies/new/")
    page.get_by_label("Name").fill("patient")
    press_when_it_is_over("Preview")
    expect(page.get_by_label("Name")).to_have_value("patient")
    page.goto(f"{url}/admin/recurring/new/?type=app.Note")
    page.get_by_label("Name", exact=True).fill("nightly")
    press_when_it_is_over("Preview")
    expect(page.get_by_label("Name", exact=True)).to_have_value("nightly")
    page.goto(f"{url}/admin/auth/user/add/")
    page.get_by_label("Username").fill("newcomer")
    press_when_it_is_over("Save")
    expect(page.get_by_label("Username")).to_have_value("newcomer")

    # The others are one press away, with what was typed.
    page.goto(f"{url}/admin/jobs/jobrecord/?state=failed")
    for job in jobs:
        page.locator(f"input.action-select[value='{job.pk}']").check()
    page.get_by_label("Reason").fill("a list reason")
    press_when_it_is_over("Retry", page.locator(".actions"))
    expect(page.locator(".typed")).to_contain_text("2 ticked")
    expect(page.locator(".typed")).to_contain_text("a list reason")
    page.get_by_role("button", name="Send it now").click()
    expect(said).to_contain_text("Retried 2 jobs.")
    page.goto(f"{url}/admin/queues/")
    page.locator("#queue-default").get_by_text("Pause …").click()
    page.get_by_label("Reason to pause default").fill("a queue reason")
    press_when_it_is_over("Pause", page.locator("tr", has_text="default").first)
    page.get_by_role("button", name="Send it now").click()
    expect(said).to_contain_text("Paused queue default")
    Session.objects.all().delete()
    said.get_by_role("button", name="Undo").click()
    sign_in_again(page)
    page.get_by_role("button", name="Send it now").click()
    expect(said).to_contain_text("queue default runs again")

    # A login in another tab makes the form's token void: one press more, and nothing typed is lost.
    page.goto(f"{url}/admin/queues/")
    page.locator("#queue-default").get_by_text("Pause …").click()
    page.get_by_label("Reason to pause default").fill("of before")
    other = page.context.new_page()
    Session.objects.all().delete()
    fill_in_login(other, url, "ada", PASSWORD)
    page.locator("tr", has_text="default").first.get_by_role("button", name="Pause", exact=True).click()
    expect(page.get_by_text("You signed in anew after this page was made")).to_be_visible()
    expect(page.locator(".typed")).to_contain_text("of before")
    page.get_by_role("button", name="Send it now").click()
    expect(said).to_contain_text("Paused queue default")
