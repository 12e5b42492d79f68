"""The job list with the keyboard, and what it says of new jobs."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, Route, expect

from handlers import turns
from handlers.models import JobRecord
from handlers.selection import looking
from handlers.states import State
from tests.browser.conftest import NewPage, sign_in
from tests.console.factories import make_job

pytestmark = [pytest.mark.browser, pytest.mark.redis, pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def _people() -> None:
    User.objects.create_superuser("admin", password="secret")


def test_keys_move_tick_retry_and_open(page: Page, live_server: Any) -> None:
    older, newer = make_job(), make_job()
    sign_in(page, live_server.url, "admin")
    page.goto(f"{live_server.url}/admin/jobs/jobrecord/?state=failed")
    rows = page.locator("#result_list tbody tr")
    page.keyboard.press("j")
    expect(rows.nth(0)).to_have_class(re.compile("current"))
    page.keyboard.press("j")
    page.keyboard.press("j")  # there is no third
    expect(rows.nth(1)).to_have_class(re.compile("current"))
    page.keyboard.press("x")
    expect(rows.nth(1).locator("input.action-select")).to_be_checked()
    expect(page.locator(".action-counter")).to_contain_text("1 of 2 selected")
    page.keyboard.press("k")
    page.keyboard.press("r")  # leads to the button and does nothing yet
    expect(rows.nth(0).get_by_role("button", name="Retry")).to_be_focused()
    assert JobRecord.objects.get(pk=newer.pk).state == State.FAILED
    page.keyboard.press("Shift+R")
    expect(page.locator(".messagelist")).to_contain_text(f"Retried job {newer.pk}.")
    expect(page.locator("#live-told")).to_contain_text(f"Retried job {newer.pk}.")
    expect(page.locator("ul.messagelist")).to_be_focused()
    assert JobRecord.objects.get(pk=newer.pk).state != State.FAILED
    page.wait_for_load_state()  # the message shows before the scripts that bind the keys are loaded
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=f"#{older.pk}")).to_be_visible()


def test_export_that_is_refused_says_why_and_leads_back_to_the_list(new_page: NewPage, live_server: Any) -> None:
    make_job()
    page = new_page(refusals=True)
    sign_in(page, live_server.url, "admin")
    page.goto(f"{live_server.url}/admin/jobs/jobrecord/?state=failed")
    person = str(User.objects.get().pk)
    held = [turns.take("export", person, "admin", each=2, most=3) for _ in range(2)]
    page.get_by_role("link", name="CSV").click()
    expect(page.locator("#content").get_by_role("alert").last).to_contain_text("2 exports are under way, yours")
    for place in held:
        place.give_back()
    page.get_by_role("link", name="Back", exact=True).click()
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    assert download.value.suggested_filename.endswith(".csv")
    expect(page).to_have_url(f"{live_server.url}/admin/jobs/jobrecord/?state=failed")


def test_keys_are_letters_in_the_search_box(page: Page, live_server: Any) -> None:
    job = make_job()
    sign_in(page, live_server.url, "admin")
    page.goto(f"{live_server.url}/admin/jobs/jobrecord/")
    page.locator("#searchbar").press_sequentially("jxrR?")
    expect(page.locator("#searchbar")).to_have_value("jxrR?")
    expect(page.locator("#result_list tr.current")).to_have_count(0)
    assert JobRecord.objects.get(pk=job.pk).state == State.FAILED


def test_new_jobs_are_announced_and_rows_stay(page: Page, live_server: Any) -> None:
    page.clock.install()
    first = make_job()
    sign_in(page, live_server.url, "admin")
    page.goto(f"{live_server.url}/admin/jobs/jobrecord/")
    expect(page.locator("#new-jobs")).to_be_hidden()
    make_job()
    make_job()
    page.clock.run_for(11_000)
    expect(page.locator("#new-jobs")).to_have_text("2 new")
    expect(page.locator("#result_list tbody tr")).to_have_count(1)
    page.locator("#new-jobs").click()
    expect(page.locator("#result_list tbody tr")).to_have_count(3)
    assert first.pk


def test_search_goes_on_until_a_job_fits(page: Page, live_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "FIRST", 5)
    monkeypatch.setattr(looking, "SECONDS", 0.0)
    rare = make_job(State.SUCCEEDED, payload={"text": "needle"})
    for _ in range(22):
        make_job(State.SUCCEEDED)
    sign_in(page, live_server.url, "admin")
    page.goto(f"{live_server.url}/admin/jobs/jobrecord/?q=needle")
    expect(page.locator("#searched")).to_contain_text("Searched 5 jobs")
    page.get_by_role("button", name="Keep searching until one fits").click()
    expect(page.locator("#result_list tbody tr")).to_have_count(1)
    expect(page.locator("#result_list")).to_contain_text(f"#{rare.pk}")


def test_search_that_goes_on_can_be_stopped(page: Page, live_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "FIRST", 5)
    monkeypatch.setattr(looking, "SECONDS", 0.0)
    for _ in range(22):
        make_job(State.SUCCEEDED)
    sign_in(page, live_server.url, "admin")
    page.goto(f"{live_server.url}/admin/jobs/jobrecord/?q=needle")
    held: list[Route] = []
    page.route("**/*before=*", lambda route: held.append(route))  # noqa: PLW0108 - a built-in cannot be marked
    with page.expect_request("**/*before=*"):
        page.get_by_role("button", name="Keep searching until one fits").click()
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Keep searching until one fits")).to_be_visible()
    expect(page.locator("#searched-jobs")).to_have_text("5")  # the request in hand is given up
    expect(page.locator("#searched [role=status]")).to_have_text("")
    assert len(held) == 1
    page.unroute("**/*before=*")
    page.get_by_role("button", name="Keep searching until one fits").click()
    expect(page.get_by_text("Nothing fits.")).to_be_visible()


def test_first_view_of_a_phone_has_five_jobs_and_no_width_scrolls_sideways(new_page: NewPage, live_server: Any) -> None:
    for number in range(12):
        arguments = {"order_id": number, "customer": "c" * 60, "note": "n" * 60}
        make_job(payload=arguments, message="refused " * 20, tags=("nightly", f"customer:{number}"))
    for width, height, least in ((390, 844, 5), (820, 1180, 4), (1024, 768, 1), (1440, 900, 4)):
        page = new_page(viewport={"width": width, "height": height})
        sign_in(page, live_server.url, "admin")
        page.goto(f"{live_server.url}/admin/jobs/jobrecord/?state=failed")
        rows = page.locator("#result_list tbody tr")
        expect(rows).to_have_count(12)
        told = page.locator("#banners").bounding_box()  # that there is no worker, which is so in this test alone
        bottoms = [box["y"] + box["height"] for row in rows.all() if (box := row.bounding_box())]
        assert sum(bottom - (told["height"] if told else 0) <= height for bottom in bottoms) >= least, (width, bottoms)
        assert page.evaluate(
            "[...document.querySelectorAll('.results, html')].every(e => e.scrollWidth <= e.clientWidth)"
        )
        # The filters are one press away, without a script.
        if width == 390:
            expect(page.get_by_label("Type", exact=True)).to_be_hidden()
            page.get_by_text("Filters", exact=True).click()
            expect(page.get_by_label("Type", exact=True)).to_be_visible()
            page.get_by_text("Columns", exact=True).click()
            page.get_by_label("Duration").check()
            page.get_by_role("button", name="Show these").click()
            expect(rows.first).to_contain_text("customer:11")


def test_first_view_of_a_phone_has_the_verbs_of_a_job_below_one_line_of_banners(
    new_page: NewPage, live_server: Any
) -> None:
    job = make_job(message="refused " * 20, tags=("nightly",))
    page = new_page(viewport={"width": 390, "height": 844})
    sign_in(page, live_server.url, "admin")
    page.goto(f"{live_server.url}/admin/jobs/jobrecord/{job.pk}/change/")
    banners, retry = page.locator(".banners .banner"), page.get_by_role("button", name="Retry", exact=True)
    assert banners.count() >= 2
    folded, place = page.locator("#banners").bounding_box(), retry.bounding_box()
    assert folded is not None
    assert place is not None
    assert folded["height"] <= 48
    assert place["y"] + place["height"] <= 320
    expect(banners.nth(0)).to_be_visible()
    expect(banners.nth(1)).to_be_hidden()
    page.locator(".banner-switch summary").click()
    for banner in banners.all():
        expect(banner).to_be_visible()
        expect(banner.locator(".hint")).to_be_visible()


# As if it was chosen of what is suggested.
CHOOSE = """input => {
    input.value = 'app.Note';
    input.dispatchEvent(new InputEvent('input', { bubbles: true, inputType: 'insertReplacementText' }));
}"""


def test_name_is_suggested_by_what_is_typed_and_filters_the_list(
    new_page: NewPage, live_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboard.kit.filters.MOST", 0)
    monkeypatch.setattr("dashboard.kit.changelist.FEW", 0)
    jobs = {name: make_job(job_type=name) for name in ("app.Note", "app.Sleep")}
    page = new_page()
    sign_in(page, live_server.url, "admin")
    page.goto(f"{live_server.url}/admin/jobs/jobrecord/")
    asked = page.get_by_label("Type", exact=True)
    asked.press_sequentially("note")
    expect(page.locator("#names-type option")).not_to_have_count(0)
    assert "app.Note" in page.locator("#names-type option").evaluate_all("them => them.map(one => one.value)")
    asked.evaluate(CHOOSE)
    page.wait_for_url("**/?type=app.Note")
    expect(page.locator("#result_list tbody")).to_contain_text(f"#{jobs['app.Note'].pk}")
    expect(page.locator("#result_list tbody")).not_to_contain_text(f"#{jobs['app.Sleep'].pk}")
    expect(asked).to_have_value("app.Note")


def test_names_that_are_suggested_are_gathered_in_a_form(
    new_page: NewPage, live_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboard.kit.filters.MOST", 0)
    page = new_page()
    sign_in(page, live_server.url, "admin")
    page.goto(f"{live_server.url}/admin/clients/new/")
    types, add = page.get_by_label("Job types"), page.get_by_label("Add by name").first
    types.fill("app.Pay")
    add.press_sequentially("note")
    page.locator("#names-type option[value='app.Note']").wait_for(state="attached")
    for _ in range(2):
        add.evaluate(CHOOSE)
        expect(types).to_have_value("app.Pay\napp.Note")
        expect(add).to_have_value("")
