"""How far it is: clicks, keys and loads from where an operator begins to what they want, as people would go.

What is counted is what a person does: each click, each key, each page that has to come. Credentials are typed by a
password manager. The limits are those that the console promises.

By keyboard nothing is focused but by keys: from the top of a page by the skip link, then from one stop to the next.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Locator, Page, expect

from handlers import job_scheduler
from handlers.models import FailureGroup, JobRecord
from handlers.states import State
from tests.app.jobs import Ship
from tests.browser.conftest import NewPage
from tests.browser.pages import furnish
from tests.browser.people import PASSWORD, someone
from tests.console.factories import make_job
from tests.running import run

pytestmark = [pytest.mark.browser, pytest.mark.once, pytest.mark.redis, pytest.mark.django_db(transaction=True)]

WIDE, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
WAYS: dict[str, dict[str, Any]] = {
    "wide": {"viewport": WIDE},
    "phone": {"viewport": PHONE},
    "by keyboard": {"viewport": WIDE},
    "without scripts": {"viewport": WIDE, "java_script_enabled": False},
}


NEAR = 20  # stops: what a page is for is no further than that from where its content begins

# What a person sees as focused is what has the focus.
FOCUSED = "element => element === document.activeElement && element.matches(':focus-visible')"


class Walker:
    """Goes through pages and counts."""

    def __init__(self, page: Page, *, way: str) -> None:
        self.page, self.did, self.way = page, Counter[str](), way
        page.on("load", lambda _: self.did.update(loads=1))

    def open(self, address: str) -> None:
        """Follow a link that stands elsewhere: in a mail."""
        self.page.goto(address)

    def click(self, where: Locator) -> None:
        self.did["clicks"] += 1
        if self.way == "by keyboard":
            self.reach(where)
            self.page.keyboard.press("Enter")
        else:
            where.click()

    def enter(self, field: Locator) -> None:
        """Go to a field."""
        self.did["clicks"] += 1
        if self.way == "by keyboard":
            self.reach(field)
        else:
            field.click()

    def reach(self, where: Locator) -> None:
        """Tab to it: from the top of a page over its skip link, else from where the focus is."""
        where.wait_for()
        self.page.wait_for_load_state()
        if self.page.evaluate("document.activeElement === document.body"):
            self.page.keyboard.press("Tab")
            expect(self.page.get_by_role("link", name="Skip to main content")).to_be_focused()
            self.page.keyboard.press("Enter")
        stops = 0
        while not where.evaluate(FOCUSED):
            assert stops < NEAR, f"{stops} stops, and not yet at {where}"
            self.page.keyboard.press("Tab")
            stops += 1
            if self.page.evaluate("document.activeElement.matches('.skip-to-content-link')"):
                self.page.keyboard.press("Enter")  # over what one filters by

    def press(self, *keys: str) -> None:
        for key in keys:
            self.did["keys"] += 1
            self.page.keyboard.press(key)

    def type(self, text: str) -> None:
        self.did["keys"] += len(text)
        self.page.keyboard.type(text)

    def log_in(self) -> None:
        self.page.get_by_label("Username").fill("otto")
        self.page.get_by_label("Password").fill(PASSWORD)
        self.click(self.page.get_by_role("button", name="Log in"))

    def arrived(self, **most: int) -> None:
        """It took no more than that."""
        self.page.wait_for_load_state()
        print(dict(self.did))
        assert not {what: number for what, number in self.did.items() if number > most.get(what, 0)}, self.did


@pytest.fixture(params=WAYS)
def walker(request: pytest.FixtureRequest, new_page: NewPage) -> Walker:
    """An Operator's, who goes in each of the ways."""
    someone("otto", "Operator")
    return Walker(new_page(**WAYS[request.param]), way=request.param)


def group_of(job: JobRecord) -> FailureGroup:
    """A failure group with the failure of ``job``."""
    at = job.finished_at or job.created_at
    return FailureGroup.objects.create(
        fingerprint=job.fingerprint, exception="httpx.ConnectError", message="connection refused",
        frame="shop/jobs.py:42 in handle", first_at=at, last_at=at, count=1, last_job_id=job.pk,
    )  # fmt: skip


