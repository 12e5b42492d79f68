"""The shop's jobs: those of a shipping, of which ``commands`` says which follows which, and what is beside orders.

Each may run twice, because a worker can die between doing its work and saying so: each changes only what still waits.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from asgiref.sync import sync_to_async
from django.core.mail import EmailMessage
from django.db.models import Sum
from django.urls import reverse
from django.utils import timezone

from handlers import (
    GiveUp,
    Job,
    Unique,
    event_bus,
    handles,
    job_scheduler,
    recurring,
)
from jobsite.demo import payments
from jobsite.demo.events import OrderShipped, OrderStopped
from jobsite.demo.models import Order, Product, money

log = logging.getLogger(__name__)
Status = Order.Status
SHOP_ZONE = ZoneInfo("Europe/Berlin")
# Whoever learns of a payment has the order's own charge run again: only that records it, and its saga goes on.
CHARGED = "its card was charged: to be recorded"


class AboutOrder(Protocol):
    """A job about one order."""

    @property
    def order_id(self) -> int: ...


@dataclass(frozen=True)
class PackParcel(Job):
    """Pack what was paid. Returns the parcel's number."""

    order_id: int


@dataclass(frozen=True)
class CloseOrder(Job):
    """Say that all is done for an order."""

    order_id: int


@dataclass(frozen=True)
class CheckPayment(Job):
    """Ask the payment gateway what became of an order's payment."""

    order_id: int


@dataclass(frozen=True)
class SendReceipt(Job):
    """Send the receipt of a paid order by e-mail."""

    order_id: int
    payment: int | None = None  # its number


@dataclass(frozen=True)
class SendSalesReport(Job):
    """Mail to the shop's owner what was paid on the day before."""


@dataclass(frozen=True)
class WatchStock(Job):
    """Say in the log which products run out."""

    below: int


@dataclass(frozen=True)
class CancelUnwantedOrder(Job):
    """Have an order cancelled for the customer who asked for it."""

    order_id: int


def order_page(job: AboutOrder) -> dict[str, str]:
    """Where the order that a job is about is to be seen, by its name."""
    return {f"Order {job.order_id} in the shop": f"{reverse('shop:shop')}#order-{job.order_id}"}


def found(order_id: int) -> Order:
    """The order of this number. Raises GiveUp."""
    order = Order.objects.select_related("product").filter(pk=order_id).first()
    if order is None:
        raise GiveUp(f"order {order_id} does not exist")
    return order


@handles(PackParcel, tags=["orders"], title=lambda job: f"Parcel of order {job.order_id}", links=order_page)
def pack_parcel(job: PackParcel) -> str:
    """Note the parcel's number. Raises GiveUp when the order is not paid."""
    order = found(job.order_id)
    parcel = f"P-{order.pk:06}"  # the same each time
    if not Order.objects.filter(pk=order.pk, status=Status.PAID).update(parcel=parcel):
        raise GiveUp(f"{order} is {order.status}: nothing is packed that is not paid")
    return parcel


@handles(CloseOrder, tags=["orders"], title=lambda job: f"All done for order {job.order_id}", links=order_page)
def close_order(job: CloseOrder) -> None:
    """Tell the order's saga."""
    event_bus.publish(OrderShipped(job.order_id))


# While one waits for the gateway, hundreds of others do, in the same process.
@handles(
    CheckPayment,
    queue="payments",
    timeout=timedelta(minutes=1),
    tags=["money"],
    title=lambda job: f"Check the payment of order {job.order_id}",
    links=order_page,
)
async def check_payment(job: CheckPayment) -> None:
    """Have a payment recorded that the gateway has made and the order does not know of. Raises PaymentGatewayError."""
    order = await sync_to_async(found)(job.order_id)
    became = await payments.status(order.payment_key)
    log.info("%s is %s, its payment is %s", order, order.status, became)
    if became == "charged" and order.status == Status.RESERVED and order.charge_job_id:
        await job_scheduler.aretry(order.charge_job_id, reason=CHARGED)


@handles(
    SendReceipt,
    queue="mail",
    tags=["orders", "mail"],
    title=lambda job: f"Receipt for order {job.order_id}",
    links=order_page,
)
def send_receipt(job: SendReceipt) -> None:
    """Send the receipt of a paid order, unless it was sent. Raises what Django's e-mail backend raises."""
    order = found(job.order_id)
    if order.status != Status.PAID or order.receipt_sent_at is not None:
        return
    payment = f"Payment: {job.payment}\n" if job.payment else ""
    EmailMessage(
        subject=f"Your receipt for order {order.pk}",
        body=f"Thank you.\n\n{order.quantity} x {order.product.name}\nPaid: {order.total}\n{payment}",
        to=[order.email],
        # The same id each time: when a crash makes us send twice, mail programs show it once.
        headers={"Message-ID": f"<receipt-{order.pk}@shop.example>"},
    ).send()
    Order.objects.filter(pk=order.pk).update(receipt_sent_at=timezone.now())


@handles(SendSalesReport, queue="mail", tags=["mail"], title=lambda job: "Sales of the day before")
def send_sales_report(job: SendSalesReport) -> None:
    """Mail yesterday's sales, by the shop's own day."""
    today = timezone.now().astimezone(SHOP_ZONE).replace(hour=0, minute=0, second=0, microsecond=0)
    day = (today - timedelta(hours=12)).date()
    paid = Order.objects.filter(status=Status.PAID, created_at__lt=today)
    paid = paid.filter(created_at__gte=datetime(day.year, day.month, day.day, tzinfo=SHOP_ZONE))
    sold = paid.values("product__name").annotate(pieces=Sum("quantity"), cents=Sum("total_cents")).order_by("-cents")
    lines = [f"{each['pieces']} x {each['product__name']}: {money(each['cents'])}" for each in sold] or ["Nothing."]
    EmailMessage(
        subject=f"Sales of {day:%A, %d %B %Y}",
        body="\n".join(lines),
        to=["owner@shop.example"],
        headers={"Message-ID": f"<sales-{day:%Y-%m-%d}@shop.example>"},
    ).send()


@handles(WatchStock, title=lambda job: f"Products of which fewer than {job.below} are left")
def watch_stock(job: WatchStock) -> None:
    """Warn of products of which fewer are left than it says."""
    for product in Product.objects.filter(stock__lt=job.below):
        log.warning("%s runs out: restock it at /shop/", product)


recurring("shop: sales report", SendSalesReport(), "30 6 * * *", timezone=SHOP_ZONE.key, misfire="each", catch_up=3)
recurring("shop: stock", WatchStock(below=20), every=timedelta(minutes=5), overlap="skip", misfire="skip")


# Who clicks twice gets the job that is there: two clicks, one cancellation.
@handles(
    CancelUnwantedOrder,
    unique=Unique(key=("order_id",)),
    tags=["orders"],
    title=lambda job: f"Cancel order {job.order_id}, as its customer asks",
    links=order_page,
    aliases=("shop.CancelUnpaidOrder",),  # of orders that were placed before they were sagas
)
def cancel_order(job: CancelUnwantedOrder) -> None:
    """Tell the order's saga, which knows what is to be taken back, unless it is paid."""
    if found(job.order_id).is_cancellable:
        event_bus.publish(OrderStopped(job.order_id, "cancelled by the customer"))
