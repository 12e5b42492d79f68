"""An order runs as one saga: approve if it is large, reserve, charge, ship; what stops it takes back what was done.

The saga decides, and its commands' jobs do the work (``commands``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from handlers import Command, Saga, on, on_timeout, starts
from jobsite.demo.commands import ApproveOrder, ChargeCard, ReserveStock, ShipOrder, UndoOrder
from jobsite.demo.events import (
    OrderApproved,
    OrderPlaced,
    OrderShipped,
    OrderStopped,
    OrderUndone,
    PaymentTaken,
    StockReserved,
)

LARGE_CENTS = 100_000  # from which somebody has to approve an order first
PAYMENT_TIME = timedelta(minutes=30)


@dataclass(frozen=True)
class OrderState:
    """Where an order is."""

    order_id: int = 0
    step: str = ""  # approve, reserve, charge, ship, undo
    job_id: int = 0  # that does it
    deadline_id: int = 0  # the timeout by which it is to be paid


class OrderSaga(Saga[OrderState], stuck_after=timedelta(days=4)):
    """An order, from its placing to its parcel."""

    @starts(OrderPlaced, key="order_id")
    def placed(self, event: OrderPlaced) -> None:
        """Put its pieces aside; of a large one somebody has to approve first."""
        if self.state.step:
            return
        self.state = replace(self.state, order_id=event.order_id)
        if event.total_cents >= LARGE_CENTS:
            self._go_on("", "approve", ApproveOrder(event.order_id, event.total_cents))
        else:
            self._reserve("")

    @on(OrderApproved, key="order_id")
    def approved(self, event: OrderApproved) -> None:
        """Put its pieces aside."""
        self._reserve("approve")

    # Of what is told of an order that was placed before orders were sagas, nothing follows.
    @on(StockReserved, key="order_id", not_found="ignore")
    def reserved(self, event: StockReserved) -> None:
        """Charge its card."""
        self._go_on("reserve", "charge", ChargeCard(event.order_id))

    @on(PaymentTaken, key="order_id", not_found="ignore")
    def paid(self, event: PaymentTaken) -> None:
        """Ship it. A payment that comes when it is being taken back is given back by that."""
        if self._go_on("charge", "ship", ShipOrder(event.order_id)) and self.state.deadline_id:
            self.cancel(self.state.deadline_id)

    @on(OrderShipped, key="order_id")
    def shipped(self, event: OrderShipped) -> None:
        """That was all."""
        if self.state.step == "ship":
            self.complete()

    @on(OrderStopped, key="order_id", not_found="start")
    def stopped(self, event: OrderStopped) -> None:
        """Take back what was done, unless it is on its way."""
        self.state = replace(self.state, order_id=event.order_id)
        self._undo(event.why)

    @on_timeout("unpaid")
    def unpaid(self) -> None:
        """The gateway decides whether the payment was first."""
        self._undo("not paid in time")

    @on(OrderUndone, key="order_id")
    def undone(self, event: OrderUndone) -> None:
        """It is as if it had never been."""
        self.complete()

    def _reserve(self, before: str) -> None:
        """From here on it has its time to be paid."""
        if self._go_on(before, "reserve", ReserveStock(self.state.order_id)):
            self.state = replace(self.state, deadline_id=int(self.timeout("unpaid", PAYMENT_TIME)))

    def _go_on(self, before: str, step: str, command: Command) -> bool:
        """Whether it is there, and not further: a job that ran twice tells twice."""
        if self.state.step != before:
            return False
        self.state = replace(self.state, step=step, job_id=int(self.send(command)))
        return True

    def _undo(self, why: str) -> None:
        if self.state.step in ("ship", "undo"):
            return
        if self.state.job_id:
            self.cancel(self.state.job_id)
        self.state = replace(self.state, step="undo", job_id=int(self.send(UndoOrder(self.state.order_id, why))))
