"""The whole journey on ``manage.py run`` itself: orders, failed jobs, the reason mended, retries, and a clean stop."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import fill_in_login
from tests.processes import Managed, lives, wait_for
from tests.servers import free_port

pytestmark = [pytest.mark.browser, pytest.mark.once]

PASSWORD = "correct horse battery staple"
ORDERS = 21  # the one of the form, and the 20 of the button
FAILED_CHARGES = "/admin/jobs/jobrecord/?state=failed&type=shop.ChargeCard"
READY = "Ctrl-C stops everything."
START_SECONDS = 60.0  # a busy machine is slow
SECONDS = 20.0


class Site:
    """A ``manage.py run`` that is ready, with a queue server and a database of its own."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        ours = ("DJANGO_", "JOBSITE_", "SHOP_", "DATABASE_URL", "REDIS_URL")
        env = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        env |= {"PORT": str(port), "JOBSITE_DEMO": "1", "JOBSITE_ADMIN_PASSWORD": PASSWORD}
        self.url = f"http://127.0.0.1:{port}"
        self.data = folder / "data"
        self.run = Managed(env | {"JOBSITE_DATA": str(self.data)}, folder, "run")

    def printed(self) -> str:
        """What it has said so far."""
        return self.run.log.read_text(errors="replace")

    def family(self) -> list[psutil.Process]:
        """Every process that it started, however far down."""
        return psutil.Process(self.run.pid).children(recursive=True)

    def receipts(self) -> list[str]:
        """The Message-ID of each mail that was sent."""
        mails = [path.read_text() for path in (self.data / "mail").glob("*")]
        return re.findall(r"^Message-ID: (\S+)$", "\n".join(mails), re.MULTILINE)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    family: list[psutil.Process] = []
    try:
        wait_for(
            f"{READY!r} from manage.py run",
            lambda: READY in site.printed() or site.run.process.poll() is not None,
            seconds=START_SECONDS,
        )
        assert site.run.process.poll() is None, site.printed()
        family = site.family()
        yield site
    finally:
        for left in family:  # queue server and web server lead groups of their own
            if left.is_running():
                left.kill()
        site.run.end()


def reload_until(page: Page, wanted: Locator, count: int) -> None:
    """Reload, as a person does, until ``wanted`` is there exactly ``count`` times."""
    deadline = time.monotonic() + SECONDS
    while wanted.count() != count:
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {SECONDS:g} s: {count} of {wanted}; there are {wanted.count()}")
        page.wait_for_timeout(200)
        page.reload()


