"""The shop's orders of before they were sagas, in each state that one can be in: brought over, and taken back."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import product as pairs
from typing import Any

import pytest
from django.apps.registry import Apps
from django.core import mail
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.test import Client
from pytest_django.live_server_helper import LiveServer

from handlers import job_scheduler
from handlers.models import SagaRecord
from jobsite.demo.commands import ReserveStock
from jobsite.demo.models import Charge, Order, Product
from tests.integration.test_demo import product, shop_server, switch, work

__all__ = ["product", "shop_server", "switch"]  # fixtures

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("noting")]

BEFORE, AFTER = [("shop", "0004_sagas")], [("shop", "0005_orders_are_sagas")]
Status = Order.Status
ERAS = ("chain", "workflow", "saga")  # how orders ran: as jobs one after another, as workflows, the large ones as sagas


def migrate(to: list[tuple[str, str]]) -> Apps:
    """Have the shop's tables as they were then; the models of then."""
    executor = MigrationExecutor(connection)
    executor.migrate(to)
    return executor.loader.project_state(to).apps


@pytest.fixture
def older(shop_server: LiveServer, product: Product) -> Iterator[Apps]:
    """The shop's models of before; its tables are as today's at the end."""
    try:
        yield migrate(BEFORE)
    finally:
        migrate(AFTER)


def make_orders(older: Apps, product: Product) -> dict[tuple[str, str], int]:
    """An order of each era in each state; of what may be charged the gateway has a payment."""
    model: Any = older.get_model("shop", "Order")
    orders, found = model.objects, dict[tuple[str, str], int]()
    for era, status in pairs(ERAS, Status.values):
        order = orders.create(
            product_id=product.pk, quantity=1, total_cents=1250, email="ada@example.com", status=status,
            is_large=era == "saga", payment_id=7 if status == Status.PAID else None,
        )  # fmt: skip
        found[era, status] = order.pk
        if era == "workflow":
            with job_scheduler.workflow(f"Order {order.pk}") as flow:
                flow.enqueue(ReserveStock(order.pk), delay=timedelta(hours=1))
            orders.filter(pk=order.pk).update(workflow_id=flow.workflow_id)
        if status in (Status.RESERVED, Status.PAID):
            key = f"key-of-job-{order.pk}" if era == "saga" else f"order-{order.pk}"
            Charge.objects.create(key=key, status=Charge.Status.CHARGED, amount_cents=1250)
            orders.filter(pk=order.pk, is_large=True).update(charge_key=key)
    return found


def test_orders_of_each_state_keep_the_key_of_their_charge_and_can_be_taken_back(
    older: Apps, product: Product, client: Client
) -> None:
    made = make_orders(older, product)
    model: Any = older.get_model("shop", "Order")
    before: dict[int, dict[str, Any]] = {order["id"]: order for order in model.objects.values()}
    migrate(AFTER)
    orders = Order.objects.in_bulk()
    assert len(orders) == len(ERAS) * len(Status.values)
    for (era, status), pk in made.items():
        order = orders[pk]
        kept = {name: getattr(order, name) for name in before[pk] if hasattr(order, name) and name != "charge_key"}
        assert kept == {name: before[pk][name] for name in kept}
        assert order.charge_key == (before[pk]["charge_key"] if era == "saga" else f"order-{pk}"), (era, status)

    stock = product.stock
    page = client.get("/shop/").content.decode()
    assert {pk for pk in orders if f"/shop/cancel/{pk}" in page} == {
        pk for (_, status), pk in made.items() if status in (Status.PLACED, Status.RESERVED)
    }
    for pk in orders:
        client.post(f"/shop/cancel/{pk}")
    work()
    for (era, status), pk in made.items():
        order = Order.objects.get(pk=pk)
        assert order.status == (Status.PAID if status == Status.PAID else Status.CANCELLED), (era, status)
        paid = Charge.objects.filter(key=order.payment_key).values_list("status", flat=True).first()
        expected = {Status.RESERVED: "refunded", Status.PAID: "charged", Status.CANCELLED: None}
        if status in expected:
            assert paid == expected[Status(status)], (era, status)
        else:
            assert paid in (None, "voided"), "it can never be charged"
    product.refresh_from_db()
    assert product.stock == stock + len(ERAS), "of those that were reserved"
    assert SagaRecord.objects.filter(completed_at=None).count() == 0
    assert not mail.outbox
