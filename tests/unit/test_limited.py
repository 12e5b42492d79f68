"""Limits as they are declared: what fits, what does not and is told at once; and whose turn it is."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, cast

import pytest

from handlers import InvalidJob, Job, Limit, Sensitive, handles
from handlers.admission.shares import in_turns, share
from handlers.limited import LONGEST_KEY, Rate, key_of, parse_rate
from handlers.registry import registry


@dataclass(frozen=True)
class Charge(Job):
    tenant: int
    text: str = ""
    card: Annotated[str, Sensitive()] = ""


@dataclass(frozen=True)
class Refund(Job):
    shop: int


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    with registry.isolated():
        yield


def declare(*limits: Any, job: type[Job] = Charge) -> None:
    handles(job, limits=list(limits))(lambda job: None)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("100/m", Rate(100, 60)),
        ("5/s", Rate(5, 1)),
        ("1000/h", Rate(1_000, 3_600)),
        ("10/d", Rate(10, 86_400)),
        ("100/10s", Rate(100, 10)),
        ("1/31d", Rate(1, 31 * 86_400)),
    ],
)
def test_a_rate_is_a_number_for_each_time(text: str, rate: Rate) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: Limit("cards"), "'cards' limits nothing: give it concurrency=, rate=, or both"),
        (lambda: Limit("Cards", concurrency=1), "name: 'Cards' must be 1 to 64 of a-z, 0-9, hyphen and underscore"),
        (lambda: Limit("x" * 65, concurrency=1), "must be 1 to 64 of a-z"),
        (lambda: Limit("", concurrency=1), "must be 1 to 64 of a-z"),
        (lambda: Limit("cards", concurrency=0), "concurrency: must be a whole number, 1 to 1,000,000, not 0;"),
        (lambda: Limit("cards", concurrency=cast("int", bool(1))), "concurrency: must be a whole number"),
        (lambda: Limit("cards", concurrency=cast("int", 1.5)), "concurrency: must be a whole number"),
        *[
            (lambda text=text: Limit("cards", rate=text), f"rate: cannot read {text!r}: write a number for each time")
            for text in ("100", "100/", "/m", "100/x", "100/m ", "-1/m", "1.5/s", "100/-1s", "100 per minute")
        ],
        (lambda: Limit("cards", rate=cast("str", 5)), "rate: cannot read '5'"),
        (lambda: Limit("cards", rate="0/m"), "rate: '0/m' must allow 1 to 1,000,000 starts"),
        (lambda: Limit("cards", rate="1/0s"), "rate: the time of '1/0s' must be 1 second to 31 days"),
        (lambda: Limit("cards", rate="1/32d"), "rate: the time of '1/32d' must be 1 second to 31 days"),
        (lambda: Limit("cards", concurrency=1, key=cast("str", 1)), 'key: must name a field, such as key="tenant_id"'),
        (lambda: declare("cards"), "Charge: must be a list of Limit, such as [Limit("),
        (lambda: handles(Charge, limits=Limit("cards", concurrency=1))(print), "must be a list of Limit"),  # type: ignore[arg-type]
        (lambda: handles(Charge, limits=cast("Any", None))(lambda job: None), "must be a list of Limit"),
        (
            lambda: declare(Limit("cards", concurrency=1, key="shop")),
            "key: it has no field 'shop'; it has tenant, text, card",
        ),
        (
            lambda: declare(Limit("cards", concurrency=1), Limit("cards", rate="1/s")),
            "two limits have the name 'cards'",
        ),
    ],
)
def test_what_does_not_fit_is_told_when_it_is_declared(make: Any, why: str) -> None:
    with pytest.raises(InvalidJob) as error:
        make()
    assert error.value.field == "limits"
    assert why in str(error.value)
    assert "cards" not in registry.limits()


@pytest.mark.parametrize(
    "other",
    [
        Limit("cards", concurrency=2, key="shop"),
        Limit("cards", concurrency=1, rate="1/s", key="shop"),
        Limit("cards", concurrency=1),
    ],
)
def test_types_that_share_a_limit_give_the_same_values(other: Limit) -> None:
    declare(Limit("cards", concurrency=1, key="tenant"))
    with pytest.raises(InvalidJob, match="share the limit 'cards' with other values"):
        declare(other, job=Refund)
    declare(Limit("cards", concurrency=1, key="shop"), job=Refund)
    assert registry.limits()["cards"].concurrency == 1


def test_the_same_type_may_come_anew_with_other_values() -> None:
    def handler(job: Charge) -> None: ...

    handles(Charge, limits=[Limit("cards", concurrency=1)])(handler)
    assert registry.limits()["cards"].concurrency == 1
    handles(Charge, limits=[Limit("cards", concurrency=2)])(handler)
    assert registry.limits()["cards"].concurrency == 2


def test_a_key_is_the_value_as_json_and_the_digest_of_a_long_or_sensitive_one() -> None:
    by_text = Limit("cards", concurrency=1, key="text")
    assert key_of(Limit("cards", concurrency=1), {"text": "a"}) == ""
    assert [key_of(by_text, {"text": value}) for value in ("17", 17, None, True, [1, {"b": 1, "a": "ä"}])] == [
        '"17"', "17", "null", "true", '[1,{"a":"ä","b":1}]',
    ]  # fmt: skip
    assert key_of(by_text, {}) == "null"
    assert key_of(by_text, {"text": "x" * (LONGEST_KEY - 2)}) == '"' + "x" * (LONGEST_KEY - 2) + '"'
    long, other = (key_of(by_text, {"text": "x" * size}) for size in (LONGEST_KEY, LONGEST_KEY + 1))
    assert long.startswith("sha256:")
    assert long != other
    assert key_of(by_text, {"text": "\ud800"}).startswith("sha256:")
    declare(Limit("cards", concurrency=1, key="card"), Limit("shops", concurrency=1, key="tenant"))
    (_, card), shop = registry.for_object(Charge(1)).keys_of({"tenant": 1, "text": "", "card": "4111"})
    assert card.startswith("sha256:")
    assert shop == ("shops", "1")


def test_who_wants_several_places_gets_all_or_none() -> None:
    rooms = {1: 2.0, 2: 1.0, 3: math.inf}
    assert share([(1, 2), (1, 2), (1, 3), (1, 3), (3,)], rooms) == [None, 2, None, 1, None]
    assert rooms == {1: 0.0, 2: 0.0, 3: math.inf}
    assert share([(3,), (3, 4), ()], {3: 5.0, 4: 5.0}, closed={4}) == [None, 4, None]


def test_lines_have_turns() -> None:
    assert list(in_turns([[1, 2, 3], [], [4], [5, 6]])) == [1, 4, 5, 2, 6, 3]
