"""Placing orders: the rows and what starts their sagas are saved together, or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db import transaction

from handlers import event_bus
from jobsite.demo.events import OrderPlaced
from jobsite.demo.models import Card, Order, Product

MAX_QUANTITY = 99


@dataclass(frozen=True, slots=True)
class OrderLine:
    """What a customer asks for; checked before it gets here."""

    product: Product
    quantity: int
    email: str
    card: str = Card.GOOD


def place_orders(lines: Sequence[OrderLine]) -> list[Order]:
    """Save the orders, and have the saga of each begin, in one transaction.

    Workers see it once that commits; when it rolls back, neither orders nor jobs exist.
    """
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
        event_bus.publish_many(OrderPlaced(order.pk, order.total_cents) for order in orders)
    return orders
