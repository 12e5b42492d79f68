"""What happens to an order: facts, of which its saga is told."""

from __future__ import annotations

from dataclasses import dataclass

from handlers import Event


@dataclass(frozen=True)
class OrderPlaced(Event):
    """A customer has placed an order."""

    order_id: int
    total_cents: int


@dataclass(frozen=True)
class OrderApproved(Event):
    """Somebody lets it go on."""

    order_id: int


@dataclass(frozen=True)
class OrderStopped(Event):
    """It is not to go on: it was declined, or its customer or the card does not want it."""

    order_id: int
    why: str


@dataclass(frozen=True)
class StockReserved(Event):
    """Its pieces are put aside."""

    order_id: int


@dataclass(frozen=True)
class PaymentTaken(Event):
    """Its card is charged."""

    order_id: int
    payment_id: int


@dataclass(frozen=True)
class OrderShipped(Event):
    """Its parcel is packed, its receipt is sent."""

    order_id: int


@dataclass(frozen=True)
class OrderUndone(Event):
    """What was done of it is taken back."""

    order_id: int
