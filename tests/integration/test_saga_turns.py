"""A turn of a saga under what goes wrong: wrong requests, two at once, crashes at any statement, code that changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.utils import timezone

from handlers import (
    Command,
    DeleteJobCommand,
    EnqueueJobCommand,
    Event,
    InvalidJob,
    Job,
    RetryPolicy,
    Saga,
    ScheduleJobCommand,
    Unique,
    command_bus,
    event_bus,
    handles,
    handles_command,
    job_scheduler,
    lifecycle,
    on,
    on_timeout,
    starts,
)
from handlers.models import Delivery, EventRecord, JobPayload, JobRecord, SagaRecord, SagaTimeout, SagaTurn
from handlers.registry import registry
from handlers.states import State
from tests.dying import DEATHS
from tests.running import at_once, drain, expire, make_due, record, run

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("noting", "apart")]

DONE: list[int] = []  # what the commands' handler did


@dataclass(frozen=True)
class Opened(Event):
    number: int


@dataclass(frozen=True)
class Added(Event):
    number: int
    amount: int = 1


@dataclass(frozen=True)
class Closed(Event):
    number: int


@dataclass(frozen=True)
class Do(Command):
    amount: int


@dataclass(frozen=True)
class Alone(Job):
    number: int


@dataclass(frozen=True)
class Sum:
    amounts: list[int] = field(default_factory=list)
    unasked: int = 0


@pytest.fixture
def apart() -> Iterator[None]:
    DONE.clear()
    with registry.isolated():
        handles_command(Do)(lambda command: DONE.append(command.amount))
        handles(Alone, unique=Unique())(lambda job: None)
        yield


def adding(
    act: Callable[[Any, Added], None] | None = None,
    state: Any = Sum,
    late: Callable[[Any], object] = lambda self: None,
    **options: Any,
) -> None:
    """The saga of these tests; ``act`` is what it does with what is added, ``late`` what by its timeout."""

    class Adding(Saga[state], name="tests.Adding", retry=RetryPolicy(max_attempts=3), **options):
        @starts(Opened, key="number")
        def opened(self, event: Opened) -> None:
            self.timeout("late", timedelta(hours=1))

        @on(Added, key="number")
        def added(self, event: Added) -> None:
            self.state = replace(self.state, amounts=[*self.state.amounts, event.amount])
            if act is None:
                self.send(Do(event.amount))
            else:
                act(self, event)

        @on(Closed, key="number", not_found="fail")
        def closed(self, event: Closed) -> None:
            self.complete()

        @on_timeout("late")
        def is_late(self) -> None:
            self.state = replace(self.state, unasked=self.state.unasked + 1)
            late(self)


def saga(number: int = 1) -> SagaRecord:
    return SagaRecord.objects.get(keys__value=str(number))


def publish(*events: Event) -> list[int]:
    """Their jobs."""
    event_bus.publish_many(events)
    return list(Delivery.objects.order_by("pk").values_list("job_id", flat=True))[-len(events) :]


# --- what it may ask for


REFUSED: dict[str, Callable[[Any, Added], object]] = {
    "enqueue": lambda self, event: job_scheduler.enqueue(Do(1)),
    "schedule": lambda self, event: job_scheduler.schedule(Do(1), timezone.now()),
    "bus": lambda self, event: command_bus.send(Do(1)),
    "publish": lambda self, event: event_bus.publish(Opened(9)),
    "job": lambda self, event: self.send(Alone(1)),
    "text": lambda self, event: self.send("do"),
    "delete": lambda self, event: job_scheduler.delete(1),
    "timeout": lambda self, event: self.timeout("none", timedelta(1)),
    "delay": lambda self, event: self.timeout("late", 5),
    "cancel": lambda self, event: self.cancel("x"),
    "another's": lambda self, event: self.cancel(JobRecord.objects.earliest("pk").pk),
    "field": lambda self, event: self.send(Do("x")),  # type: ignore[arg-type]
    "state": lambda self, event: setattr(self, "state", None),
    "hint": lambda self, event: setattr(self, "state", Sum(["x"])),  # type: ignore[list-item]
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_a_saga_may_not_ask_for_is_refused_in_words_and_nothing_is_written(what: str) -> None:
    def act(self: Any, event: Added) -> None:
        self.send(Do(5))  # nor this
        self.send(EnqueueJobCommand(Alone(1)))  # made at once, as the only one, and taken back
        Group.objects.create(name="written")
        REFUSED[what](self, event)

    adding(act)
    _, job_id = publish(Opened(1), Added(1))
    run(*JobRecord.objects.filter(state=State.ENQUEUED).values_list("pk", flat=True))
    failed = record(job_id)
    assert (failed.state, failed.failures) == (State.SCHEDULED, 1)
    assert failed.error.startswith("InvalidJob: ")
    assert (saga().data, saga().turns) == ({"amounts": [], "unasked": 0}, 1)
    assert not JobRecord.objects.filter(job_type__in=["tests.Do", "tests.Alone"]).exists()
    assert not Group.objects.filter(name="written").exists()
    assert EventRecord.objects.count() == 2
    turn = saga().timeline.latest("pk")
    assert (turn.asked, turn.after, turn.error) == ([], None, failed.error)


def test_all_that_it_may_ask_for_is_done() -> None:
    ids: list[int] = []
    at = timezone.now() + timedelta(hours=2)

    def act(self: Any, event: Added) -> None:
        ids.append(self.send(ScheduleJobCommand(Alone(1), at)))
        ids.append(self.send(EnqueueJobCommand(Do(2), delay=timedelta(minutes=1))))
        ids.append(self.send(EnqueueJobCommand(Alone(1))))
        ids.append(self.send(Do(3)))
        self.cancel(ids[1])
        self.send(DeleteJobCommand(ids[3]))
        self.timeout("late", timedelta(hours=3))

    adding(act)
    publish(Opened(1))
    drain()
    (first,) = SagaTimeout.objects.values_list("job_id", flat=True)
    publish(Added(1))
    drain()
    assert ids[2] == ids[0], "the one that there is"
    assert [record(job_id).state for job_id in ids] == [
        State.SCHEDULED, State.DELETED, State.SCHEDULED, State.DELETED,
    ]  # fmt: skip
    assert {record(job_id).arguments.correlation for job_id in ids} == {saga().correlation}
    assert record(ids[0]).run_at == at
    assert record(first).state == State.DELETED, "another has taken its place"
    (second,) = SagaTimeout.objects.values_list("job_id", flat=True)
    assert record(second).state == State.SCHEDULED
    assert DONE == []


def test_it_cancels_what_it_has_asked_for_in_an_earlier_turn_and_nothing_else() -> None:
    asked: list[int] = []

    def act(self: Any, event: Added) -> None:
        if event.amount == 1:
            asked.append(self.send(ScheduleJobCommand(Do(2), timezone.now() + timedelta(hours=1))))
            asked.append(self.send(EnqueueJobCommand(Alone(1), delay=timedelta(hours=1))))
            asked.append(self.timeout("late", timedelta(hours=3)))
        elif event.amount == 2:
            for job_id in asked:
                self.cancel(job_id)
        else:
            self.cancel(others)

    adding(act)
    others = job_scheduler.enqueue(Alone(1), delay=timedelta(hours=1))
    publish(Opened(1), Added(1, 1))
    drain()
    assert asked[1] == others, "the one that there is"
    publish(Added(1, 2))
    drain()
    assert [record(job_id).state for job_id in asked] == [State.DELETED] * 3
    others = job_scheduler.enqueue(Do(9), delay=timedelta(hours=1))
    (refused,) = publish(Added(1, 3))
    run(refused)
    assert f"this saga has not sent job {others}: cancel takes what self.send or" in record(refused).error
    assert record(others).state == State.SCHEDULED
    JobRecord.objects.filter(pk=others).delete()
    JobPayload.objects.filter(pk=others).delete()  # as retention does
    make_due(refused)
    run(refused)
    assert record(refused).state == State.SUCCEEDED


def test_an_event_without_a_saga_fails_where_that_is_the_policy() -> None:
    adding()
    (job_id,) = publish(Closed(7))
    drain()
    assert record(job_id).error == "InvalidJob: there is no tests.Adding with number 7"
    assert record(job_id).failures == 1


def test_an_event_that_waited_too_long_for_its_start_fails() -> None:
    adding()
    (job_id,) = publish(Added(7))
    drain()
    EventRecord.objects.update(published_at=timezone.now() - timedelta(days=2))
    make_due(job_id)
    drain()
    assert record(job_id).state == State.FAILED
    publish(Opened(7))
    drain()
    assert saga(7).data["amounts"] == []
    assert job_scheduler.retry(job_id)
    drain()
    assert saga(7).data["amounts"] == [1]


def test_a_key_that_is_nothing_is_refused_where_it_is_published() -> None:
    @dataclass(frozen=True)
    class Maybe(Event):
        number: int | None

    class Doubtful(Saga[Sum]):
        @starts(Maybe, key="number")
        def maybe(self, event: Maybe) -> None: ...

    with pytest.raises(InvalidJob, match=r"is None, and tests.Doubtful finds its sagas by it") as caught:
        event_bus.publish(Maybe(None))
    assert caught.value.field == "number"
    assert not EventRecord.objects.exists()


def test_what_comes_to_a_complete_saga_is_ignored() -> None:
    adding()
    publish(Opened(1), Closed(1))
    drain()
    publish(Added(1), Opened(1))
    drain()
    assert saga().data["amounts"] == []
    assert list(Delivery.objects.order_by("pk").values_list("state", flat=True))[2:] == ["ignored", "ignored"]
    assert SagaRecord.objects.count() == 1
    assert not SagaTimeout.objects.exists()
    assert not JobRecord.objects.filter(state=State.SCHEDULED).exists()


# --- two at once


def test_two_starting_events_at_one_moment_make_one_saga() -> None:
    adding()
    for number in range(10):
        # Of other orders, so that nothing but the key keeps them apart.
        jobs = []
        for order in ("a", "b"):
            event_bus.publish(Opened(number), correlation=f"{order}{number}")
            jobs.append(Delivery.objects.latest("pk").job_id)
        at_once(*(partial(run, job_id) for job_id in jobs))
        assert [record(job_id).state for job_id in jobs] == [State.SUCCEEDED] * 2
        assert saga(number).turns == 2
        assert SagaTimeout.objects.filter(saga=saga(number)).count() == 1
    assert not JobRecord.objects.filter(failures__gt=0).exists()


def test_an_event_and_the_start_that_it_waits_for_miss_each_other_in_no_race() -> None:
    adding()
    for number in range(10):
        jobs = []
        for order, event in (("a", Added(number)), ("b", Opened(number))):
            event_bus.publish(event, correlation=f"{order}{number}")
            jobs.append(Delivery.objects.latest("pk").job_id)
        at_once(*(partial(run, job_id) for job_id in jobs))
        drain()
        assert saga(number).data["amounts"] == [1]
        assert [record(job_id).state for job_id in jobs] == [State.SUCCEEDED] * 2


def test_events_for_one_saga_at_one_moment_are_each_applied_once_and_in_order() -> None:
    adding()
    publish(Opened(1))
    drain()
    jobs = publish(*(Added(1, amount) for amount in range(40)))
    parts = [jobs[start::4] for start in range(4)]
    at_once(*(partial(run, *part) for part in parts))
    assert saga().data["amounts"] == list(range(40))
    assert {record(job_id).state for job_id in jobs} == {State.SUCCEEDED}
    assert not JobRecord.objects.filter(failures__gt=0).exists()
    drain()
    assert sorted(DONE) == list(range(40))


# --- crashes


def all_it_can(self: Any, event: Added) -> None:
    self.send(Do(event.amount))
    self.send(EnqueueJobCommand(Alone(event.number)))
    self.timeout("late", timedelta(hours=2))


def come_back(*jobs: int) -> None:
    """Whoever had these is gone: they run again, and all that follows."""
    expire(*jobs)
    lifecycle.expire_leases(max_crashes=9)
    JobRecord.objects.filter(pk__in=jobs, state=State.SCHEDULED).update(run_at=timezone.now() - timedelta(seconds=1))
    lifecycle.promote_due()
    for job_id in jobs:
        run(job_id)  # alone, as after a crash
    drain()
    assert {record(job_id).state for job_id in jobs} == {State.SUCCEEDED}


@pytest.mark.parametrize("dies", DEATHS)
def test_a_death_at_any_instant_of_a_turn_leaves_all_of_it_or_nothing(dies: Callable[..., bool]) -> None:
    """From the claim of its event's job to that job's record."""
    adding(all_it_can)
    jobs, died, seen = list[int](), True, set[bool]()
    while died:
        number = len(jobs)
        _, job_id = publish(Opened(number), Added(number, number))
        jobs.append(job_id)
        died = dies(partial(run, job_id), at=number)
        is_there = SagaRecord.objects.filter(keys__value=str(number)).exists()
        assert SagaTurn.objects.filter(job_id=job_id).exists() is is_there, f"died at {number}"
        assert SagaTimeout.objects.filter(saga__keys__value=str(number)).exists() is is_there, f"died at {number}"
        assert commands(number) == [is_there, is_there], f"died at {number}"
        seen.add(is_there)
    come_back(*jobs)
    for number in range(len(jobs)):
        assert (saga(number).data["amounts"], saga(number).turns) == ([number], 2), f"died at {number}"
        assert SagaTurn.objects.filter(saga=saga(number), error="").count() == 2, f"died at {number}"
        assert SagaTimeout.objects.filter(saga=saga(number)).count() == 1, f"died at {number}"
        assert commands(number) == [1, 1], f"died at {number}"
    assert (seen, len(jobs) > 12) == ({True, False}, True)
    assert Counter(DONE) == dict.fromkeys(range(len(jobs)), 1)
    assert not JobRecord.objects.exclude(state__in=[State.SUCCEEDED, State.SCHEDULED, State.DELETED]).exists()


def commands(number: int) -> list[int]:
    """How many jobs of each kind that saga has sent."""
    return [
        JobRecord.objects.filter(job_type=name, **{f"arguments__data__{field}": number}).count()
        for name, field in (("tests.Do", "amount"), ("tests.Alone", "number"))
    ]


@pytest.mark.parametrize("dies", DEATHS)
def test_a_death_at_any_instant_of_a_timeout_s_turn_leaves_all_of_it_or_nothing(dies: Callable[..., bool]) -> None:
    adding(lambda self, event: None, late=lambda self: self.send(Do(self.state.amounts[0])))
    jobs, died = list[int](), True
    while died:
        number = len(jobs)
        publish(Opened(number), Added(number, number))
        drain()
        jobs.append(job_id := SagaTimeout.objects.get(saga=saga(number)).job_id)
        make_due(job_id)
        died = dies(partial(run, job_id), at=number)
        came = saga(number).data["unasked"]
        assert SagaTimeout.objects.filter(job_id=job_id).exists() is not bool(came), f"died at {number}"
        assert commands(number)[0] == came, f"died at {number}"
    come_back(*jobs)
    assert len(jobs) > 8
    for number in range(len(jobs)):
        assert (saga(number).data["unasked"], saga(number).turns, commands(number)[0]) == (1, 3, 1)
    assert Counter(DONE) == dict.fromkeys(range(len(jobs)), 1)


# --- code that changes


@dataclass(frozen=True)
class Other:
    amounts: dict[str, int] = field(default_factory=dict)
    unasked: int = 0


def test_a_saga_whose_state_the_code_does_not_read_waits_and_goes_on_after_the_mend() -> None:
    adding()
    publish(Opened(1), Added(1, 1))
    drain()
    with registry.isolated():
        registry._types.pop("tests.Adding")
        registry._names.pop("tests.Adding")
        adding(state=Other)
        first, second = publish(Added(1, 2), Added(1, 3))
        drain()
        assert saga().unreadable.startswith("its state does not fit the code that runs: tests.Adding: state.amounts")
        for job_id in (first, second):
            assert (record(job_id).state, record(job_id).failures) == (State.SCHEDULED, 0)
        assert "does not fit the code" in record(first).history.latest("pk").reason
        assert saga().data["amounts"] == [1]
    make_due(first)
    drain()
    assert saga().data["amounts"] == [1, 2, 3]
    assert saga().unreadable == ""
    assert {record(job_id).state for job_id in (first, second)} == {State.SUCCEEDED}


def test_early_events_are_applied_before_what_was_published_after_the_start() -> None:
    """Whether they come in the round of the start or have waited for it."""
    adding()
    for number, waits in enumerate((True, False)):
        jobs = publish(Added(number, 0))
        if waits:
            run(*jobs)
        publish(Opened(number))
        publish(Added(number, 1))
        drain()
        assert saga(number).data["amounts"] == [0, 1]
