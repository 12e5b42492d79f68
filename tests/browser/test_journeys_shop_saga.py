"""Journeys with the shop's orders, each a saga: approved by a person, paid late, cancelled, refunded."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Event
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from handlers.models import AuditEntry, JobRecord, SagaRecord
from jobsite.demo.models import Card, Charge, GatewaySwitch, Order, Product
from tests.browser.conftest import WAIT_MS, sign_in
from tests.browser.people import someone
from tests.faults.conftest import Start
from tests.faults.records import wait_state
from tests.processes import wait_for

pytestmark = [pytest.mark.browser, pytest.mark.once, pytest.mark.redis, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def shop(page: Page, live_server: Any, child_env: dict[str, str]) -> str:
    """Its address; workers ask its gateway. It has pens, and an operator is signed in to the console."""
    child_env["SHOP_GATEWAY_URL"] = f"{live_server.url}/shop/gateway"
    Product.objects.create(sku="GOLD", name="Gold pen", price_cents=60_000, stock=9)
    someone("olga", "Operator")
    sign_in(page, live_server.url, "olga")
    return f"{live_server.url}/shop/"


class HeldGateway:
    """Calls of the gateway while it is slow: each waits until it is let through, in the order in which they came."""

    def __init__(self) -> None:
        self._calls: list[Event] = []

    def sleep(self, seconds: float) -> None:
        """Wait to be let through."""
        call = Event()
        self._calls.append(call)
        call.wait(WAIT_MS / 1_000)

    def wait(self, number: int) -> None:
        """Wait until so many have come."""
        wait_for(f"{number} calls", lambda: len(self._calls) >= number)

    def let_through(self, number: int) -> None:
        """The one of that number."""
        self._calls[number - 1].set()


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[HeldGateway]:
    """What is slow of it waits for the test."""
    held = HeldGateway()
    monkeypatch.setattr("jobsite.demo.gateway.sleep", held.sleep)
    yield held
    for number in range(len(held._calls)):
        held.let_through(number + 1)


def switch(page: Page, shop: str, mode: str) -> None:
    """Have the gateway so."""
    page.goto(shop)
    page.get_by_role("button", name=mode, exact=True).click()
    expect(page.get_by_role("status")).to_contain_text(f"The payment gateway is now: {mode}.")


def order(page: Page, shop: str, pieces: int) -> Order:
    """One of so many pens, placed in the shop."""
    page.goto(shop)
    page.locator("select[name=product]").select_option(str(Product.objects.get(sku="GOLD").pk))
    page.locator("input[name=quantity]").fill(str(pieces))
    page.locator("input[name=email]").fill("ada@example.com")
    page.locator("select[name=card]").select_option(Card.GOOD)
    page.get_by_role("button", name="Place order", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("is placed.")
    return Order.objects.latest("pk")


def over(number: int) -> None:
    """Wait until so many sagas are complete."""
    wait_for("sagas are complete", lambda: SagaRecord.objects.filter(completed_at__isnull=False).count() == number)


def test_large_order_waits_for_approval_and_is_shipped(page: Page, shop: str, start_worker: Start) -> None:
    bought = order(page, shop, 2)
    start_worker("--processes", "1")
    wait_for("it waits", lambda: JobRecord.objects.filter(state="waiting"))
    approval = JobRecord.objects.get(state="waiting").pk

    page.get_by_role("link", name="Open the console").click()
    page.get_by_role("link", name="1 job waits for an answer").click()
    page.get_by_role("link", name=f"#{approval}").click()
    wait = page.locator("#job-wait")
    wait.get_by_label("Reason").fill("she is a good customer")
    wait.get_by_role("button", name="Approve").click()
    expect(page.locator(".messagelist")).to_contain_text(f"Approved job {approval}.")
    wait_state("succeeded", approval)
    over(1)
    bought.refresh_from_db()
    assert (bought.status, bool(bought.parcel)) == ("paid", True)
    assert Charge.objects.get().key == bought.charge_key
    assert AuditEntry.objects.get(verb="signal").reason == "she is a good customer"
    page.goto(shop)
    expect(page.locator(f"#order-{bought.pk}")).to_contain_text(bought.parcel)


def test_orders_are_paid_late_not_in_time_and_cancelled_while_they_are_charged(
    page: Page, shop: str, start_worker: Start, gateway: HeldGateway
) -> None:
    """The gateway is down for two, and slow for the third."""
    start_worker("--processes", "2")
    switch(page, shop, "Down")
    charges = JobRecord.objects.filter(job_type="shop.ChargeCard")
    late, unpaid = order(page, shop, 1), order(page, shop, 1)
    wait_for("charges fail", lambda: charges.filter(failures=1, state="scheduled").count() == 2)
    switch(page, shop, "On")

    # From the shop to the order's saga, and from there to the job that it waits for.
    row = page.locator(f"#order-{late.pk}")
    expect(row).to_contain_text("payment gateway answered 503")
    row.get_by_role("link", name=str(late.pk), exact=True).click()
    expect(page.locator("#saga-state .state")).to_have_text("Goes on")
    page.locator("#saga-waits").get_by_role("link", name="shop.ChargeCard").click()
    page.get_by_role("button", name="Retry now").click()
    over(1)
    page.goto(shop)
    expect(row).to_contain_text("parcel")

    # The other one's time is up.
    row = page.locator(f"#order-{unpaid.pk}")
    row.get_by_role("link", name=str(unpaid.pk), exact=True).click()
    page.locator("#saga-waits li", has_text="Timeout unpaid").get_by_role("link").click()
    page.get_by_role("button", name="Run now").click()
    over(2)
    page.goto(shop)
    expect(row).to_contain_text("Cancelled")
    expect(row).to_contain_text("not paid in time")
    row.get_by_role("link", name=str(unpaid.pk), exact=True).click()
    expect(page.locator("#saga-state .state")).to_have_text("Completed")
    expect(page.locator("#saga-turns")).to_contain_text("Timeout unpaid")

    # The gateway has taken the money before the customer's cancellation comes there, and nobody has heard of it.
    switch(page, shop, "Slow")
    refunded = order(page, shop, 1)
    gateway.wait(1)
    page.goto(shop)
    page.get_by_role("button", name=f"Cancel order {refunded.pk}").click()
    expect(page.get_by_role("status")).to_contain_text(f"Order {refunded.pk} is being cancelled")
    gateway.wait(2)
    gateway.let_through(1)
    wait_for("it is charged", lambda: Charge.objects.filter(status="charged").count() == 2)
    GatewaySwitch.objects.update(mode=GatewaySwitch.Mode.OK)
    gateway.let_through(2)
    over(3)
    page.goto(shop)
    expect(page.locator(f"#order-{refunded.pk}")).to_contain_text("cancelled by the customer; refunded")
    keys = dict(Order.objects.values_list("pk", "charge_key"))
    kept = dict(Charge.objects.values_list("key", "status"))
    assert [kept[keys[one.pk]] for one in (late, unpaid, refunded)] == ["charged", "voided", "refunded"]
    assert Product.objects.get(sku="GOLD").stock == 8
