"""The shop's jobs. Which of them follows which is said in one place, where an order is placed (``orders``).

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
from django.db import transaction
from django.db.models import F, Sum
from django.urls import reverse
from django.utils import timezone

from handlers import (
    CancellationToken,
    Command,
    DeleteJobCommand,
    FixedBackoff,
    GiveUp,
    Job,
    JobHandler,
    Limit,
    RetryAfter,
    RetryPolicy,
    Unique,
    command_bus,
    handles,
    handles_command,
    job_scheduler,
    recurring,
)
from jobsite.demo import payments
from jobsite.demo.models import Order, Product, money

log = logging.getLogger(__name__)
Status = Order.Status
SHOP_ZONE = ZoneInfo("Europe/Berlin")
CHARGE_TIME = timedelta(seconds=30)  # at most
# Whoever learns of a payment has the order's own charge run again: only that records it, and what waits for it goes on.
CHARGED = "its card was charged: to be recorded"


class AboutOrder(Protocol):
    """A job about one order."""

    @property
    def order_id(self) -> int: ...


@dataclass(frozen=True)
class ReserveStock(Job):
    """Take an order's products out of the stock."""

    order_id: int


@dataclass(frozen=True)
class ChargeCard(Job):
    """Charge an order's card at the payment gateway. Returns the payment's number."""

    order_id: int


@dataclass(frozen=True)
class PackParcel(Job):
    """Pack what was paid. Returns the parcel's number."""

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
    """Cancel an order for the customer who asked for it, and give its stock back."""

    order_id: int


@dataclass(frozen=True)
class CancelUnpaidOrder(Command):
    """Cancel an order that was not paid in time, and give its stock back."""

    order_id: int


def order_page(job: AboutOrder) -> dict[str, str]:
    """Where the order that a job is about is to be seen, by its name."""
    return {f"Order {job.order_id} in the shop": f"{reverse('shop:shop')}#order-{job.order_id}"}


@handles(ReserveStock, tags=["orders"], title=lambda job: f"Stock for order {job.order_id}", links=order_page)
def reserve_stock(job: ReserveStock) -> None:
    """Move an order from placed to reserved, once."""
    order = _order(job.order_id)
    try:
        with transaction.atomic():
            if not Order.objects.filter(pk=order.pk, status=Status.PLACED).update(status=Status.RESERVED, problem=""):
                return  # reserved by an earlier run, or cancelled
            product = Product.objects.filter(pk=order.product_id, stock__gte=order.quantity)
            if not product.update(stock=F("stock") - order.quantity):
                raise _OutOfStock
    except _OutOfStock:
        left = Product.objects.get(pk=order.product_id)
        reason = f"out of stock: order {order.pk} needs {order.quantity} of {left.sku}, {left.stock} left"
        # Outside the transaction: it was rolled back, and this must stay.
        Order.objects.filter(pk=order.pk, status=Status.PLACED).update(problem=reason)
        raise GiveUp(f"{reason}. Restock it at /shop/, then retry this job.") from None


# Two attempts, so that whoever tries the demo soon sees a failed job; a real shop would keep the default of ten.
@handles(
    ChargeCard,
    queue="payments",
    retry=RetryPolicy(max_attempts=2, backoff=FixedBackoff(timedelta(seconds=2)), jitter=0.0),
    timeout=CHARGE_TIME,
    tags=["orders", "money"],
    title=lambda job: f"Charge order {job.order_id}",
    links=order_page,
    # What the contract with the gateway allows. The others wait for their turn, on no worker.
    limits=[Limit("payment-gateway", concurrency=8)],
)
class ChargeCardHandler(JobHandler[ChargeCard]):
    """Charge the card of a reserved order, once. It succeeds only if that is paid: others rely on it."""

    def handle(self, job: ChargeCard, token: CancellationToken) -> int:
        """Raises PaymentGatewayError when the gateway does not answer, GiveUp when the order will not be paid."""
        order = _order(job.order_id)
        if order.payment_id is not None:
            return order.payment_id
        if order.status != Status.RESERVED:
            raise GiveUp(f"{order} is {order.status}: nothing to charge")
        token.raise_if_cancelled()
        try:
            # No transaction is open here: the gateway may take long. The key makes a repeated call harmless.
            payment_id = payments.charge(order.payment_key, order.total_cents, order.card)
        except payments.PaymentVoided as error:
            raise GiveUp(f"{order} was cancelled before it was paid") from error
        except payments.CardDeclined as error:
            _note(order, "card declined")
            raise GiveUp(f"card declined: order {order.pk} is cancelled unless it is paid in another way") from error
        except payments.PaymentGatewayError as error:
            _note(order, str(error))
            raise
        mark_paid(order, payment_id)
        return payment_id