def test_orders_fail_the_reason_is_mended_and_the_retries_succeed(page: Page, site: Site, tmp_path: Path) -> None:
    shots = iter(range(1, 100))

    def shoot(name: str) -> None:  # kept by pytest, for whoever wonders why it failed
        page.screenshot(path=tmp_path / f"{next(shots):02}-{name}.png", full_page=True)

    # The shop, whose payment gateway goes down before the orders come.
    page.goto(f"{site.url}/shop/")
    shoot("shop")
    page.get_by_role("button", name="Down", exact=True).click()
    expect(page.get_by_role("status")).to_have_text("The payment gateway is now: Down.")
    page.get_by_label("E-mail").fill("grace@example.com")
    page.get_by_role("button", name="Place order", exact=True).click()
    expect(page.get_by_role("status")).to_have_text("Order 1 is placed.")
    page.get_by_role("button", name="Place 20 orders").click()
    expect(page.get_by_role("status")).to_have_text("20 orders are placed.")
    shoot("orders-placed")

    # The console: each charge fails, is tried again by itself, and fails for good.
    page.get_by_role("link", name="Open the console").click()
    fill_in_login(page, site.url, "admin", PASSWORD)
    shoot("overview")
    page.goto(site.url + FAILED_CHARGES)
    reload_until(page, page.locator("#result_list tbody tr"), ORDERS)
    expect(page.locator("#result_list .error-line").first).to_contain_text("payment gateway answered 503")
    shoot("failed-jobs")

    # One of them says why.
    page.locator("#result_list tbody tr").last.locator(".job-link").click()
    expect(page.get_by_role("heading", name="Why it failed")).to_be_visible()
    expect(page.locator(".failure .exception")).to_have_text("jobsite.demo.payments.PaymentGatewayError")
    expect(page.locator(".failure .message")).to_have_text("payment gateway answered 503: switch it on at /shop/")
    expect(page.locator(".failure .traceback")).to_contain_text("payments.charge(order.charge_key")
    expect(page.locator(".attempt")).to_have_count(2)
    shoot("why")
    failed_job = page.url

    # The reason is mended in the shop; nothing runs again by itself.
    page.locator(".account summary").click()
    page.get_by_role("link", name="View site").click()
    expect(page.locator(".chip.reserved")).to_have_count(ORDERS)
    expect(page.locator(".problem").first).to_contain_text("payment gateway answered 503")
    expect(page.get_by_text("receipt sent", exact=True)).to_have_count(0)
    expect(page.get_by_text("parcel P-")).to_have_count(0)
    shoot("orders-unpaid")

    # An order's saga waits for its charge.
    page.get_by_role("link", name="1", exact=True).click()
    expect(page.locator("h1")).to_contain_text("order_id 1")
    expect(page.locator("#saga-waits")).to_contain_text("shop.ChargeCard")
    expect(page.locator("#saga-waits .state-failed")).to_have_count(1)
    expect(page.locator("#saga-waits")).to_contain_text("Timeout unpaid")
    expect(page.locator("#saga-turns")).to_contain_text("Sent shop.ReserveStock")
    shoot("saga-waits")
    saga = page.url
    page.locator(".account summary").click()
    page.get_by_role("link", name="View site").click()
    page.get_by_role("button", name="On", exact=True).click()
    expect(page.get_by_role("status")).to_have_text("The payment gateway is now: On.")

    # The one job is retried from its page, the others are ticked in the list.
    page.goto(failed_job)
    page.get_by_label("Reason").fill("the gateway is back")
    page.get_by_role("button", name="Retry").click()
    expect(page.locator(".messagelist")).to_contain_text("Retried job ")
    reload_until(page, page.locator("h1 .state-succeeded"), 1)
    expect(page.locator(".attempt")).to_have_count(3)
    expect(page.locator(".timeline")).to_contain_text("the gateway is back")
    shoot("retried-one")
    page.goto(site.url + FAILED_CHARGES)
    expect(page.locator("#result_list tbody tr")).to_have_count(ORDERS - 1)
    page.get_by_text("Select all", exact=True).click()
    page.get_by_label("Reason").fill("all of them, now")
    expect(page.locator(".action-counter")).to_have_text(f"{ORDERS - 1} of {ORDERS - 1} selected")
    page.locator(".actions").get_by_role("button", name="Retry").click()
    expect(page.locator(".messagelist")).to_contain_text(f"Retried {ORDERS - 1} jobs.")
    shoot("retried-many")

    # All is well: in the console, in the shop, and in the mail.
    for kind in ("ReserveStock", "ChargeCard", "SendReceipt", "PackParcel"):
        page.goto(f"{site.url}/admin/jobs/jobrecord/?state=succeeded&type=shop.{kind}")
        reload_until(page, page.locator("#result_list tbody tr"), ORDERS)
    page.goto(f"{site.url}/admin/")
    expect(page.get_by_text("Nothing has failed.")).to_be_visible()
    shoot("all-succeeded")
    page.goto(saga)
    reload_until(page, page.locator(".saga-head .saga-completed"), 1)
    shoot("saga-done")
    page.goto(f"{site.url}/admin/sagas/?state=completed")
    reload_until(page, page.locator("#sagas .saga-completed"), ORDERS)
    page.goto(f"{site.url}/admin/workflows/?state=succeeded")
    reload_until(page, page.get_by_role("link", name="Shipping of order ", exact=False), ORDERS)
    page.goto(f"{site.url}/shop/")
    expect(page.locator(".chip.paid")).to_have_count(ORDERS)
    expect(page.get_by_text("receipt sent", exact=True)).to_have_count(ORDERS)
    expect(page.get_by_role("link", name="P-")).to_have_count(ORDERS)
    page.get_by_role("link", name="P-000001").click()
    expect(page.locator("h1")).to_contain_text("Shipping of order 1")
    expect(page.locator("#workflow-progress")).to_contain_text("all 3 done")
    expect(page.locator(".flow-graph .box-succeeded")).to_have_count(3)
    shoot("workflow-done")
    page.goto(f"{site.url}/shop/")
    expect(page.locator(".problem")).to_have_count(0)
    shoot("orders-paid")
    assert sorted(site.receipts()) == sorted(f"<receipt-{number}@shop.example>" for number in range(1, ORDERS + 1))

    # Both retries are on record, newest first, with the name of who asked.
    page.goto(f"{site.url}/admin/jobs/auditentry/?verb=retry")
    entries = page.locator("#result_list tbody tr")
    expect(entries).to_have_count(2)
    retries = ((ORDERS - 1, "all of them, now"), (1, "the gateway is back"))
    for entry, (moved, reason) in zip(entries.all(), retries, strict=True):
        expect(entry.locator(".field-who")).to_have_text("admin")
        expect(entry.locator(".field-what")).to_have_text("retried")
        expect(entry.locator(".field-moved")).to_have_text(str(moved))
        expect(entry.locator(".field-reason_text")).to_have_text(reason)
    shoot("audit")

    # Hundreds of jobs ask a slow gateway at once, some hundred of them in each worker process.
    page.goto(f"{site.url}/shop/")
    page.get_by_role("button", name="Slow", exact=True).click()
    page.get_by_role("button", name="Check 300 payments").click()
    expect(page.get_by_role("status")).to_contain_text("300 checks are enqueued")
    page.goto(f"{site.url}/admin/jobs/jobrecord/?state=processing&type=shop.CheckPayment")
    reload_until(page, page.locator("#result_list tbody tr"), 50)  # a page full
    shoot("checks-at-once")

    # One signal ends it all.
    page.goto("about:blank")  # the list would go on to ask what is new
    family = site.family()
    assert len(family) >= 4, family  # queue server, worker, scheduler, web server, and theirs
    assert site.run.terminate() == 0, site.printed()
    assert not list(filter(lives, family))
    assert re.search(r"^Stopped\.$", site.printed(), re.MULTILINE)
