"""A journey with the shop's large order: placed, approved in the console by a person, charged over HTTP, shipped."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from handlers.models import AuditEntry, JobRecord, SagaRecord
from jobsite.demo.models import Card, Charge, Order, Product
from tests.browser.conftest import sign_in
from tests.browser.people import someone
from tests.faults.conftest import Start
from tests.faults.records import wait_state
from tests.processes import wait_for

pytestmark = [pytest.mark.browser, pytest.mark.once, pytest.mark.redis, pytest.mark.django_db(transaction=True)]


def test_large_order_waits_for_approval_and_is_shipped(
    page: Page, live_server: Any, start_worker: Start, child_env: dict[str, str]
) -> None:
    child_env["SHOP_GATEWAY_URL"] = f"{live_server.url}/shop/gateway"
    someone("olga", "Operator")
    pen = Product.objects.create(sku="GOLD", name="Gold pen", price_cents=60_000, stock=9)
    page.goto(f"{live_server.url}/shop/")
    page.locator("select[name=product]").select_option(str(pen.pk))
    page.locator("input[name=quantity]").fill("2")
    page.locator("input[name=email]").fill("ada@example.com")
    page.locator("select[name=card]").select_option(Card.GOOD)
    page.get_by_role("button", name="Place order").click()
    start_worker("--processes", "1")
    wait_for("it waits", lambda: JobRecord.objects.filter(state="waiting"))
    approval = JobRecord.objects.get(state="waiting").pk

    sign_in(page, live_server.url, "olga")
    page.get_by_role("link", name="1 job waits for an answer").click()
    page.get_by_role("link", name=f"#{approval}").click()
    wait = page.locator("#job-wait")
    wait.get_by_label("Reason").fill("she is a good customer")
    wait.get_by_role("button", name="Approve").click()
    expect(page.locator(".messagelist")).to_contain_text(f"Approved job {approval}.")
    wait_state("succeeded", approval)
    wait_for("its saga is complete", lambda: SagaRecord.objects.filter(completed_at__isnull=False))
    order = Order.objects.get()
    assert (order.status, bool(order.parcel)) == ("paid", True)
    assert Charge.objects.get().key == order.charge_key
    assert AuditEntry.objects.get(verb="signal").reason == "she is a good customer"
    page.goto(f"{live_server.url}/shop/")
    expect(page.locator(f"#order-{order.pk}")).to_contain_text(order.parcel)