@handles(PackParcel, tags=["orders"], title=lambda job: f"Parcel of order {job.order_id}", links=order_page)
def pack_parcel(job: PackParcel) -> str:
    """Note the parcel's number. Raises GiveUp when the order is not paid."""
    order = _order(job.order_id)
    parcel = f"P-{order.pk:06}"  # the same each time
    if not Order.objects.filter(pk=order.pk, status=Status.PAID).update(parcel=parcel):
        raise GiveUp(f"{order} is {order.status}: nothing is packed that is not paid")
    return parcel


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
    order = await sync_to_async(_order)(job.order_id)
    found = await payments.status(order.payment_key)
    log.info("%s is %s, its payment is %s", order, order.status, found)
    if found == "charged" and order.status == Status.RESERVED:
        await job_scheduler.aretry_workflow(order.workflow_id, reason=CHARGED)


@handles(
    SendReceipt,
    queue="mail",
    tags=["orders", "mail"],
    title=lambda job: f"Receipt for order {job.order_id}",
    links=order_page,
)
def send_receipt(job: SendReceipt) -> None:
    """Send the receipt of a paid order, unless it was sent. Raises what Django's e-mail backend raises."""
    order = _order(job.order_id)
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


@handles_command(
    CancelUnpaidOrder, tags=["orders"], title=lambda job: f"Cancel order {job.order_id} if unpaid", links=order_page
)
def cancel_unpaid_order(command: CancelUnpaidOrder) -> None:
    """Cancel an order unless its payment came first. Raises PaymentGatewayError."""
    _cancel(_order(command.order_id), "not paid in time")


# Who clicks twice gets the job that is there: two clicks, one cancellation.
@handles(
    CancelUnwantedOrder,
    unique=Unique(key=("order_id",)),
    tags=["orders"],
    title=lambda job: f"Cancel order {job.order_id}, as its customer asks",
    links=order_page,
)
def cancel_order(job: CancelUnwantedOrder) -> None:
    """Cancel an order unless its payment came first. Raises PaymentGatewayError."""
    order = _order(job.order_id)
    _cancel(order, "cancelled by the customer", call_off=order.cancel_job_id)


def _cancel(order: Order, why: str, *, call_off: int | None = None) -> None:
    """Cancel an order unless its payment came first, and another cancellation with it. Raises PaymentGatewayError."""
    if order.status in (Status.PAID, Status.CANCELLED):
        return
    # The gateway decides who was first: only there can a charge be under way whose answer never reached us.
    if not payments.void(order.payment_key):
        if not job_scheduler.retry_workflow(order.workflow_id, reason=CHARGED):
            raise RetryAfter(CHARGE_TIME, f"{order} was charged, and its charge has not ended yet")
        return
    with transaction.atomic():
        unpaid, cancelled = Order.objects.filter(pk=order.pk), {"status": Status.CANCELLED, "problem": why}
        # In the order in which it moves, so that it cannot slip through between the two.
        if not unpaid.filter(status=Status.PLACED).update(**cancelled) and (
            unpaid.filter(status=Status.RESERVED).update(**cancelled)
        ):
            Product.objects.filter(pk=order.product_id).update(stock=F("stock") + order.quantity)
        job_scheduler.cancel_workflow(order.workflow_id, reason=why)
        if call_off is not None:
            command_bus.send(DeleteJobCommand(call_off))


def mark_paid(order: Order, payment_id: int) -> bool:
    """Record the payment and call off the cancellation, in one transaction. False: done before."""
    with transaction.atomic():
        paid = {"status": Status.PAID, "payment_id": payment_id, "problem": ""}
        if not Order.objects.filter(pk=order.pk, status=Status.RESERVED).update(**paid):
            return False
        if order.cancel_job_id is not None:
            command_bus.send(DeleteJobCommand(order.cancel_job_id))
    return True


class _OutOfStock(Exception):
    """Rolls a reservation back."""


def _order(order_id: int) -> Order:
    order = Order.objects.select_related("product").filter(pk=order_id).first()
    if order is None:
        raise GiveUp(f"order {order_id} does not exist")
    return order


def _note(order: Order, problem: str) -> None:
    Order.objects.filter(pk=order.pk, status=Status.RESERVED).update(problem=problem[:200])
