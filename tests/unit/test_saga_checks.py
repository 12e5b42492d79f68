"""What ``manage.py check`` says of sagas: what no declaration can see by itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import pytest
from django.db import connection

from handlers import Event, Saga, on, on_event, on_timeout, starts
from handlers.checks import check_isolation, check_jobs
from handlers.registry import registry


@dataclass(frozen=True)
class Placed(Event):
    order_id: int
    reference: str | None = None


@dataclass(frozen=True)
class Paid(Event):
    order_id: str


@dataclass(frozen=True)
class Shipped(Event):
    order_id: int | None


@dataclass(frozen=True)
class Renamed(Event, aliases=("shop.Placed",)):
    order_id: int


@dataclass(frozen=True)
class Old(Event, name="shop.Placed"):
    order_id: int


@dataclass(frozen=True)
class State:
    paid: bool = False


@dataclass(frozen=True)
class Knowing:
    order_id: str | None = None


@pytest.fixture(autouse=True)
def apart() -> Iterator[None]:
    with registry.isolated():
        yield


def said(check: str) -> list[str]:
    return [str(each.msg) for each in check_jobs(None) if each.id == check]


def test_a_key_of_two_types_is_said_with_both_fields() -> None:
    class Order(Saga[State], name="tests.Order"):
        @starts(Placed, key="order_id")
        def placed(self, event: Placed) -> None: ...

        @on(Shipped, key="order_id")
        def shipped(self, event: Shipped) -> None: ...

        @on(Paid, key="order_id")
        def paid(self, event: Paid) -> None: ...

    (words,) = said("jobs.E025")
    assert words == (
        "tests.Order: key: Paid.order_id is text and Placed.order_id is a whole number: what one names the other never"
        " finds."
    )


def test_a_key_that_the_state_has_in_another_type_is_said() -> None:
    class Order(Saga[Knowing], name="tests.Order"):
        @starts(Placed, key="order_id")
        def placed(self, event: Placed) -> None: ...

    (words,) = said("jobs.E025")
    assert "Placed.order_id is a whole number and Knowing.order_id is text" in words


def test_two_events_of_one_name_are_said() -> None:
    @on_event(Renamed, name="tests.one")
    def one(event: Renamed) -> None: ...

    @on_event(Old, name="tests.other")
    def other(event: Old) -> None: ...

    (words,) = said("jobs.E025")
    assert "Renamed" in words
    assert "are both called 'shop.Placed'" in words


def test_timeouts_without_a_method_or_without_a_wish_are_said() -> None:
    class Base(Saga[State], name="tests.Base"):
        @starts(Placed, key="order_id")
        def placed(self, event: Placed) -> None:
            self._later()

        def _later(self) -> None:
            self.timeout("pya", timedelta(days=1))
            self.timeout(name="ship", delay=timedelta(days=1))

        @on_timeout("pay")
        def unpaid(self) -> None: ...

        @on_timeout("ship")
        def unshipped(self) -> None: ...

    mistyped, unasked = said("jobs.W003")
    assert mistyped.startswith("tests.Base: _later: self.timeout('pya', ...): it has no method for that timeout")
    assert unasked == "tests.Base: unpaid: nothing asks for the timeout 'pay', so it never comes."


def test_timeouts_whose_names_are_no_constants_are_not_looked_at() -> None:
    class Order(Saga[State], name="tests.Order"):
        @starts(Placed, key="order_id")
        def placed(self, event: Placed) -> None:
            for name in ("pay", "ship"):
                self.timeout(name, timedelta(days=1))

        @on_timeout("pay")
        def unpaid(self) -> None: ...

    assert not said("jobs.W003")
    assert not said("jobs.E025")


@pytest.mark.postgresql
@pytest.mark.django_db
def test_transactions_that_see_only_what_was_before_them_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not check_isolation(None, ["default"])
    assert not said("jobs.E024")
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL default_transaction_isolation = 'repeatable read'")
    (found,) = check_isolation(None, ["default"])
    assert "default_transaction_isolation of the database 'default' is repeatable read" in found.msg
    assert not check_isolation(None, [])
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "isolation_level", 4)
    assert (
        "DATABASES['default']['OPTIONS']['isolation_level'] is 4, and jobs need READ COMMITTED" in said("jobs.E024")[0]
    )
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "isolation_level", 2)
    assert not said("jobs.E024")
