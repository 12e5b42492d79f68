"""What a page can be in: opened, sent wrong, refused, halted, told, seen by few. Everybody can use each."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import RequestFactory
from playwright.sync_api import Page, expect

from dashboard import errors
from handlers.models import BulkOperation, FailureGroup, JobRecord
from handlers.states import State
from tests.browser.conftest import NewPage, sign_in
from tests.browser.judging import judge, judged_page
from tests.browser.pages import JOBS, furnish
from tests.browser.people import PASSWORD, someone
from tests.console.factories import make_job

pytestmark = [pytest.mark.browser, pytest.mark.redis, pytest.mark.django_db(transaction=True)]

GROUP = "/admin/failures/00000000000000aa/"
# Forms that are sent as they are, empty or with one thing that cannot be, and come back.
WRONG = {
    "/admin/retry-policies/new/": {"name": "a b", "max_attempts": "0"},
    "/admin/alerts/new/?kind=share": {},
    "/admin/clients/new/": {},
    "/admin/recurring/new/?type=app.Pay": {},
    "/admin/job-types/app.Pay/enqueue/": {},
    "/admin/bulk/new/?verb=retry&state=failed": {"canary": "5000"},
    "/admin/jobs/views/new/?query=state%3Dfailed": {},
    "/admin/limits/tills/": {"concurrency": "-1"},
    "/admin/auth/user/add/": {},
    "/admin/password_change/": {},
}
OPEN_ALL = "document.querySelectorAll('#content details').forEach((each) => { each.open = true; })"


@pytest.fixture
def admin(new_page: NewPage, live_server: Any) -> Page:
    """Somebody who may do everything, where there is something of everything."""
    User.objects.create_superuser("admin", password=PASSWORD)
    furnish()
    page = judged_page(new_page)
    sign_in(page, live_server.url, "admin")
    return page


def test_forms_that_come_back_and_what_opens_can_be_used_by_everybody(admin: Page, live_server: Any) -> None:
    page, found = admin, list[str]()
    for path, values in WRONG.items():
        page.goto(live_server.url + path)
        for name, value in values.items():
            page.locator(f"#content [name='{name}']").first.fill(value)
        page.evaluate("document.querySelectorAll('#content form').forEach((form) => { form.noValidate = true; })")
        page.locator("#content form[method=post] :is(button, input)[type=submit]").first.click()
        wrong = page.locator("#content :is(.errornote, .errorlist, .error-line, .field-error, .problem)").first
        expect(wrong).to_be_visible()
        found += judge(page, f"sent wrong {path}")
    job = JobRecord.objects.filter(state=State.FAILED).order_by("pk")[0]
    for path in (JOBS, "/admin/", f"{JOBS}{job.pk}/change/", GROUP, "/admin/queues/", "/admin/workers/"):
        page.goto(live_server.url + path)
        page.evaluate(OPEN_ALL)
        found += judge(page, f"all opened {path}", with_axe=path == JOBS)
    page.locator(".account summary").press("Enter")  # by the mouse nobody asks to see the focus
    found += judge(page, "the account's menu")
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    found += judge(page, "the help on keys")
    assert not found, "\n".join(found)


def test_what_was_done_what_halts_and_what_changes_by_itself_can_be_used_by_everybody(
    admin: Page, live_server: Any
) -> None:
    page, found = admin, list[str]()
    page.goto(f"{live_server.url}{JOBS}?state=failed")
    page.locator("#result_list").get_by_role("button", name="Retry").first.click()
    expect(page.get_by_role("button", name="Undo")).to_be_visible()
    found += judge(page, "a message with Undo")
    run = BulkOperation.objects.get()
    for state, fields in (
        ("running", {}),
        ("paused", {}),
        ("paused", {"held": True, "note": "3 of 5 failed again"}),
        ("done", {}),
    ):
        BulkOperation.objects.update(state=state, count=9, moved=4, **fields)
        page.goto(f"{live_server.url}/admin/bulk/{run.pk}/")
        found += judge(page, f"a run that is {state} {fields}", with_axe=bool(fields))
    for state in ("regressed", "resolved", "ignored"):
        FailureGroup.objects.update(state=state)
        page.goto(f"{live_server.url}/admin/failures/?state={state}")
        found += judge(page, f"a group in the list that is {state}", with_axe=False)
        page.goto(f"{live_server.url}{GROUP}")
        found += judge(page, f"a group that is {state}")
    page.goto(f"{live_server.url}/admin/")
    page.get_by_role("link", name="Bulk operations").focus()
    make_job(State.FAILED)
    page.evaluate("document.dispatchEvent(new Event('live:ask'))")
    tile = page.locator(".tile-failed .tile-count")
    expect(tile).not_to_have_text(tile.inner_text())
    expect(page.get_by_role("link", name="Bulk operations")).to_be_focused()
    found += judge(page, "the Overview after an update")
    assert not found, "\n".join(found)


def test_who_may_little_and_who_is_not_signed_in_can_use_what_they_meet(new_page: NewPage, live_server: Any) -> None:
    User.objects.create_superuser("admin", password=PASSWORD)
    furnish()
    someone("vera", "Viewer")
    page, found, url = judged_page(new_page), list[str](), live_server.url
    page.goto(f"{url}/admin/")
    found += judge(page, "the login")
    page.get_by_label("Username").fill("vera")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Log in").click()
    expect(page.locator(".errornote")).to_be_visible()
    found += judge(page, "the login after a wrong password")
    failed = errors.server_error(RequestFactory().get("/")).content.decode()
    page.route("**/fails/", lambda route: route.fulfill(status=200, content_type="text/html", body=failed))
    for path in ("/nowhere/", "/admin/fails/"):
        page.goto(url + path)
        found += judge(page, f"who is not signed in, {path}")
    sign_in(page, url, "vera")
    job = JobRecord.objects.filter(state=State.FAILED).order_by("pk")[0]
    for path in (JOBS, f"{JOBS}{job.pk}/change/", "/admin/queues/", GROUP, "/admin/account/"):
        page.goto(url + path)
        found += judge(page, f"a Viewer at {path}", with_axe=False)
    for path in ("/admin/auth/user/", "/admin/nowhere/", f"{JOBS}{job.pk}/retry/"):
        page.goto(url + path)
        found += judge(page, f"a Viewer, refused at {path}")
    page.goto(f"{url}/admin/account/")
    page.evaluate("document.querySelector('.keys-switch [name=csrfmiddlewaretoken]').value = 'a'.repeat(64)")
    page.locator("#content .keys-switch button").click()
    expect(page.get_by_text("You signed in anew after this page was made")).to_be_visible()
    page.wait_for_load_state()
    found += judge(page, "a form with a token of another login")
    page.goto(f"{url}/admin/")
    page.locator(".account summary").click()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("link", name="Log in again")).to_be_visible()
    found += judge(page, "logged out")
    assert not found, "\n".join(found)


def test_who_has_colours_or_spaces_of_their_own_sees_focus_and_state_and_loses_no_text(
    admin: Page, live_server: Any
) -> None:
    page = admin
    page.emulate_media(forced_colors="active", reduced_motion="reduce")
    page.goto(f"{live_server.url}{JOBS}?state=failed")
    ground = "(element) => getComputedStyle(element).backgroundColor"
    here, other = (page.locator(f".console-nav a{which}").first for which in ("[aria-current]", ":not([aria-current])"))
    assert here.evaluate(ground) != other.evaluate(ground)
    chosen, tab = (
        page.locator(f".state-tabs .tab{which}").first for which in ("[aria-current]", ":not([aria-current])")
    )
    assert chosen.evaluate(ground) != tab.evaluate(ground)
    assert page.locator("#result_list .state").first.evaluate("(it) => getComputedStyle(it).borderTopStyle") == "solid"
    page.keyboard.press("j")
    assert page.evaluate("getComputedStyle(document.activeElement.closest('tr')).outlineStyle") == "solid"
    # The spaces that 1.4.12 names: what is cut off or runs out of its box then, nobody reads.
    page.emulate_media(forced_colors="none", reduced_motion="reduce")
    found = []
    for path in ("/admin/", JOBS, GROUP, "/admin/queues/", "/admin/bulk/"):
        page.goto(live_server.url + path)
        page.evaluate(
            "() => { const sheet = new CSSStyleSheet();"
            " sheet.replaceSync('* { line-height: 1.5 !important; letter-spacing: 0.12em !important;"
            " word-spacing: 0.16em !important } p { margin-bottom: 2em !important }');"
            " document.adoptedStyleSheets = [sheet]; }"
        )
        for width in (1440, 390):
            page.set_viewport_size({"width": width, "height": 844})
            found += [
                f"{path}, {width} px: {cut}"
                for cut in page.evaluate(
                    "() => [...document.querySelectorAll('h1, h2, .button, button, .tab, .state, .tile, nav a')]"
                    ".filter((e) => e.checkVisibility({visibilityProperty: true}) && e.clientWidth > 1"
                    " && getComputedStyle(e).display !== 'inline'"
                    " && (e.scrollWidth > e.clientWidth + 1 || e.scrollHeight > e.clientHeight + 1)"
                    " && getComputedStyle(e).overflow !== 'visible')"
                    ".map((e) => e.outerHTML.slice(0, 120))"
                    ".concat(document.documentElement.scrollWidth > innerWidth ? ['too wide'] : [])"
                )
            ]
    assert not found, "\n".join(found)
