"""Placing orders: the rows and the workflows that work on them are saved together, or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from handlers import ScheduleJobCommand, command_bus, job_scheduler
from jobsite.demo.jobs import CancelUnpaidOrder, ChargeCard, PackParcel, ReserveStock, SendReceipt
from jobsite.demo.models import Card, Order, Product

MAX_QUANTITY = 99
WHOLESALE = 10  # pieces, from which an order's jobs are tagged so
PAYMENT_DEADLINE = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class OrderLine:
    """What a customer asks for; checked before it gets here."""

    product: Product
    quantity: int
    email: str
    card: str = Card.GOOD


def place_orders(lines: Sequence[OrderLine]) -> list[Order]:
    """Save the orders in one transaction, each with its workflow and a job that cancels it at the deadline unless paid.

    Workers see the jobs once the transaction commits; when it rolls back, neither orders nor jobs exist.
    """
    deadline = timezone.now() + PAYMENT_DEADLINE
    with transaction.atomic():
        orders = Order.objects.bulk_create(
            Order(
                product=line.product,
                quantity=line.quantity,
                total_cents=line.quantity * line.product.price_cents,
                email=line.email,
                card=line.card,
            )
            for line in lines
        )
        for order in orders:
            order.workflow_id = _open_workflow(order)
            order.cancel_job_id = int(command_bus.send(ScheduleJobCommand(CancelUnpaidOrder(order.pk), deadline)))
        Order.objects.bulk_update(orders, ["workflow_id", "cancel_job_id"], batch_size=200)
    return orders


def _open_workflow(order: Order) -> int:
    """What is to be done for an order. A step that fails holds those that come after it until it is retried."""
    tags = [f"product:{order.product_id}", *(["wholesale"] if order.quantity >= WHOLESALE else [])]
    with job_scheduler.workflow(f"Order {order.pk}") as flow:
        reserved = flow.enqueue(ReserveStock(order.pk), tags=tags)
        paid = flow.enqueue(ChargeCard(order.pk), after=reserved, tags=tags)
        flow.enqueue(SendReceipt(order.pk, payment=flow.result(paid)), after=paid, tags=tags)
        flow.enqueue(PackParcel(order.pk), after=paid, tags=tags)
    return flow.workflow_id
