"""Events: on record with their publisher's transaction, delivered to each subscriber until that has returned."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from handlers import (
    CancellationToken,
    Event,
    InvalidJob,
    Job,
    RetryPolicy,
    event_bus,
    handles,
    job_scheduler,
    on_event,
    stranded,
)
from handlers.events import ageing
from handlers.models import Delivery, DeliveryState, EventRecord, JobRecord
from handlers.registry import registry
from handlers.states import State
from tests.running import drain, make_due, record, run

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("noting")]

TOLD: list[tuple[str, int]] = []
BAD: set[int] = set()


@dataclass(frozen=True)
class Placed(Event):
    order_id: int


@dataclass(frozen=True)
class Renamed(Event, name="shop.Renamed", aliases=("shop.Former",)):
    order_id: int


@pytest.fixture(autouse=True)
def apart() -> Iterator[None]:
    TOLD.clear()
    BAD.clear()
    with registry.isolated():
        yield


@pytest.fixture
def mail() -> None:
    @on_event(Placed, queue="mail", retry=RetryPolicy(max_attempts=2))
    def send_mail(event: Placed, token: CancellationToken) -> None:
        """Tell the customer."""
        if event.order_id in BAD:
            raise RuntimeError("no")
        TOLD.append(("mail", event.order_id))


def states() -> list[str]:
    return list(Delivery.objects.order_by("pk").values_list("state", flat=True))


def test_each_subscriber_is_told_by_a_job_of_its_own(mail: None) -> None:
    @on_event(Placed, name="shop.stock")
    async def stock(event: Placed) -> None:
        TOLD.append(("stock", event.order_id))

    event_id = event_bus.publish(Placed(7), correlation="order-7")
    event = EventRecord.objects.get()
    assert (event.pk, event.event_type, event.data, event.correlation) == (
        event_id, "tests.Placed", {"order_id": 7}, "order-7",
    )  # fmt: skip
    jobs = JobRecord.objects.order_by("pk")
    assert [(job.job_type, job.queue, job.arguments.correlation) for job in jobs] == [
        ("shop.stock", "default", "order-7"), ("tests.send_mail", "mail", "order-7"),
    ]  # fmt: skip
    drain()
    assert sorted(TOLD) == [("mail", 7), ("stock", 7)]
    assert states() == ["done", "done"]


def test_what_is_rolled_back_was_never_published(mail: None) -> None:
    with transaction.atomic():
        event_bus.publish(Placed(1))
        transaction.set_rollback(True)
    assert not EventRecord.objects.exists()
    assert not JobRecord.objects.exists()


def test_an_event_without_subscribers_is_on_record() -> None:
    event_bus.publish(Placed(1))
    assert EventRecord.objects.get().event_type == "tests.Placed"


def test_what_a_subscriber_has_returned_from_it_is_not_told_again(mail: None) -> None:
    event_bus.publish(Placed(1))
    (job_id,) = drain()
    assert job_scheduler.requeue(job_id)
    drain()
    assert TOLD == [("mail", 1)]


def test_a_failed_event_holds_those_after_it_of_its_correlation(mail: None) -> None:
    BAD.add(2)
    event_bus.publish_many([Placed(1), Placed(2), Placed(3), Placed(4)], correlation="a")
    event_bus.publish_many([Placed(2), Placed(5)])
    drain()
    assert sorted(TOLD) == [("mail", 1), ("mail", 5)]
    assert states() == ["done", "failed", "waiting", "waiting", "failed", "done"]
    failed, third, fourth = (each.job_id for each in Delivery.objects.order_by("pk")[1:4])
    event_id = EventRecord.objects.order_by("pk")[1].pk
    why = f"event {event_id}, which is earlier in its order, has failed (job {failed})"
    assert record(third).history.latest("pk").reason == why
    BAD.clear()
    make_due(failed)
    drain()
    assert TOLD[-3:] == [("mail", 2), ("mail", 3), ("mail", 4)]
    assert [record(job_id).state for job_id in (failed, third, fourth)] == [State.SUCCEEDED] * 3


def test_a_failed_event_that_is_deleted_lets_those_after_it_go_on(mail: None) -> None:
    BAD.add(1)
    event_bus.publish_many([Placed(1), Placed(2)], correlation="a")
    drain()
    first, second = (each.job_id for each in Delivery.objects.order_by("pk"))
    make_due(first)
    drain()
    assert [record(first).state, record(second).state] == [State.FAILED, State.SCHEDULED]
    job_scheduler.delete(first)
    drain()
    assert TOLD == [("mail", 2)]
    assert states() == ["dropped", "done"]
    BAD.clear()
    assert job_scheduler.restore(first)  # somebody wants it after all
    assert job_scheduler.retry(first)
    drain()
    assert TOLD == [("mail", 2), ("mail", 1)]


def test_events_of_a_handler_have_its_correlation(mail: None) -> None:
    @dataclass(frozen=True)
    class Work(Job):
        pass

    @handles(Work)
    def work(job: Work) -> None:
        event_bus.publish(Placed(1))

    job_id = job_scheduler.enqueue(Work(), correlation="mine")
    drain()
    event = EventRecord.objects.get()
    assert (event.correlation, event.job_id) == ("mine", job_id)
    assert TOLD == [("mail", 1)]


def test_an_event_is_found_by_its_former_name() -> None:
    @on_event(Renamed)
    def told(event: Renamed) -> None:
        TOLD.append(("renamed", event.order_id))

    event_bus.publish(Renamed(3))
    assert EventRecord.objects.get().event_type == "shop.Renamed"
    EventRecord.objects.update(event_type="shop.Former")
    drain()
    assert TOLD == [("renamed", 3)]


@pytest.mark.parametrize(
    ("event", "options", "field"),
    [
        (Placed("x"), {}, "order_id"),  # type: ignore[arg-type]
        (Placed(1), {"correlation": ""}, "correlation"),
        (Placed(1), {"correlation": "x" * 65}, "correlation"),
        ("Placed", {}, "event"),
        (Event(), {}, "event"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_written(
    mail: None, event: Event, options: dict[str, str], field: str
) -> None:
    with pytest.raises(InvalidJob) as caught:
        event_bus.publish(event, **options)
    assert caught.value.field == field
    assert not EventRecord.objects.exists()


def test_a_subscriber_of_nothing_is_refused() -> None:
    for wrong in ((), (int,), (Job,)):
        with pytest.raises(InvalidJob) as caught:
            on_event(*wrong)(lambda event: None)
        assert caught.value.field == "event"


def test_old_events_are_erased_a_few_at_a_time_and_young_ones_are_not_gone_through(
    mail: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ageing, "EVENTS", 2)
    BAD.update({1, 2, 3})
    event_bus.publish_many([Placed(number) for number in range(1, 7)])
    drain()
    before = timezone.now()
    event_bus.publish_many([Placed(number) for number in range(7, 17)])
    with CaptureQueriesContext(connection) as queries:
        while ageing.forget(before=before):
            pass
    assert sorted(event.data["order_id"] for event in EventRecord.objects.all()) == [1, 2, 3, *range(7, 17)]
    read = [each["sql"] for each in queries if '"jobs_eventrecord"."published_at"' in each["sql"]]
    assert all("LIMIT 2" in sql for sql in read)
    assert len(read) <= 8


def test_a_job_that_was_edited_to_bring_another_event_says_so(mail: None) -> None:
    BAD.add(1)
    event_bus.publish_many([Placed(1), Placed(2)], correlation="a")
    drain()
    first, second = Delivery.objects.order_by("pk")
    assert job_scheduler.retry(first.job_id, payload={"event": second.event_id, "type": "tests.Placed"})
    drain()
    assert record(first.job_id).state == State.FAILED
    assert f"brings event {first.event_id}" in record(first.job_id).history.latest("pk").reason
    BAD.clear()
    assert job_scheduler.retry(first.job_id, payload={"event": first.event_id, "type": "tests.Placed"})
    drain()
    assert TOLD == [("mail", 1), ("mail", 2)]


def test_what_was_published_for_a_subscriber_that_a_deploy_took_away_is_kept_and_said_and_goes_on_when_it_is_back() -> (
    None
):
    told: list[int] = []

    def declare() -> None:
        on_event(Placed, name="tests.leaving", retry=RetryPolicy(max_attempts=1))(
            lambda event: told.append(event.order_id)
        )

    with registry.isolated():
        declare()
        for order_id in (1, 2, 3):
            event_bus.publish(Placed(order_id), correlation="one")
    first, second, third = Delivery.objects.filter(subscriber="tests.leaving").order_by("pk")
    run(first.job_id, second.job_id)
    assert [(each.job_type, each.lacking, each.number) for each in stranded.summary()] == [("tests.leaving", True, 2)]
    assert "no handler" in str(stranded.of(first.job_id, record(first.job_id).token))
    assert job_scheduler.delete(first.job_id)
    stranded.look_after(hours=-1)  # as long as it is kept
    assert record(second.job_id).state == State.FAILED
    with registry.isolated():
        declare()
        assert job_scheduler.retry(second.job_id)
        drain()
    assert told == [2, 3]
    assert [each.state for each in Delivery.objects.filter(subscriber="tests.leaving").order_by("pk")] == [
        DeliveryState.DROPPED, DeliveryState.DONE, DeliveryState.DONE,
    ]  # fmt: skip
    assert record(third.job_id).state == State.SUCCEEDED
