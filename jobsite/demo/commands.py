"""What an order's saga has done, each step by a job: approve, reserve, charge, ship; or take back what was done.

Each may run twice, because a worker can die between doing its work and saying so: it does nothing twice, and the saga
passes over what it has been told before.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.db import transaction
from django.db.models import F

from handlers import (
    Command,
    FixedBackoff,
    GiveUp,
    Limit,
    RetryAfter,
    RetryPolicy,
    Run,
    WaitFor,
    event_bus,
    handles_command,
    job_scheduler,
)
from jobsite.demo import payments
from jobsite.demo.events import OrderApproved, OrderStopped, OrderUndone, PaymentTaken, StockReserved
from jobsite.demo.jobs import CloseOrder, PackParcel, SendReceipt, found, order_page
from jobsite.demo.models import Order, Product, money

Status = Order.Status
APPROVAL_TIME = timedelta(days=3)
CHARGE_TIME = timedelta(seconds=30)  # at most
WHOLESALE = 10  # pieces, from which the jobs of an order's shipping are tagged so


@dataclass(frozen=True)
class ApproveOrder(Command):
    """Have somebody look at a large order before anything is done for it."""

    order_id: int
    total_cents: int


@dataclass(frozen=True)
class ReserveStock(Command):
    """Take an order's products out of the stock."""

    order_id: int


@dataclass(frozen=True)
class ChargeCard(Command):
    """Charge an order's card at the payment gateway."""

    order_id: int


@dataclass(frozen=True)
class ShipOrder(Command):
    """Open the workflow that packs what was paid, and sends its receipt."""

    order_id: int


@dataclass(frozen=True)
class UndoOrder(Command):
    """Cancel an order: give its stock back, and its money."""

    order_id: int
    why: str


@handles_command(
    ApproveOrder,
    tags=["orders"],
    title=lambda job: f"Approve order {job.order_id} of {money(job.total_cents)}",
    links=order_page,
)
def approve_order(command: ApproveOrder, run: Run) -> None:
    """Wait for a person, on no worker."""
    if "approval" in run.timed_out:
        event_bus.publish(OrderStopped(command.order_id, "nobody approved it in time"))
        return
    if "approval" not in run.signals:
        raise WaitFor("approval", timeout=APPROVAL_TIME, reason=f"an order of {money(command.total_cents)}")
    answer = run.signals["approval"]
    if isinstance(answer, dict) and answer.get("approved") is True:
        event_bus.publish(OrderApproved(command.order_id))
    else:
        reason = answer.get("reason") if isinstance(answer, dict) else ""
        event_bus.publish(OrderStopped(command.order_id, f"declined: {reason or 'no reason given'}"[:200]))


@handles_command(
    ReserveStock,
    tags=["orders"],
    title=lambda job: f"Stock for order {job.order_id}",
    links=order_page,
    aliases=("shop.ReserveOrder",),
)
def reserve_stock(command: ReserveStock) -> None:
    """Move an order from placed to reserved, once. Raises GiveUp when it is out of stock."""
    order = found(command.order_id)
    try:
        with transaction.atomic():
            if Order.objects.filter(pk=order.pk, status=Status.PLACED).update(status=Status.RESERVED, problem=""):
                product = Product.objects.filter(pk=order.product_id, stock__gte=order.quantity)
                if not product.update(stock=F("stock") - order.quantity):
                    raise _OutOfStock
            event_bus.publish(StockReserved(order.pk))  # also where an earlier run has; who cancelled passes over it
    except _OutOfStock:
        left = Product.objects.get(pk=order.product_id)
        reason = f"out of stock: order {order.pk} needs {order.quantity} of {left.sku}, {left.stock} left"
        # Outside the transaction: it was rolled back, and this must stay.
        Order.objects.filter(pk=order.pk, status=Status.PLACED).update(problem=reason)
        raise GiveUp(f"{reason}. Restock it at /shop/, then retry this job.") from None


