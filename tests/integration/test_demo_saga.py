"""The shop's orders: each is one saga, with a gateway that is really asked over HTTP."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django.live_server_helper import LiveServer

from handlers import job_scheduler, lifecycle
from handlers.models import JobRecord, SagaRecord
from jobsite.demo.models import Card, Charge, GatewaySwitch, Order, Product
from tests import running
from tests.integration.test_demo import place, product, shop_server, switch, work

__all__ = ["product", "shop_server", "switch"]  # fixtures

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("noting")]
Mode = GatewaySwitch.Mode
PIECES = 4  # are a large order


@pytest.fixture
def machine(product: Product) -> Product:
    """Of which four pieces are a large order."""
    Product.objects.filter(pk=product.pk).update(price_cents=30_000)
    product.refresh_from_db()
    return product


def large(machine: Product, card: str = Card.GOOD) -> Order:
    """One that waits for its approval."""
    order = place(machine, PIECES, card)
    work()
    assert job("ApproveOrder").state == "waiting"
    return order


def job(command: str) -> JobRecord:
    return JobRecord.objects.filter(job_type=f"shop.{command}").latest("pk")


def answer(approved: bool, reason: str = "I know her") -> None:
    assert job_scheduler.signal(job("ApproveOrder").pk, "approval", {"approved": approved, "reason": reason, "by": "o"})
    work()


def now(order: Order) -> tuple[str, str, bool]:
    """Its status, its problem, and whether its saga is complete."""
    order.refresh_from_db()
    return order.status, order.problem, SagaRecord.objects.get().completed_at is not None


def stock(machine: Product) -> int:
    return Product.objects.get(pk=machine.pk).stock


def test_large_order_is_approved_reserved_charged_and_shipped(shop_server: LiveServer, machine: Product) -> None:
    order = large(machine)
    assert stock(machine) == 10
    answer(approved=True)
    assert now(order) == ("paid", "", True)
    assert order.parcel
    assert stock(machine) == 6
    charge = Charge.objects.get()
    assert (charge.key, charge.amount_cents, charge.status) == (order.charge_key, 120_000, "charged")
    assert len(order.charge_key) == 32
    assert order.payment_id == charge.pk


def test_large_order_that_is_declined_is_cancelled(shop_server: LiveServer, machine: Product) -> None:
    order = large(machine)
    answer(approved=False, reason="a stranger")
    assert now(order) == ("cancelled", "declined: a stranger", True)
    assert (stock(machine), Charge.objects.count()) == (10, 0)


def test_large_order_that_nobody_looks_at_is_cancelled(shop_server: LiveServer, machine: Product) -> None:
    order = large(machine)
    JobRecord.objects.filter(state="waiting").update(run_at=timezone.now() - timedelta(seconds=1))
    assert lifecycle.end_waits()
    work()
    assert now(order) == ("cancelled", "nobody approved it in time", True)


def test_small_order_asks_nobody(shop_server: LiveServer, machine: Product) -> None:
    order = place(machine, PIECES - 1)
    work()
    assert now(order) == ("paid", "", True)
    assert not JobRecord.objects.filter(job_type="shop.ApproveOrder").exists()


def test_customer_cancels_while_it_waits(shop_server: LiveServer, machine: Product, client: Client) -> None:
    order = large(machine)
    client.post(f"/shop/cancel/{order.pk}")
    work()
    assert now(order) == ("cancelled", "cancelled by the customer", True)
    assert job("ApproveOrder").state == "deleted"


def test_card_that_is_declined_gives_the_stock_back(shop_server: LiveServer, machine: Product) -> None:
    order = large(machine, Card.DECLINED)
    answer(approved=True)
    assert now(order) == ("cancelled", "card declined", True)
    assert stock(machine) == 10
    assert Charge.objects.get().status == "voided"


def test_charge_is_repeated_under_the_same_key_and_charges_once(shop_server: LiveServer, machine: Product) -> None:
    order = large(machine)
    answer(approved=True)
    key = order.charge_key or Order.objects.get().charge_key
    charged = job("ChargeCard")
    Order.objects.update(status="reserved", payment_id=None)  # as if its worker had died before it noted the answer
    assert job_scheduler.requeue(charged.pk)
    work()
    assert Charge.objects.get().key == key
    assert now(order)[0] == "paid"


@pytest.mark.parametrize("charged", [False, True], ids=["never paid", "paid too late"])
def test_order_that_is_not_paid_in_time_is_taken_back(
    shop_server: LiveServer, machine: Product, charged: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = large(machine)
    GatewaySwitch.objects.update_or_create(pk=1, defaults={"mode": Mode.DOWN, "calls": 0})
    assert job_scheduler.signal(job("ApproveOrder").pk, "approval", {"approved": True})
    with monkeypatch.context() as patch:
        patch.setattr(running, "make_due", lambda job_id: None)  # no second attempt yet
        work()
    order.refresh_from_db()
    assert (order.status, stock(machine), job("ChargeCard").state) == ("reserved", 6, "scheduled")
    GatewaySwitch.objects.update(mode=Mode.OK)
    if charged:  # and nobody here has heard of it
        Charge.objects.create(key=order.charge_key, status="charged", amount_cents=120_000)
    timeout = JobRecord.objects.get(state="scheduled", job_type="shop.OrderSaga")
    running.make_due(timeout.pk)
    work()
    assert now(order) == ("cancelled", f"not paid in time{'; refunded' if charged else ''}", True)
    assert stock(machine) == 10
    assert Charge.objects.get().status == ("refunded" if charged else "voided")
    assert job("ChargeCard").state == "deleted"
