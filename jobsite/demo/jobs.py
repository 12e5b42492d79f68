"""The shop's jobs.

Each may run twice, because a worker can die between doing its work and saying so: each changes only what still waits.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from asgiref.sync import sync_to_async
from django.core.mail import EmailMessage
from django.db import transaction
from django.db.models import F, Sum
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


@dataclass(frozen=True)
class ReserveStock(Job):
    """Take an order's products out of the stock."""

    order_id: int


@dataclass(frozen=True)
class ChargeCard(Job):
    """Charge an order's card at the payment gateway."""

    order_id: int


@dataclass(frozen=True)
class CheckPayment(Job):
    """Ask the payment gateway what became of an order's payment."""

    order_id: int


@dataclass(frozen=True)
class SendReceipt(Job):
    """Send the receipt of a paid order by e-mail."""

    order_id: int


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


@handles(ReserveStock)
def reserve_stock(job: ReserveStock) -> None:
    """Move an order from placed to reserved, once, and go on to its payment."""
    order = _order(job.order_id)
    try:
        with transaction.atomic():
            if not Order.objects.filter(pk=order.pk, status=Status.PLACED).update(status=Status.RESERVED, problem=""):
                return  # reserved by an earlier run, or cancelled
            product = Product.objects.filter(pk=order.product_id, stock__gte=order.quantity)
            if not product.update(stock=F("stock") - order.quantity):
                raise _OutOfStock
            job_scheduler.enqueue(ChargeCard(order.pk))
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
    timeout=timedelta(seconds=30),
    # What the contract with the gateway allows. The others wait for their turn, on no worker.
    limits=[Limit("payment-gateway", concurrency=8)],
)
class ChargeCardHandler(JobHandler[ChargeCard]):
    """Charge the card of a reserved order, once."""

    def handle(self, job: ChargeCard, token: CancellationToken) -> None:
        """Raises PaymentGatewayError when the gateway does not answer, GiveUp when the card is declined."""
        order = _order(job.order_id)
        if order.status != Status.RESERVED:
            log.info("%s is %s: nothing to charge", order, order.status)
            return
        token.raise_if_cancelled()
        try:
            # No transaction is open here: the gateway may take long. The key makes a repeated call harmless.
            payments.charge(order.payment_key, order.total_cents, order.card)
        except payments.PaymentVoided:
            log.info("%s was cancelled before it was paid", order)
            return
        except payments.CardDeclined as error:
            _note(order, "card declined")
            raise GiveUp(f"card declined: order {order.pk} is cancelled unless it is paid in another way") from error
        except payments.PaymentGatewayError as error:
            _note(order, str(error))
            raise
        mark_paid(order)


# While one waits for the gateway, hundreds of others do, in the same process.
@handles(CheckPayment, queue="payments", timeout=timedelta(minutes=1))
async def check_payment(job: CheckPayment) -> None:
    """Record a payment that the gateway has made and the order does not know of. Raises PaymentGatewayError."""
    order = await sync_to_async(_order)(job.order_id)
    found = await payments.status(order.payment_key)
    log.info("%s is %s, its payment is %s", order, order.status, found)
    if found == "charged" and order.status == Status.RESERVED:
        await sync_to_async(mark_paid)(order)  # one call for the whole transaction


@handles(SendReceipt, queue="mail")
def send_receipt(job: SendReceipt) -> None:
    """Send the receipt of a paid order, unless it was sent. Raises what Django's e-mail backend raises."""
    order = _order(job.order_id)
    if order.status != Status.PAID or order.receipt_sent_at is not None:
        return
    EmailMessage(
        subject=f"Your receipt for order {order.pk}",
        body=f"Thank you.\n\n{order.quantity} x {order.product.name}\nPaid: {order.total}\n",
        to=[order.email],
        # The same id each time: when a crash makes us send twice, mail programs show it once.
        headers={"Message-ID": f"<receipt-{order.pk}@shop.example>"},
    ).send()
    Order.objects.filter(pk=order.pk).update(receipt_sent_at=timezone.now())


@handles(SendSalesReport, queue="mail")
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


@handles(WatchStock)
def watch_stock(job: WatchStock) -> None:
    """Warn of products of which fewer are left than it says."""
    for product in Product.objects.filter(stock__lt=job.below):
        log.warning("%s runs out: restock it at /shop/", product)


recurring("shop: sales report", SendSalesReport(), "30 6 * * *", timezone=SHOP_ZONE.key, misfire="each", catch_up=3)
recurring("shop: stock", WatchStock(below=20), every=timedelta(minutes=5), overlap="skip", misfire="skip")


@handles_command(CancelUnpaidOrder)
def cancel_unpaid_order(command: CancelUnpaidOrder) -> None:
    """Cancel an order unless its payment came first. Raises PaymentGatewayError."""
    _cancel(_order(command.order_id), "not paid in time")


# Who clicks twice gets the job that is there: two clicks, one cancellation.
@handles(CancelUnwantedOrder, unique=Unique(key=("order_id",)))
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
        job_scheduler.enqueue(ChargeCard(order.pk))  # it finds the charge made, and records it
        return
    with transaction.atomic():
        unpaid = Order.objects.filter(pk=order.pk)
        if unpaid.filter(status=Status.RESERVED).update(status=Status.CANCELLED, problem=why):
            Product.objects.filter(pk=order.product_id).update(stock=F("stock") + order.quantity)
        else:
            unpaid.filter(status=Status.PLACED).update(status=Status.CANCELLED, problem=why)
        if call_off is not None:
            command_bus.send(DeleteJobCommand(call_off))


def mark_paid(order: Order) -> bool:
    """Record the payment, call off the cancellation and send the receipt, in one transaction. False: done before."""
    with transaction.atomic():
        if not Order.objects.filter(pk=order.pk, status=Status.RESERVED).update(status=Status.PAID, problem=""):
            return False
        if order.cancel_job_id is not None:
            command_bus.send(DeleteJobCommand(order.cancel_job_id))
        job_scheduler.enqueue(SendReceipt(order.pk))
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
