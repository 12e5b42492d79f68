"""Sagas: events in, commands out, all of a turn once or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest
from django.utils import timezone

from handlers import (
    Command,
    EnqueueJobCommand,
    Event,
    Job,
    RetryPolicy,
    Saga,
    event_bus,
    handles,
    handles_command,
    job_scheduler,
    on,
    on_timeout,
    starts,
)
from handlers.events import ageing
from handlers.models import Delivery, EventRecord, JobRecord, SagaKey, SagaRecord, SagaTimeout, SagaTurn
from handlers.registry import registry
from handlers.states import State
from tests.running import drain, make_due, record

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("noting", "shop")]


@dataclass(frozen=True)
class Placed(Event):
    order_id: int
    total: int = 10


@dataclass(frozen=True)
class Paid(Event):
    order_id: int
    reference: str = ""


@dataclass(frozen=True)
class Shipped(Event):
    reference: str


@dataclass(frozen=True)
class Cancelled(Event):
    order_id: int


@dataclass(frozen=True)
class Charge(Command):
    order_id: int


@dataclass(frozen=True)
class Remind(Job):
    order_id: int


@dataclass(frozen=True)
class OrderState:
    seen: list[str] = field(default_factory=list)
    reference: str | None = None
    charge: int | None = None


BAD: set[str] = set()


@pytest.fixture
def shop() -> Iterator[None]:
    BAD.clear()
    with registry.isolated():
        handles_command(Charge)(lambda command: None)
        handles(Remind)(lambda job: None)

        class OrderSaga(Saga[OrderState], retry=RetryPolicy(max_attempts=2)):
            """An order."""

            def note(self, what: str) -> None:
                if what in BAD:
                    raise RuntimeError(what)
                self.state = replace(self.state, seen=[*self.state.seen, what])

            @starts(Placed, key="order_id")
            def placed(self, event: Placed) -> None:
                self.note("placed")
                charge = self.send(Charge(event.order_id))
                self.state = replace(self.state, charge=charge)
                self.timeout("pay", timedelta(hours=1))

            @on(Paid, key="order_id")
            def paid(self, event: Paid) -> None:
                self.note("paid")
                self.state = replace(self.state, reference=event.reference or None)
                self.send(EnqueueJobCommand(Remind(event.order_id)))

            @on(Shipped, key="reference")
            def shipped(self, event: Shipped) -> None:
                self.note("shipped")
                self.complete()

            @on(Cancelled, key="order_id", not_found="ignore")
            def cancelled(self, event: Cancelled) -> None:
                self.note("cancelled")
                assert self.state.charge is not None
                self.cancel(self.state.charge)

            @on_timeout("pay")
            def unpaid(self) -> None:
                self.note("unpaid")

        yield


def seen(order_id: int = 1) -> list[str]:
    return list(saga(order_id).data["seen"])


def saga(order_id: int = 1) -> SagaRecord:
    return SagaRecord.objects.get(keys__name="order_id", keys__value=str(order_id))


def test_a_starting_event_makes_a_saga_with_all_that_it_asks_for() -> None:
    event_bus.publish(Placed(1), correlation="order-1")
    assert not SagaRecord.objects.exists()
    drain()
    found = saga()
    assert found.saga_type == "tests.OrderSaga"
    assert found.label == "order_id 1"
    assert found.correlation == "order-1"
    assert seen() == ["placed"]
    charge = record(found.data["charge"])
    assert (charge.job_type, charge.state, charge.payload) == ("tests.Charge", State.SUCCEEDED, {"order_id": 1})
    assert charge.arguments.correlation == "order-1"
    assert charge.arguments.parent_id == Delivery.objects.get().job_id
    timeout = record(SagaTimeout.objects.get(saga=found).job_id)
    assert (timeout.state, timeout.payload) == (State.SCHEDULED, {"saga": found.pk, "timeout": "pay"})
    (turn,) = found.timeline.all()
    assert (turn.kind, turn.name, turn.before) == ("event", "tests.Placed", None)
    assert turn.after == found.data
    assert [each["do"] for each in turn.asked] == ["send", "timeout"]


def test_events_go_to_the_saga_that_their_key_names() -> None:
    for order_id in (1, 2):
        event_bus.publish(Placed(order_id))
        event_bus.publish(Paid(order_id, f"r{order_id}"))
    event_bus.publish(Shipped("r2"))
    drain()
    assert seen(1) == ["placed", "paid"]
    assert seen(2) == ["placed", "paid", "shipped"]
    assert saga(2).completed_at
    assert not saga(1).completed_at
    assert not SagaTimeout.objects.filter(saga=saga(2)).exists()
    assert set(SagaKey.objects.filter(saga=saga(2)).values_list("name", "value")) == {
        ("order_id", "2"), ("reference", '"r2"'),
    }  # fmt: skip


@pytest.mark.parametrize("comes", ["before", "with"])
def test_an_event_before_the_start_is_dropped_where_that_is_the_policy(comes: str) -> None:
    event_bus.publish(Cancelled(1))
    if comes == "before":
        drain()
    event_bus.publish(Placed(1))
    drain()
    dropped = Delivery.objects.earliest("pk")
    assert (dropped.state, record(dropped.job_id).state) == ("ignored", State.SUCCEEDED)
    assert seen() == ["placed"]
    assert not JobRecord.objects.filter(state=State.FAILED).exists()


def test_a_saga_is_stuck_once_nothing_has_come_for_as_long_as_its_class_says() -> None:
    class Slow(Saga[OrderState], stuck_after=timedelta(hours=2), name="tests.Slow"):
        @starts(Placed, key="order_id")
        def placed(self, event: Placed) -> None: ...

        @on(Paid, key="order_id")
        def paid(self, event: Paid) -> None: ...

        @on(Cancelled, key="order_id")
        def cancelled(self, event: Cancelled) -> None:
            self.complete()

    def late_by(kind: str) -> timedelta:
        found = SagaRecord.objects.get(saga_type=kind)
        assert found.stuck_at is not None
        return found.stuck_at - found.touched_at

    event_bus.publish(Placed(1))
    drain()
    # Never earlier, and later by a twentieth at most: the column has an index, and seldom changes.
    assert timedelta(hours=2) <= late_by("tests.Slow") <= timedelta(hours=2.1)
    assert timedelta(days=1) <= late_by("tests.OrderSaga") <= timedelta(days=1.05)
    SagaRecord.objects.update(stuck_at=timezone.now() - timedelta(minutes=1))
    event_bus.publish(Paid(1))
    drain()
    assert timedelta(hours=2) <= late_by("tests.Slow") <= timedelta(hours=2.1)
    event_bus.publish(Cancelled(1))
    drain()
    assert SagaRecord.objects.get(saga_type="tests.Slow").stuck_at is None


def test_an_early_event_waits_for_the_start_and_goes_on_with_it() -> None:
    event_bus.publish(Paid(1))
    drain()
    early = Delivery.objects.get()
    assert early.state == "early"
    assert record(early.job_id).state == State.SCHEDULED
    assert "waits for the start" in record(early.job_id).history.latest("pk").reason
    event_bus.publish(Placed(1))
    drain()
    assert seen() == ["placed", "paid"]
    assert record(early.job_id).state == State.SUCCEEDED


def test_an_early_event_of_another_key_waits_until_it_is_learned() -> None:
    event_bus.publish(Placed(1))
    event_bus.publish(Shipped("r1"))
    drain()
    assert seen() == ["placed"]
    event_bus.publish(Paid(1, "r1"))
    drain()
    assert seen() == ["placed", "paid", "shipped"]
    assert not JobRecord.objects.exclude(state__in=[State.SUCCEEDED, State.DELETED]).exists()


def test_a_failed_event_holds_those_after_it_until_it_is_retried() -> None:
    event_bus.publish(Placed(1))
    drain()
    BAD.add("paid")
    event_bus.publish(Paid(1))
    event_bus.publish(Cancelled(1))
    drain()
    paid, cancelled = Delivery.objects.order_by("pk")[1:]
    assert (paid.state, paid.error) == ("failed", "RuntimeError: paid")
    assert record(cancelled.job_id).state == State.SCHEDULED
    assert f"job {paid.job_id}" in record(cancelled.job_id).history.latest("pk").reason
    assert saga().error == "RuntimeError: paid"
    assert saga().timeline.latest("pk").error == "RuntimeError: paid"
    BAD.clear()
    make_due(paid.job_id)
    drain()
    assert seen() == ["placed", "paid", "cancelled"]
    assert record(cancelled.job_id).state == State.SUCCEEDED
    assert saga().error == ""


def test_a_failed_event_that_is_deleted_lets_those_after_it_go_on() -> None:
    event_bus.publish(Placed(1))
    drain()
    BAD.add("paid")
    event_bus.publish(Paid(1))
    event_bus.publish(Cancelled(1))
    drain()
    paid, cancelled = Delivery.objects.order_by("pk")[1:]
    make_due(paid.job_id)
    drain()
    assert record(paid.job_id).state == State.FAILED
    assert record(cancelled.job_id).state == State.SCHEDULED
    assert job_scheduler.delete(paid.job_id)
    drain()
    assert seen() == ["placed", "cancelled"]
    assert Delivery.objects.get(pk=paid.pk).state == "dropped"


def test_a_timeout_comes_once_and_not_to_a_complete_saga() -> None:
    event_bus.publish(Placed(1))
    drain()
    job_id = SagaTimeout.objects.get().job_id
    make_due(job_id)
    drain()
    assert seen() == ["placed", "unpaid"]
    assert not SagaTimeout.objects.exists()
    assert job_scheduler.requeue(job_id)
    drain()
    assert seen() == ["placed", "unpaid"]


def test_what_is_over_ages_out_and_what_waits_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    for order_id in (1, 2):
        event_bus.publish(Placed(order_id))
        event_bus.publish(Paid(order_id, f"r{order_id}"))
    event_bus.publish(Shipped("r1"))
    event_bus.publish(Paid(3))
    drain()
    later = timezone.now() + timedelta(days=1)
    with monkeypatch.context() as patch:
        patch.setattr(ageing, "TURNS", 2)  # of three: what there is no room for comes next
        assert ageing.forget(before=later)
        assert SagaTurn.objects.filter(saga__keys__value="1").count() == 1
    assert not ageing.forget(before=later)
    assert [each.label for each in SagaRecord.objects.all()] == ["order_id 2"]
    assert set(SagaTurn.objects.values_list("saga", flat=True)) == {saga(2).pk}
    assert [each.data["order_id"] for each in EventRecord.objects.all()] == [3]
    event_bus.publish(Placed(3))
    drain()
    assert seen(3) == ["placed", "paid"]
