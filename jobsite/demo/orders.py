"""Placing orders: the rows and the jobs that work on them are saved together, or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from handlers import ScheduleJobCommand, command_bus, job_scheduler
from jobsite.demo.jobs import CancelUnpaidOrder, ReserveStock
from jobsite.demo.models import Card, Order, Product

MAX_QUANTITY = 99
PAYMENT_DEADLINE = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class OrderLine:
    """What a customer asks for; checked before it gets here."""

    product: Product
    quantity: int
    email: str
    card: str = Card.GOOD


def place_orders(lines: Sequence[OrderLine]) -> list[Order]:
    """Save the orders in one transaction with their jobs: reserve the stock now, cancel at the deadline unless paid.

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
        job_scheduler.enqueue_many([ReserveStock(order.pk) for order in orders])
        for order in orders:
            order.cancel_job_id = int(command_bus.send(ScheduleJobCommand(CancelUnpaidOrder(order.pk), deadline)))
        Order.objects.bulk_update(orders, ["cancel_job_id"], batch_size=200)
    return orders
