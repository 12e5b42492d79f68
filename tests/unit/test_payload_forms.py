"""Forms from a type's schema: which inputs there are, what they show, and what they send to the engine."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import pytest

from dashboard.kit.arguments import arguments
from dashboard.kit.forms import payload_form
from handlers import Job
from handlers.registry import JobType


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Part:
    x: int
    y: str = "z"


@dataclass(frozen=True)
class Many(Job):
    count: int
    name: str
    maybe: str | None = None
    limit: int | None = 5
    size: float = 1.5
    on: bool = True
    colour: Colour = Colour.RED
    way: Literal["up", 2] = "up"
    price: Decimal = Decimal("9.90")
    key: UUID | None = None
    day: date | None = None
    at: datetime | None = None
    wait: timedelta = timedelta(minutes=1)
    part: Part | None = None
    parts: list[Part] = field(default_factory=list)
    table: dict[str, int] = field(default_factory=dict)
    either: int | str = 1


TYPE = JobType("test.Many", Many, lambda job: None)


def _initial() -> dict[str, Any]:
    form = payload_form(TYPE)()
    return {name: field.initial for name, field in form.fields.items()}


def _sent(**changes: Any) -> dict[str, Any]:
    """What a browser sends when the form is sent as shown."""
    sent = {name: "on" if value is True else value for name, value in _initial().items() if value is not False}
    return sent | {"arg-count": "3", "arg-name": "n"} | changes


def test_each_hint_gets_its_kind_of_input() -> None:
    kinds = {told.name: told.format or told.kind for told in arguments(TYPE)}
    assert kinds == {
        "count": "integer", "name": "text", "maybe": "text", "limit": "integer", "size": "number", "on": "boolean",
        "colour": "choice", "way": "choice", "price": "decimal", "key": "uuid", "day": "date", "at": "date-time",
        "wait": "duration", "part": "json", "parts": "json", "table": "json", "either": "json",
    }  # fmt: skip


def test_form_shows_the_defaults_and_sends_them_back() -> None:
    form = payload_form(TYPE)(_sent())
    assert form.is_valid(), form.errors
    assert TYPE.decode(form.data_json) == Many(3, "n")


def test_form_reads_every_kind_of_value() -> None:
    sent = _sent(**{
        "arg-maybe": "m", "arg-limit": "", "arg-size": "2", "arg-on": "false", "arg-colour": '"blue"', "arg-way": "2",
        "arg-price": "1.10", "arg-key": "12345678-1234-5678-1234-567812345678", "arg-day": "2026-02-03",
        "arg-at": "2026-02-03T04:05:06Z", "arg-wait": "PT2H", "arg-part": '{"x": 1}', "arg-parts": '[{"x": 2}]',
        "arg-table": '{"a": 1}', "arg-either": '"text"',
    })  # fmt: skip
    form = payload_form(TYPE)(sent)
    assert form.is_valid(), form.errors
    job: Any = TYPE.decode(form.data_json)
    assert (job.limit, job.size, job.on, job.colour, job.way) == (None, 2.0, False, Colour.BLUE, 2)
    assert (job.price, job.wait, job.part, job.either) == (Decimal("1.10"), timedelta(hours=2), Part(1), "text")


@pytest.mark.parametrize(("box", "expected"), [("on", None), ("", "")])
def test_empty_text_is_told_apart_from_null(box: str, expected: str | None) -> None:
    form = payload_form(TYPE)(_sent(**{"arg-maybe": "", "null-maybe": box}))
    assert form.is_valid(), form.errors
    assert form.data_json["maybe"] == expected


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("count", "many"),
        ("count", ""),
        ("count", "9" * 5000),
        ("size", "nan"),
        ("size", "1e999"),
        ("on", "maybe"),
        ("colour", '"green"'),
        ("key", "no"),
        ("day", "31.1.2026"),
        ("at", "now"),
        ("wait", "long"),
        ("price", "dear"),
        ("part", "{"),
        ("part", '{"x": "one"}'),
        ("parts", "[" * 100_000),
        ("table", "[]"),
        ("name", "a\0b"),
    ],
)
def test_wrong_value_is_refused_at_its_field(name: str, text: str) -> None:
    form = payload_form(TYPE)(_sent(**{f"arg-{name}": text}))
    assert not form.is_valid()
    assert list(form.errors) == [f"arg-{name}"]


def test_form_of_stored_arguments_that_no_longer_fit_shows_them() -> None:
    form = payload_form(TYPE)(stored={"count": "three", "gone": 1, "colour": "green", "part": [1]})
    assert form.fields["arg-count"].initial == "three"
    assert "green" in str(form["arg-colour"])
    assert form.fields["arg-name"].initial == ""


@pytest.mark.parametrize("stored", [None, 1, "text", [1], {"count": None}, {"name": [1]}, {"maybe": 5}])
def test_form_takes_whatever_is_stored(stored: Any) -> None:
    assert str(payload_form(TYPE)(stored=stored))
    assert str(payload_form(TYPE, raw=True)(stored=stored))


def test_raw_form_checks_as_the_enqueue_does() -> None:
    raw = payload_form(TYPE, raw=True)
    assert raw({"raw": '{"count": 1, "name": "n"}'}).is_valid()
    for text in ("", "{", "[" * 100_000, '{"count": "x", "name": "n"}', "NaN"):
        assert not raw({"raw": text}).is_valid()


def test_too_large_arguments_are_refused() -> None:
    assert not payload_form(TYPE)(_sent(**{"arg-name": "x" * 2_000_000})).is_valid()


def test_argument_that_the_stored_ones_lack_shows_its_default() -> None:
    form = payload_form(TYPE)(stored={"count": 1, "name": "n"})
    assert form.fields["arg-limit"].initial == "5"
    assert form.fields["null-maybe"].initial is True
