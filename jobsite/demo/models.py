"""What the shop knows: products, orders, and the books and the switch of its pretend payment gateway."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q


class Product(models.Model):
    """Something to sell. ``stock`` counts what is not yet reserved; the database refuses a negative one."""

    sku = models.CharField(max_length=20, unique=True)
    name = models.CharField(max_length=80)
    price_cents = models.PositiveIntegerField()
    stock = models.PositiveIntegerField(default=0)

    class Meta:
        ordering: ClassVar = ["name"]
        constraints: ClassVar = [models.CheckConstraint(condition=Q(stock__gte=0), name="shop_stock_not_negative")]

    def __str__(self) -> str:
        return f"{self.name} ({self.price}, {self.stock} in stock)"

    @property
    def price(self) -> str:
        """The price of one, as people read it."""
        return money(self.price_cents)


class Card(models.TextChoices):
    """Stand-ins for a card, as a payment provider's test tokens are; the shop never sees a card number."""

    GOOD = "tok_good", "Card that works"
    DECLINED = "tok_declined", "Card that is declined"


class Order(models.Model):
    """One product ordered by one person."""

    class Status(models.TextChoices):
        PLACED = "placed", "Placed"  # saved; its stock is not reserved yet
        RESERVED = "reserved", "Stock reserved"  # waits for the payment
        PAID = "paid", "Paid"  # the payment gateway has charged the card
        CANCELLED = "cancelled", "Cancelled"  # by its customer, or not paid in time; its stock was given back

    product = models.ForeignKey(Product, on_delete=models.PROTECT, related_name="orders")
    quantity = models.PositiveIntegerField()
    total_cents = models.PositiveIntegerField()
    email = models.EmailField()
    card = models.CharField(max_length=20, choices=Card, default=Card.GOOD)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.PLACED)
    problem = models.CharField(max_length=200, blank=True, default="")  # why it is stuck, in words
    workflow_id = models.BigIntegerField(default=0)  # of its shipping; 0: that has not begun
    charge_job_id = models.BigIntegerField(null=True)  # that charges its card
    created_at = models.DateTimeField(auto_now_add=True)
    charge_key = models.CharField(max_length=64, blank=True, default="")  # of its charge, noted before that
    payment_id = models.BigIntegerField(null=True)  # the gateway's number of it
    parcel = models.CharField(max_length=20, blank=True, default="")  # its number, once that is packed
    receipt_sent_at = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar = ["-id"]

    def __str__(self) -> str:
        return f"order {self.pk}"

    @property
    def total(self) -> str:
        """What it costs, as people read it."""
        return money(self.total_cents)

    @property
    def is_cancellable(self) -> bool:
        """Whether its customer may still cancel it."""
        return self.status in (self.Status.PLACED, self.Status.RESERVED)

    @property
    def payment_key(self) -> str:
        """Under which the payment gateway is asked for its payment; until a charge has begun it knows of none."""
        return self.charge_key or f"order-{self.pk}"

    def mark_paid(self, payment_id: int) -> bool:
        """Record its payment. Whether it was waiting for one, or has it."""
        waits = Order.objects.filter(pk=self.pk, status__in=(self.Status.RESERVED, self.Status.PAID))
        return bool(waits.update(status=self.Status.PAID, payment_id=payment_id, problem=""))


class Charge(models.Model):
    """The payment gateway's books: one row per idempotency key, charged or voided, whichever came first."""

    class Status(models.TextChoices):
        CHARGED = "charged", "Charged"
        REFUNDED = "refunded", "Refunded"  # and given back
        VOIDED = "voided", "Voided"  # the shop cancelled first; this key can never be charged

    key = models.CharField(max_length=64, unique=True)
    status = models.CharField(max_length=10, choices=Status.choices)
    amount_cents = models.PositiveIntegerField()
    at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.key}: {self.status}"


class GatewaySwitch(models.Model):
    """How the pretend payment gateway behaves: one row, with ``pk=1``."""

    class Mode(models.TextChoices):
        OK = "ok", "On"
        SLOW = "slow", "Slow"  # every answer takes two seconds
        FLAKY = "flaky", "Flaky"  # every other call is answered 503
        DOWN = "down", "Down"  # every call is answered 503

    mode = models.CharField(max_length=10, choices=Mode.choices, default=Mode.OK)
    calls = models.PositiveIntegerField(default=0)

    def __str__(self) -> str:
        return f"payment gateway: {self.mode}"

    @classmethod
    def current(cls) -> GatewaySwitch:
        """The one row; made when it is missing."""
        return cls.objects.get_or_create(pk=1)[0]


def money(cents: int) -> str:
    """``1250`` as ``€12.50``."""
    return f"€{cents // 100:,}.{cents % 100:02}"
