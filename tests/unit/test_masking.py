"""Sensitive arguments: where the mark is found, and how values are hidden in arguments and in text."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any

import pytest

from handlers import Job, Sensitive
from handlers.masking import MASK, is_sensitive, mask, scrub
from handlers.registry import JobType, registry


@dataclass(frozen=True)
class Card:
    number: Annotated[str, Sensitive()]
    holder: str = ""


@dataclass(frozen=True)
class Tree:
    secret: Annotated[str, Sensitive()]
    child: Tree | None = None


@dataclass(frozen=True)
class Everything(Job):
    plain: str
    token: Annotated[str, Sensitive()]
    card: Card
    spare: Card | None = None
    cards: list[Card] = field(default_factory=list)
    named: dict[str, Card] = field(default_factory=dict)
    pins: list[Annotated[int, Sensitive()]] = field(default_factory=list)
    both: tuple[int, Annotated[str, Sensitive()]] = (0, "")
    whole: Annotated[Card | None, Sensitive()] = None
    optional: Annotated[str | None, Sensitive()] = None
    at: Annotated[datetime | None, Sensitive()] = None
    tree: Tree | None = None


@dataclass(frozen=True)
class Plain(Job):
    text: str


def _type(cls: type[Job]) -> JobType:
    return JobType(cls.__name__, cls, lambda job: None)


TYPE = _type(Everything)
DATA: dict[str, Any] = {
    "plain": "seen",
    "token": "tok-1234",
    "card": {"number": "4111-0", "holder": "Ann"},
    "cards": [{"number": "4111-1", "holder": "Bob"}],
    "named": {"a": {"number": "4111-2", "holder": "Cy"}},
    "pins": [1234, 5678],
    "both": [1, "inner"],
    "whole": {"number": "4111-3", "holder": "Di"},
    "at": "2026-01-02T03:04:05Z",
    "tree": {"secret": "root-secret", "child": {"secret": "leaf-secret"}},
}
SECRETS = ["tok-1234", "4111-0", "4111-1", "4111-2", "1234", "inner", "4111-3", "root-secret", "leaf-secret"]


def test_marks_are_found_in_every_kind_of_place() -> None:
    assert TYPE.sensitive_fields == {
        "token", "card.number", "spare.number", "cards.number", "named", "pins", "both", "whole", "optional", "at",
        "tree.secret", "tree.child",
    }  # fmt: skip
    assert _type(Plain).sensitive_fields == frozenset()


def test_mask_hides_what_is_marked_and_nothing_else() -> None:
    hidden = mask(TYPE, DATA)
    assert not [secret for secret in SECRETS if secret in str(hidden)]
    assert hidden["plain"] == "seen"
    assert hidden["card"] == {"number": MASK, "holder": "Ann"}
    assert hidden["cards"] == [{"number": MASK, "holder": "Bob"}]
    assert mask(_type(Plain), {"text": "x", "former": 1}) == {"text": "x", "former": 1}


def test_mask_hides_all_of_an_unknown_type_and_former_names_of_a_sensitive_one() -> None:
    assert mask(None, {"a": [1, {"b": "x"}], "c": None}) == {"a": [MASK, {"b": MASK}], "c": None}
    assert mask(TYPE, {"old_token": "x", "plain": 1}) == {"old_token": MASK, "plain": 1}


@pytest.mark.parametrize("data", [{"card": "4111"}, {"card": [["4111"]]}, {"card": 4111}])
def test_mask_hides_a_value_of_another_shape(data: Any) -> None:
    assert "4111" not in str(mask(TYPE, data))


@pytest.mark.parametrize("data", [None, 1, "text", [], [1], {}])
def test_mask_takes_whatever_is_stored(data: Any) -> None:
    mask(TYPE, data)
    mask(None, data)
    scrub("text", TYPE, data)


def test_mask_hides_inside_a_job_that_is_an_argument() -> None:
    nested = {"job": {"type": "app.Pay", "payload": {"order_id": 1, "token": "tok-1234"}}}
    outer = registry.get("jobs.EnqueueJobCommand")
    assert "tok-1234" not in str(mask(outer, nested))
    assert scrub("it was tok-1234", outer, nested) == f"it was {MASK}"


def test_scrub_hides_each_form_of_each_value() -> None:
    text = " ".join(SECRETS) + f" {datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)} 5678 Ann seen"
    hidden = scrub(text, TYPE, DATA)
    assert not [secret for secret in SECRETS if secret in hidden]
    assert "2026" not in hidden
    assert hidden.endswith("Ann seen")


@pytest.mark.parametrize("secret", ["a'b\"c", "päss wörd", "two\nlines here", "back\\slash", "tab\there"])
def test_scrub_hides_what_repr_json_and_urls_make_of_it(secret: str) -> None:
    import json
    from urllib.parse import quote, quote_plus

    data = {"token": secret}
    for form in (secret, repr(secret), json.dumps(secret), quote(secret), quote_plus(secret)):
        hidden = scrub(f"<{form}>", TYPE, data)
        assert MASK in hidden
        assert form not in hidden


def test_scrub_leaves_short_values_and_switches() -> None:
    assert scrub("it is true, ab", TYPE, {"token": "ab", "pins": [True]}) == "it is true, ab"


def test_is_sensitive_knows_what_lies_in_and_around() -> None:
    assert is_sensitive(TYPE, "token")
    assert is_sensitive(TYPE, "whole.holder")
    assert is_sensitive(TYPE, "card")
    assert not is_sensitive(TYPE, "card.holder")
    assert not is_sensitive(TYPE, "plain")


def test_mask_hides_all_of_an_unknown_job_that_is_an_argument() -> None:
    outer = registry.get("jobs.EnqueueJobCommand")
    assert "tok" not in str(mask(outer, {"job": {"type": "gone.Type", "payload": {"x": "tok"}}}))


def test_scrub_hides_the_beginning_of_a_secret_at_a_cut() -> None:
    hidden = scrub("x" * 294 + "tok-12", TYPE, DATA)
    assert "tok" not in hidden
    assert hidden.endswith(f"x{MASK}")