def test_from_the_alert_to_the_retry_of_one_job(walker: Walker, live_server: Any) -> None:
    job = make_job(State.FAILED, fingerprint="f1")
    group = group_of(job)
    page = walker.page
    walker.open(f"{live_server.url}/admin/failures/{group.pk}/")
    walker.log_in()
    walker.click(page.get_by_role("link", name=f"#{job.pk}").first)
    walker.click(page.get_by_role("button", name="Retry", exact=True).first)
    expect(page.locator(".messagelist")).to_contain_text("Retr")
    walker.arrived(clicks=3, loads=4)
    assert JobRecord.objects.get(pk=job.pk).state == "enqueued"


def test_from_the_alert_to_the_retry_of_a_group_with_a_canary(walker: Walker, live_server: Any) -> None:
    jobs = [make_job(State.FAILED, fingerprint="f1") for _ in range(9)]
    group = group_of(jobs[-1])
    page = walker.page
    walker.open(f"{live_server.url}/admin/failures/{group.pk}/")
    walker.log_in()
    walker.click(page.get_by_role("link", name="Retry 9 jobs"))
    walker.click(page.get_by_role("button", name="Retry 9 jobs"))
    expect(page.locator("#content-main")).to_contain_text("canary")
    walker.arrived(clicks=4, loads=5)


def test_the_failed_job_of_an_order_is_found_mended_and_retried(walker: Walker, live_server: Any) -> None:
    make_job(State.SUCCEEDED, payload={"text": "order 4711"})
    failed = int(job_scheduler.enqueue(Ship(4711, "nowhere")))
    run(failed)
    page = walker.page
    walker.open(f"{live_server.url}/admin/")
    walker.log_in()
    page.get_by_role("heading", name="Overview").wait_for()
    page.wait_for_load_state()
    walker.did.clear()
    if walker.way == "without scripts":
        page.goto(f"{live_server.url}/admin/jobs/jobrecord/")
        walker.click(page.get_by_role("searchbox").first)
        walker.did.clear()
    else:
        walker.press("/")
    walker.type("4711")
    walker.press("Enter")
    walker.click(page.get_by_role("link", name=f"#{failed}").first)
    walker.click(page.get_by_role("link", name="Edit and retry").first)
    field = page.get_by_label("order_id").first
    walker.enter(field)
    walker.press("End", "Backspace", "2")
    walker.click(page.get_by_role("button", name="Retry").first)
    expect(page.locator(".messagelist")).to_contain_text("Retr")
    walker.arrived(clicks=4, keys=12, loads=5)
    mended = JobRecord.objects.get(pk=failed)
    assert (mended.state, mended.payload["order_id"]) == ("enqueued", 4712)


@pytest.mark.parametrize("walker", ["by keyboard"], indirect=True)
def test_what_a_page_is_for_is_some_stops_below_its_skip_link(walker: Walker, live_server: Any) -> None:
    page = walker.page
    User.objects.update(is_superuser=True)
    furnish()
    walker.open(f"{live_server.url}/admin/")
    walker.log_in()
    page.get_by_role("heading", name="Overview").wait_for()
    pages = {
        "": ".trouble a",
        "jobs/jobrecord/": "#result_list .job-link",
        "failures/": ".failure-list a[href*='/failures/00']",
        "bulk/": ".bulk-runs a",
        "workflows/": ".flows a",
        "queues/": ".queues th[scope=row] a",
        "workers/": ".workers summary",
        "job-types/": ".types th[scope=row] a",
        "recurring/": ".recurring th a",
        "alerts/": ".incidents th a",
        "jobs/auditentry/": "#result_list a",
    }
    for path, what in pages.items():
        page.goto(f"{live_server.url}/admin/{path}")
        walker.reach(page.locator(f"#content-main {what}").first)


@pytest.mark.parametrize("walker", ["by keyboard"], indirect=True)
def test_a_queue_is_paused_for_a_time_by_keys_alone(walker: Walker, live_server: Any) -> None:
    page = walker.page
    walker.open(f"{live_server.url}/admin/queues/?q=mail")
    walker.log_in()
    walker.click(page.locator("#queue-mail summary"))
    walker.press("Tab")
    walker.type("gateway down")
    walker.press("Tab", "ArrowDown", "Tab", "Enter")
    page.locator("#queue-mail .state-paused").wait_for()
    expect(page.locator("#queue-mail")).to_contain_text("by otto, until")
    expect(page.locator("#queue-mail")).to_contain_text("gateway down")
