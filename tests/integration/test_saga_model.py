"""Whatever comes to sagas in whatever order, twice, late or broken off: they are what a pure model of them says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from handlers import (
    Command,
    Event,
    RetryPolicy,
    Saga,
    event_bus,
    handles_command,
    job_scheduler,
    on,
    on_timeout,
    starts,
)
from handlers.models import Delivery, EventRecord, JobRecord, SagaKey, SagaRecord, SagaTimeout, SagaTurn
from handlers.registry import registry
from handlers.sagas.delivery import deliver
from handlers.sagas.round import Want
from handlers.states import State
from tests.dying import broken_off
from tests.running import drain, make_due, record, run

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("noting", "apart")]

DONE: list[int] = []  # what the commands' handler did
LATE = -1  # the amount of the command that a timeout sends
NAME = "tests.Tally"


@dataclass(frozen=True)
class Opened(Event):
    number: int


@dataclass(frozen=True)
class Added(Event):
    number: int
    amount: int = 0


@dataclass(frozen=True)
class Hushed(Event):
    number: int


@dataclass(frozen=True)
class Closed(Event):
    number: int


@dataclass(frozen=True)
class Do(Command):
    amount: int


@dataclass(frozen=True)
class Sum:
    amounts: list[int] = field(default_factory=list)
    late: int | None = None


@pytest.fixture
def apart() -> Iterator[None]:
    with registry.isolated():
        handles_command(Do)(lambda command: DONE.append(command.amount))

        class Tally(Saga[Sum], name=NAME, retry=RetryPolicy(max_attempts=3)):
            @starts(Opened, key="number")
            def opened(self, event: Opened) -> None:
                self.state = replace(self.state, late=self.timeout("late", timedelta(hours=1)))

            @on(Added, key="number")
            def added(self, event: Added) -> None:
                self.state = replace(self.state, amounts=[*self.state.amounts, event.amount])
                self.send(Do(event.amount))

            @on(Hushed, key="number", not_found="ignore")
            def hushed(self, event: Hushed) -> None:
                if self.state.late is not None:
                    self.cancel(self.state.late)
                self.state = replace(self.state, late=None)

            @on(Closed, key="number", not_found="fail")
            def closed(self, event: Closed) -> None:
                self.complete()

            @on_timeout("late")
            def is_late(self) -> None:
                self.state = Sum([*self.state.amounts, LATE])
                self.send(Do(LATE))

        yield


# --- the model


@dataclass
class Model:
    """One saga, in memory."""

    amounts: list[int] = field(default_factory=list)
    late: int | None = None  # the timeout in force
    is_complete: bool = False

    def take(self, event: Event, timeout: int | None) -> None:
        """``timeout``: the one that it was given, if it asked for one."""
        match event:
            case Opened():
                self.late = timeout
            case Added(amount=amount):
                self.amounts.append(amount)
            case Hushed():
                self.late = None
            case Closed():
                self.late, self.is_complete = None, True

    def time_out(self, timeout: int) -> None:
        assert timeout == self.late, "it was cancelled, replaced or outlived, or has come before"
        self.amounts.append(LATE)
        self.late = None


def taken(published: Sequence[tuple[int, Event]]) -> list[tuple[int, Event]]:
    """Which of these one saga takes, in their order."""
    early: list[tuple[int, Event]] = []
    found: list[tuple[int, Event]] = []
    for number, event in published:
        if found:
            found.append((number, event))
            if isinstance(event, Closed):
                break
        elif isinstance(event, Opened):
            found = [(number, event), *early]
        elif isinstance(event, Added):
            early.append((number, event))
        elif isinstance(event, Closed):
            break  # it fails, and holds all that come after it
    return found


# --- what happens


KINDS = {"o": Opened, "a": Added, "h": Hushed, "c": Closed}
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.sampled_from("aaoohc"), st.integers(1, 2), st.integers(0, 3)),
        st.tuples(st.just("run"), st.integers(0, 9)),
        st.tuples(st.just("run all")),
        st.tuples(st.just("break off"), st.integers(0, 9), st.integers(1, 3), st.integers(0, 40)),
        st.tuples(st.just("again"), st.integers(0, 9)),
        st.tuples(st.just("time comes"), st.integers(1, 2)),
    ),
    min_size=5,
    max_size=25,
)


def ours(*states: State) -> list[int]:
    return list(JobRecord.objects.filter(job_type=NAME, state__in=states).order_by("pk").values_list("pk", flat=True))


def bring(jobs: Sequence[int]) -> None:
    """These together. What comes of them is not recorded: they come again."""
    payloads = [(job_id, record(job_id).payload) for job_id in jobs]
    wants = [Want(job_id, data.get("event"), data.get("timeout", "")) for job_id, data in payloads]
    deliver(registry.get(NAME), wants)  # type: ignore[arg-type]


def step(what: Any, published: list[tuple[int, Event]]) -> None:
    match what:
        case "publish", kind, number, amount:
            event = Added(number, amount) if kind == "a" else KINDS[kind](number)
            published.append((event_bus.publish(event), event))
        case "run", which if there := ours(State.ENQUEUED):
            run(there[which % len(there)])
        case ("run all",):
            drain()
        case "break off", which, count, instant if there := ours(State.ENQUEUED):
            broken_off(partial(bring, there[which % len(there) :][:count]), at=instant)
        case "again", which if there := ours(State.SUCCEEDED, State.DELETED):
            job_id = there[which % len(there)]
            if not job_scheduler.requeue(job_id):
                assert job_scheduler.restore(job_id)
                make_due(job_id)
        case "time comes", number:
            for timeout in SagaTimeout.objects.filter(saga__keys__value=str(number)):
                make_due(timeout.job_id)


@hypothesis_settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, is_open=st.booleans())
@example(
    steps=[("publish", "c", 1, 0), *(("break off", 0, 1, instant) for instant in range(15)), ("run all",)],
    is_open=False,
)
def test_whatever_comes_a_saga_is_what_its_model_says(steps: list[Any], *, is_open: bool) -> None:
    """``is_open``: one of them is, before all else."""
    clear()
    published: list[tuple[int, Event]] = []
    if is_open:
        step(("publish", "o", 1, 0), published)
        drain()
    for what in steps:
        step(what, published)
    drain()
    sent: Counter[int] = Counter()
    for number in (1, 2):
        expected = taken([each for each in published if each[1].number == number])  # type: ignore[attr-defined]
        saga = SagaRecord.objects.filter(keys__value=str(number)).first()
        assert (saga is not None) is bool(expected)
        if saga is not None:
            model = follow(saga, expected)
            assert saga.data["amounts"] == model.amounts
            assert (saga.completed_at is not None) is model.is_complete
            sent.update(model.amounts)
            in_force = list(SagaTimeout.objects.filter(saga=saga).values_list("job_id", flat=True))
            assert in_force == ([] if model.late is None else [model.late])
            assert {record(job_id).state for job_id in in_force} <= {State.SCHEDULED}, "it has not come, and will"
    assert Counter(job.payload["amount"] for job in JobRecord.objects.filter(job_type="tests.Do")) == sent
    assert Counter(DONE) == sent


def follow(saga: SagaRecord, expected: Sequence[tuple[int, Event]]) -> Model:
    """The model after what the saga has on record to have taken, which must be all that is expected, in its order."""
    model, left = Model(), list(expected)
    turns = list(saga.timeline.order_by("pk"))
    for turn in turns:
        if turn.kind == "timeout":
            assert turn.job_id is not None
            model.time_out(turn.job_id)
        else:
            event_id, event = left.pop(0)
            assert (turn.event_id, turn.error) == (event_id, "")
            asked = [each["job"] for each in turn.asked if each["do"] == "timeout"]
            model.take(event, *asked or [None])
        assert turn.after is not None
        assert turn.after["amounts"] == model.amounts
    assert left == []
    assert saga.turns == len(turns)
    return model


def clear() -> None:
    DONE.clear()
    for each in (SagaTurn, SagaTimeout, SagaKey, SagaRecord, Delivery, EventRecord, JobRecord):
        each.objects.all().delete()