# Two attempts, so that whoever tries the demo soon sees a failed job; a real shop would keep the default of ten.
@handles_command(
    ChargeCard,
    queue="payments",
    retry=RetryPolicy(max_attempts=2, backoff=FixedBackoff(timedelta(seconds=2)), jitter=0.0),
    timeout=CHARGE_TIME,
    tags=["orders", "money"],
    title=lambda job: f"Charge order {job.order_id}",
    links=order_page,
    # What the contract with the gateway allows. The others wait for their turn, on no worker.
    limits=[Limit("payment-gateway", concurrency=8)],
    aliases=("shop.TakePayment",),
)
def charge_card(command: ChargeCard, run: Run) -> None:
    """Charge the card, once. This job is the outbox: it was committed with the saga's turn, and calls until it knows.

    Raises PaymentGatewayError, and is tried again then: under the same key, which the gateway knows. Raises GiveUp when
    the order will not be paid.
    """
    order = found(command.order_id)
    waits = Order.objects.filter(pk=order.pk, status__in=(Status.RESERVED, Status.PAID))
    # Before the call: whoever cancels must know under which key there may be a payment. Once there is one, it stays.
    waits.filter(charge_key="").update(charge_key=run.idempotency_key)
    if not waits.update(charge_job_id=run.job_id):
        raise GiveUp(f"{order} is {found(order.pk).status}: nothing to charge")
    order.refresh_from_db()
    try:
        # No transaction is open here: the gateway may take long. The key makes a repeated call harmless.
        payment_id = payments.charge(order.charge_key, order.total_cents, order.card)
    except payments.CardDeclined:
        event_bus.publish(OrderStopped(order.pk, "card declined"))
        return
    except payments.PaymentVoided as error:
        raise GiveUp(f"{order} was cancelled before it was paid") from error
    except payments.PaymentGatewayError as error:
        Order.objects.filter(pk=order.pk, status=Status.RESERVED).update(problem=str(error)[:200])
        raise
    with transaction.atomic():
        if order.mark_paid(payment_id):
            event_bus.publish(PaymentTaken(order.pk, payment_id))


# One transaction with its own success: however often it is tried, an order has one workflow.
@handles_command(
    ShipOrder, atomic=True, tags=["orders"], title=lambda job: f"Ship order {job.order_id}", links=order_page
)
def ship_order(command: ShipOrder) -> None:
    """Pack and send the receipt, side by side; then the saga is told. Raises GiveUp when the order is not paid."""
    order = found(command.order_id)
    if order.status != Status.PAID:
        raise GiveUp(f"{order} is {order.status}: nothing is shipped that is not paid")
    if order.workflow_id:
        return
    tags = [f"product:{order.product_id}", *(["wholesale"] if order.quantity >= WHOLESALE else [])]
    with job_scheduler.workflow(f"Shipping of order {order.pk}") as flow:
        parcel = flow.enqueue(PackParcel(order.pk), tags=tags)
        receipt = flow.enqueue(SendReceipt(order.pk, payment=order.payment_id), tags=tags)
        flow.enqueue(CloseOrder(order.pk), after=[parcel, receipt], tags=tags)
    Order.objects.filter(pk=order.pk).update(workflow_id=flow.workflow_id)


@handles_command(
    UndoOrder, queue="payments", tags=["orders"], title=lambda job: f"Cancel order {job.order_id}", links=order_page
)
def undo_order(command: UndoOrder) -> None:
    """Give back money and stock, each once. Raises PaymentGatewayError, and RetryAfter while a charge may be noted."""
    order = found(command.order_id)
    # The gateway decides who was first; a charge that comes after this finds the key void, or its money given back.
    is_refunded = bool(order.charge_key) and not payments.void(order.charge_key)
    if is_refunded:
        payments.refund(order.charge_key)
    with transaction.atomic():
        problem = f"{command.why}{'; refunded' if is_refunded else ''}"[:200]
        cancelled = {"status": Status.CANCELLED, "problem": problem}
        rows = Order.objects.filter(pk=order.pk)
        # In the order in which it moves, so that it cannot slip through between the two.
        if not rows.filter(status=Status.PLACED).update(**cancelled):
            held = rows.filter(status__in=(Status.RESERVED, Status.PAID), charge_key=order.charge_key)
            if held.update(**cancelled):
                Product.objects.filter(pk=order.product_id).update(stock=F("stock") + order.quantity)
            elif not rows.filter(status=Status.CANCELLED).exists():
                raise RetryAfter(timedelta(seconds=1), f"{order} has begun to be charged meanwhile")
        if order.workflow_id:  # of one that was placed before orders were sagas: all that is done for it
            job_scheduler.cancel_workflow(order.workflow_id, reason=command.why)
        event_bus.publish(OrderUndone(order.pk))


class _OutOfStock(Exception):
    """Rolls a reservation back."""
