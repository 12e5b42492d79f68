"""Rounds of a saga's deliveries: what several jobs bring in one transaction, and what becomes of whom waits behind."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import Annotated, Any

import pytest
from django.db import DatabaseError, connections, transaction
from django.utils import timezone

from handlers import (
    CancellationToken,
    Command,
    Event,
    RetryPolicy,
    Saga,
    Sensitive,
    Unique,
    carried,
    context,
    event_bus,
    execution,
    handles_command,
    job_scheduler,
    on,
    on_event,
    on_timeout,
    starts,
)
from handlers.models import AttemptError, Delivery, EventRecord, JobHistory, JobRecord, SagaRecord, SagaTimeout
from handlers.registry import registry
from handlers.sagas import rows
from handlers.sagas.by_hand import complete_saga
from handlers.sagas.delivery import deliver
from handlers.sagas.round import Want
from handlers.sagas.types import SagaType
from handlers.states import State
from handlers.together import run_together
from tests.processes import wait_for
from tests.running import WORKER, claim, drain, make_due, perform, record, run, waits_for_a_lock

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("noting", "story")]


@dataclass(frozen=True)
class Begun(Event):
    number: int


@dataclass(frozen=True)
class Said(Event):
    number: int
    word: str = ""
    card: Annotated[str, Sensitive()] = ""


@dataclass(frozen=True)
class Told:
    words: list[str] = field(default_factory=list)
    late: int | None = None


@dataclass(frozen=True)
class Posted(Event):
    number: int


@dataclass(frozen=True)
class Scanned(Event):
    code: str
    place: str


@dataclass(frozen=True)
class Sent:
    places: list[str] = field(default_factory=list)
    code: str | None = None


@pytest.fixture
def story() -> Iterator[None]:
    with registry.isolated():

        class Story(Saga[Told], retry=RetryPolicy(max_attempts=1), name="tests.Story"):
            @starts(Begun, key="number")
            def begun(self, event: Begun) -> None:
                self.state = replace(self.state, late=self.timeout("late", timedelta(hours=1)))

            @on(Said, key="number")
            def said(self, event: Said) -> None:
                if event.word == "cancel":
                    assert self.state.late is not None
                    self.cancel(self.state.late)
                if event.word == "postpone":
                    self.timeout("late", timedelta(hours=2))
                if event.word == "bad":
                    raise RuntimeError(f"no such card: {event.card}")
                self.state = replace(self.state, words=[*self.state.words, event.word])

            @on_timeout("late")
            def is_late(self) -> None:
                self.state = replace(self.state, words=[*self.state.words, "late"])

        yield


def saga_type() -> SagaType:
    found = registry.get("tests.Story")
    assert isinstance(found, SagaType)
    return found


def bring(jobs: Sequence[JobRecord]) -> dict[int, BaseException | None]:
    """These jobs, in one call."""
    kind = saga_type()
    return deliver(kind, [Want(job.pk, job.payload.get("event"), job.payload.get("timeout", "")) for job in jobs])


def jobs_of_events(number: int = 1) -> list[JobRecord]:
    waiting = Delivery.objects.filter(state="waiting", value=str(number)).order_by("pk")
    return [record(each.job_id) for each in waiting]


def words() -> list[str]:
    return list(SagaRecord.objects.get().data["words"])


@pytest.mark.parametrize("brought", [1, 3])
def test_what_is_far_behind_in_its_stream_does_not_fail(brought: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handlers.sagas.round.MOST", 4)
    monkeypatch.setattr("handlers.sagas.round.LEAST", 2)
    event_bus.publish(Begun(1))
    drain()
    event_bus.publish_many([Said(1, str(number)) for number in range(12)])
    last = jobs_of_events()[-brought:]
    assert bring(last) == {job.pk: None for job in last}
    assert words() == [str(number) for number in range(12)]


@pytest.mark.parametrize("word", ["cancel", "postpone"])
def test_a_timeout_that_an_event_of_the_same_round_takes_back_does_not_come(word: str) -> None:
    event_bus.publish(Begun(1))
    drain()
    timeout = SagaTimeout.objects.get().job_id
    make_due(timeout)
    event_bus.publish(Said(1, word))
    jobs = [*jobs_of_events(), record(timeout)]
    assert bring(jobs) == {job.pk: None for job in jobs}
    assert words() == [word]


def test_early_events_of_a_key_that_a_timeout_teaches_are_each_brought_once() -> None:
    class Parcel(Saga[Sent], name="tests.Parcel"):
        @starts(Posted, key="number")
        def begun(self, event: Posted) -> None:
            self.timeout("late", timedelta(hours=1))

        @on(Scanned, key="code")
        def scanned(self, event: Scanned) -> None:
            self.state = replace(self.state, places=[*self.state.places, event.place])

        @on_timeout("late")
        def is_late(self) -> None:
            self.state = replace(self.state, code="x")

    event_bus.publish(Posted(1))
    event_bus.publish(Scanned("x", "first"))
    drain()  # the second one waits for a saga of its code
    event_bus.publish(Scanned("x", "second"))
    timeout = SagaTimeout.objects.get().job_id
    make_due(timeout)
    second = Delivery.objects.get(state="waiting").job_id
    wants = [Want(second, record(second).payload["event"]), Want(timeout, None, "late")]
    kind = registry.get("tests.Parcel")
    assert isinstance(kind, SagaType)
    assert deliver(kind, wants) == {second: None, timeout: None}
    assert SagaRecord.objects.get().data["places"] == ["first", "second"]


def test_a_saga_that_was_completed_by_hand_lets_go_what_waited_behind_a_failure() -> None:
    event_bus.publish(Begun(1))
    event_bus.publish_many([Said(1, "bad"), Said(1, "after")])
    drain()
    failed, after = (each.job_id for each in Delivery.objects.order_by("pk")[1:])
    assert [record(failed).state, record(after).state] == [State.FAILED, State.SCHEDULED]
    assert complete_saga(SagaRecord.objects.get().pk, reason="enough")
    drain()
    assert record(after).state == State.SUCCEEDED
    assert list(Delivery.objects.order_by("pk").values_list("state", flat=True)) == ["done", "ignored", "ignored"]


def test_a_timeout_has_the_context_in_which_it_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with context(tenant="acme"):
        event_bus.publish(Begun(1))
    drain()
    timeout = record(SagaTimeout.objects.get().job_id)
    assert timeout.arguments.context == {"tenant": "acme"}


def test_what_is_sensitive_in_an_event_is_in_no_error() -> None:
    @on_event(Said)
    def told(event: Said) -> None:
        raise RuntimeError(f"no such card: {event.card}")

    event_bus.publish(Begun(1))
    event_bus.publish(Said(1, "bad", card="4111-1111"))
    drain()
    saga = SagaRecord.objects.get()
    shown = [saga.error, saga.timeline.latest("pk").error, *Delivery.objects.values_list("error", flat=True)]
    shown += JobHistory.objects.values_list("reason", flat=True)
    shown += [f"{each.message} {each.traceback}" for each in AttemptError.objects.all()]
    assert "no such card" in saga.error
    assert not [text for text in shown if "4111" in text]


def test_who_fails_late_does_not_undo_that_another_attempt_has_handled_it() -> None:
    @on_event(Begun, name="tests.told", retry=RetryPolicy(max_attempts=1))
    def told(event: Begun) -> None:
        # Meanwhile another attempt returns, as after a lease that has run out.
        Delivery.objects.filter(subscriber="tests.told").update(state="done")
        raise RuntimeError("too late")

    event_bus.publish_many([Begun(1), Begun(1)], correlation="a")
    drain()
    states = Delivery.objects.filter(subscriber="tests.told").order_by("pk").values_list("state", flat=True)
    assert list(states) == ["done", "done"]


def test_what_the_database_refuses_to_one_is_not_the_others_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    from handlers.sagas import delivery

    event_bus.publish_many([Begun(1), Begun(2)])
    once = delivery._once

    def refuses(kind: SagaType, wants: Sequence[Want], streams: int) -> object:
        others = [want for want in wants if want.event_id != last.event_id]
        if not others:
            raise DatabaseError("no")
        return once(kind, others, streams)

    last = Delivery.objects.latest("pk")
    monkeypatch.setattr(delivery, "_once", refuses)
    outcomes = bring([*jobs_of_events(1), *jobs_of_events(2)])
    assert [type(each) for each in outcomes.values()] == [type(None), DatabaseError]


def test_what_comes_to_one_saga_at_once_is_brought_in_few_transactions(monkeypatch: pytest.MonkeyPatch) -> None:
    from handlers.sagas import delivery

    event_bus.publish_many([Begun(1), *(Said(1, str(number)) for number in range(150))])
    once, rounds = delivery._once, []

    def counts(*args: Any) -> Any:
        rounds.append(args)
        return once(*args)

    monkeypatch.setattr(delivery, "_once", counts)
    assert set(bring(jobs_of_events(1)).values()) == {None}
    assert len(rounds) == 2  # the first finds out that there is one saga


def test_a_delivery_whose_job_was_edited_to_bring_another_event_says_so() -> None:
    event_bus.publish(Begun(1))
    event_bus.publish_many([Said(1, "bad"), Said(1, "after")])
    drain()
    failed, after = (each.job_id for each in Delivery.objects.order_by("pk")[1:])
    other = Delivery.objects.get(job_id=after).event_id
    assert job_scheduler.retry(failed, payload={"event": other, "type": "tests.Said"})
    drain()
    assert record(failed).state == State.FAILED
    assert "event" in record(failed).history.latest("pk").reason


def test_a_turn_has_the_context_of_its_own_event_alone() -> None:
    told: list[object] = []

    with registry.isolated():

        class Heard(Saga[Told], name="tests.Heard"):
            @starts(Begun, key="number")
            def begun(self, event: Begun) -> None:
                told.append(current_run_tenant())

        event_bus.publish(Begun(1))
        with context(tenant="acme"):
            event_bus.publish(Begun(1))
        jobs = JobRecord.objects.filter(job_type="tests.Heard").order_by("-pk")
        run(jobs[0].pk)  # the second one's job, which brings the first as well
        assert told == [None, "acme"]


def current_run_tenant() -> object:
    """The tenant of here and now, as a job that is enqueued would carry it."""
    return json.loads(carried.capture() or "{}").get("tenant")


def test_while_a_saga_is_renamed_the_former_release_finds_those_of_the_new_one() -> None:
    def release(**options: Any) -> None:
        class Old(Saga[Told], **options):
            @starts(Begun, key="number")
            def begun(self, event: Begun) -> None:
                self.state = replace(self.state, words=[*self.state.words, "begun"])

    with registry.isolated():
        release(name="tests.New", aliases=("tests.Old",))
        event_bus.publish(Begun(1))
        drain()
    with registry.isolated():
        release(name="tests.Old")
        event_bus.publish(Begun(1))
        drain()
        assert SagaRecord.objects.filter(saga_type="tests.New").get().data["words"] == ["begun", "begun"]
        assert not SagaRecord.objects.filter(saga_type="tests.Old").exists()


def test_an_event_of_another_release_that_a_function_does_not_read_waits_for_code_that_does() -> None:
    @on_event(Begun, name="tests.told", retry=RetryPolicy(max_attempts=1))
    def told(event: Begun) -> None: ...

    event_bus.publish(Begun(1))
    EventRecord.objects.update(data={"number": 1, "newer": True}, release="another")
    delivery = Delivery.objects.get(subscriber="tests.told")
    run(delivery.job_id)
    assert record(delivery.job_id).state == State.SCHEDULED
    EventRecord.objects.update(data={"number": 1})
    make_due(delivery.job_id)
    run(delivery.job_id)
    assert record(delivery.job_id).state == State.SUCCEEDED


@pytest.mark.postgresql
def test_a_timeout_that_somebody_takes_back_while_its_round_waits_does_not_come() -> None:
    event_bus.publish(Begun(1))
    drain()
    saga, timeout = SagaRecord.objects.get(), SagaTimeout.objects.get().job_id
    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            SagaRecord.objects.select_for_update().get(pk=saga.pk)
            brought = pool.submit(on_its_own, lambda: bring([record(timeout)]))
            wait_for("it waits", waits_for_a_lock)
            SagaTimeout.objects.all().delete()  # as a turn does, which has the saga
        assert brought.result(60) == {timeout: None}
    assert words() == []


@pytest.mark.postgresql
def test_an_early_event_whose_job_falls_asleep_while_its_saga_starts_is_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    event_bus.publish(Said(1, "early"))
    early = Delivery.objects.get().job_id
    [claimed] = claim(early)
    move = perform(claimed)
    assert move is not None
    event_bus.publish(Begun(1))
    claims = rows.claim_keys

    def falls_asleep(*args: Any, **options: Any) -> Any:
        """As the start has seen the event, whose job was under way then, and has not given the key so far."""
        if record(early).state == State.PROCESSING:
            with ThreadPoolExecutor(1) as pool:
                assert pool.submit(on_its_own, lambda: execution.settle([move], worker=WORKER)).result(60)
            assert record(early).state == State.SCHEDULED
        return claims(*args, **options)

    monkeypatch.setattr(rows, "claim_keys", falls_asleep)
    drain()
    assert words() == ["early"]
    assert record(early).state == State.SUCCEEDED


@pytest.mark.postgresql
def test_an_event_whose_job_falls_asleep_while_another_one_brings_it_is_woken() -> None:
    event_bus.publish(Begun(1))
    event_bus.publish_many([Said(1, "bad"), Said(1, "after")])
    failed, after = list(Delivery.objects.order_by("pk").values_list("job_id", flat=True))[1:]
    run(*JobRecord.objects.filter(state=State.ENQUEUED).exclude(pk=after).values_list("pk", flat=True))
    assert record(failed).state == State.FAILED
    [claimed] = claim(after)
    move = perform(claimed)
    assert move is not None
    EventRecord.objects.filter(data__word="bad").update(data={"number": 1, "word": "good"})
    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            assert bring([record(failed)]) == {failed: None}
            settled = pool.submit(on_its_own, lambda: execution.settle([move], worker=WORKER))
            wait_for("it looks who is first", waits_for_a_lock)
        assert settled.result(60)
    drain()
    assert words() == ["good", "after"]
    assert record(after).state == State.SUCCEEDED


@pytest.mark.postgresql
def test_a_conflict_of_what_methods_do_is_decided_anew_and_fails_nothing() -> None:
    barrier = threading.Barrier(2)
    first = {1: True, 2: True}

    with registry.isolated():

        class Crossing(Saga[Told], name="tests.Crossing", retry=RetryPolicy(max_attempts=1)):
            @starts(Begun, key="number")
            def begun(self, event: Begun) -> None:
                for number in (event.number, 3 - event.number):  # two of them, in opposite orders
                    SagaTimeout.objects.filter(name=f"lock {number}").update(due_at=timezone.now())
                    if first.pop(event.number, False):
                        barrier.wait(60)

        for number in (1, 2):
            SagaTimeout.objects.create(saga_id=0, name=f"lock {number}", job_id=0, due_at=timezone.now())
        event_bus.publish_many([Begun(1), Begun(2)])
        found = registry.get("tests.Crossing")
        assert isinstance(found, SagaType)
        wants = [Want(each.job_id, each.event_id) for each in Delivery.objects.filter(subscriber=found.name)]
        with ThreadPoolExecutor(2) as pool:
            brought = [pool.submit(on_its_own, partial(deliver, found, [want])) for want in wants]
            outcomes = [each.result(60) for each in brought]
    assert outcomes == [{want.job_id: None} for want in wants]


def on_its_own(act: Callable[[], Any]) -> Any:
    """What it answers, on a connection of its own."""
    try:
        return act()
    finally:
        connections.close_all()


def test_a_job_that_is_one_of_a_kind_is_a_child_of_the_job_that_brought_its_event() -> None:
    @dataclass(frozen=True)
    class Charge(Command):
        number: int

    with registry.isolated():
        handles_command(Charge, name="tests.Charge", unique=Unique())(lambda command: None)

        class Charging(Saga[Told], name="tests.Charging"):
            @starts(Begun, key="number")
            def begun(self, event: Begun) -> None:
                self.send(Charge(event.number))

        event_bus.publish_many([Begun(1), Begun(2)])
        jobs = list(JobRecord.objects.filter(job_type="tests.Charging").order_by("pk").values_list("pk", flat=True))
        (moves,) = [run_together(claim(*jobs), CancellationToken(job_id=jobs[0], attempt=1), worker="w")]
        assert len(moves) == 2
        parents = JobRecord.objects.filter(job_type="tests.Charge").order_by("pk")
        assert [job.arguments.parent_id for job in parents] == jobs


def test_a_saga_is_in_no_trouble_once_what_failed_was_deleted() -> None:
    event_bus.publish(Begun(1))
    event_bus.publish_many([Said(1, "bad"), Said(1, "bad")])
    drain()
    first, second = (each.job_id for each in Delivery.objects.order_by("pk")[1:])
    assert job_scheduler.delete(first)
    drain()
    found = SagaRecord.objects.get()
    assert (record(second).state, found.error) == (State.FAILED, "RuntimeError: no such card:")
    assert job_scheduler.delete(second)
    found.refresh_from_db()
    assert (found.error, found.failed_at) == ("", None)
