"""A saga that cannot be one is refused where it is declared, in words that say how to mend it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from types import new_class
from typing import Any

import pytest

from handlers import Event, InvalidJob, JobsError, RetryPolicy, Saga, on, on_timeout, starts
from handlers.registry import Registry, registry


@dataclass(frozen=True)
class Placed(Event):
    order_id: int


@dataclass(frozen=True)
class Paid(Event):
    order_id: int
    reference: str


class Bare(Event):
    """No dataclass."""


@dataclass(frozen=True)
class State:
    paid: bool = False


@dataclass(frozen=True)
class Needy:
    paid: bool


@dataclass(frozen=True)
class Odd:
    thing: Registry | None = None


@pytest.fixture(autouse=True)
def apart() -> Iterator[None]:
    with registry.isolated():
        yield


def declared(members: dict[str, Any] | None = None, state: Any = State, **options: Any) -> Any:
    start = starts(Placed, key="order_id")(lambda self, event: None)
    body = {"placed": start} | (members or {})
    return new_class("Order", (Saga[state],), options, lambda space: space.update({"__module__": __name__, **body}))


def method(mark: Callable[[Any], Any]) -> Any:
    return mark(lambda self, *args: None)


async def coroutine(self: Any, event: Any) -> None: ...


WRONG: list[tuple[Callable[[], Any], str, str]] = [
    (lambda: declared({"placed": None}), "starts", "nothing starts it"),
    (lambda: declared({"placed": method(on(Placed, key="order_id"))}), "starts", "nothing starts it"),
    (lambda: declared({"paid": method(on(Paid, key="id"))}), "key", "has no field 'id': name one of order_id, ref"),
    (lambda: declared({"paid": method(on(Paid, key="reference"))}), "key", "never learns its 'reference'"),
    (lambda: declared({"again": method(on(Placed, key="order_id"))}), "event", "for Placed"),
    (lambda: declared({"other": method(on(int, key="x"))}), "event", "not an event"),  # type: ignore[arg-type]
    (lambda: declared({"other": method(on(Bare, key="x"))}), "", "@dataclass"),
    (lambda: declared({"x": method(on(Paid, key="order_id", not_found="drop"))}), "not_found", "ignore, retry"),  # type: ignore[arg-type]
    (lambda: declared({"x": method(on_timeout(""))}), "on_timeout", "1 to 100"),
    (lambda: declared({"x": method(on_timeout("a")), "y": method(on_timeout("a"))}), "on_timeout", "two methods"),
    (lambda: declared({"x": on(Paid, key="order_id")(coroutine)}), "", "not async"),
    (lambda: declared(state=Needy), "state", "a default"),
    (lambda: declared(state=int), "state", "must be a dataclass"),
    (lambda: declared(state=Odd), "", "cannot be stored as JSON"),
    (lambda: declared(stuck_after=timedelta(0)), "stuck_after", "above zero"),
    (lambda: declared(waits_for_start=1), "waits_for_start", "above zero"),
    (lambda: declared(queue="No Queue"), "queue", "no queue name"),
    (lambda: declared(retry=3), "retry", "RetryPolicy"),
    (lambda: declared(name="no name"), "name", "no type name"),
    (lambda: declared({"b": on(Paid, key="order_id")(lambda self: None)}), "b", r"b: write def b\(self, event\)"),
    (lambda: declared({"b": on_timeout("pay")(lambda self, event: None)}), "b", r"b: write def b\(self\)"),
    (lambda: on_timeout("x")(3), "", "above a def"),  # type: ignore[type-var]
]


@pytest.mark.parametrize(("declare", "field", "words"), WRONG)
def test_what_cannot_be_a_saga_is_refused_in_words(declare: Callable[[], Any], field: str, words: str) -> None:
    with pytest.raises(InvalidJob, match=words) as caught:
        declare()
    if field:
        assert caught.value.field == field
    assert not registry.has("tests.Order")


def test_a_saga_is_a_job_type_with_its_options() -> None:
    policy = RetryPolicy(max_attempts=2)
    declared(queue="orders", retry=policy, name="shop.Order", aliases=("shop.Former",), priority=3)
    job_type = registry.get("shop.Former")
    assert (job_type.name, job_type.queue, job_type.retry, job_type.priority) == ("shop.Order", "orders", policy, 3)


def test_a_method_may_be_static() -> None:
    declared({"b": staticmethod(on(Paid, key="order_id")(lambda event: None))})
    assert registry.has("tests.Order")


def test_a_saga_that_nobody_calls_sends_nothing() -> None:
    with pytest.raises(JobsError, match="only while one of its methods is called"):
        declared()().complete()


def test_a_name_of_another_saga_is_refused() -> None:
    declared(name="shop.Order")
    with pytest.raises(InvalidJob, match="belongs to"):
        declared({"__qualname__": "Another"}, name="shop.Order")
