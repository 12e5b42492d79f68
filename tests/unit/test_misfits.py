"""What does not fit a hint is told in words that can be translated, and in the validation library's English."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import make_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen, MultipleOf
from pydantic import AfterValidator, AwareDatetime, Field, TypeAdapter, ValidationError

from handlers import InvalidJob, Job
from handlers.misfits import in_words
from handlers.payloads import decode
from handlers.wording import Words

MISSING = object()


class Size(Enum):
    SMALL = "small"
    LARGE = "large"


Line = make_dataclass("Line", [("sku", str)])


def odd(value: int) -> int:
    """A rule of the class's own."""
    raise ValueError("must be odd")


def refusal(hint: Any, value: Any) -> Words:
    """What is said of the field ``x`` with this hint and this value from JSON."""
    cls = make_dataclass("Asked", [("x", hint)], bases=(Job,), frozen=True)
    with pytest.raises(InvalidJob) as caught:
        decode(cls, {} if value is MISSING else {"x": value}, type_name="shop.Asked")
    words = caught.value.args[0]
    assert isinstance(words, Words)
    assert words == f"shop.Asked: x: {words.values['message']}"
    return words.values["message"]  # type: ignore[no-any-return]


def parts(words: Any) -> Iterator[Any]:
    """The words, and what stands in them."""
    yield words
    for value in words.values.values() if isinstance(words, Words) else ():
        yield from parts(value)


# What the inputs of the console's forms can send to each kind of field.
@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (int, MISSING),
        (int, "many"),
        (int, 1.5),
        (int, None),
        (Annotated[int, Ge(1)], 0),
        (Annotated[int, Gt(1)], 1),
        (Annotated[float, Le(0.5)], 0.75),
        (Annotated[Decimal, Lt(2)], "2"),
        (Annotated[int, MultipleOf(5)], 7),
        (float, "much"),
        (bool, "yes"),
        (str, 7),
        (Annotated[str, MinLen(1)], ""),
        (Annotated[str, MinLen(3)], "ab"),
        (Annotated[str, MaxLen(2)], "abc"),
        (Annotated[str, Field(pattern="^a")], "b"),
        (Decimal, "much"),
        (Decimal, []),
        (Annotated[Decimal, Field(max_digits=3)], "12345"),
        (Annotated[Decimal, Field(decimal_places=1)], "1.234"),
        (Annotated[Decimal, Field(max_digits=4, decimal_places=2)], "123.4"),
        (Size, "huge"),
        (Literal["a", "b", "c"], "d"),
        (Literal[1, 2], 3),
        (Literal["only"], "other"),
        (date, "soon"),
        (date, "2026-13-01"),
        (date, "2026-02-30"),
        (datetime, "soon"),
        (datetime, "2026-01-01T25:00:00Z"),
        (AwareDatetime, "2026-01-01T10:00:00"),
        (time, "25:00"),
        (time, 7.5),
        (timedelta, "an hour"),
        (timedelta, "PT1X"),
        (UUID, "soon"),
        (UUID, "0000"),
        (UUID, "00000000-0000-0000-0000-00000000000"),
        (list[int], "1"),
        (Annotated[list[int], MinLen(1)], []),
        (Annotated[list[int], MaxLen(2)], [1, 2, 3]),
        (tuple[int, ...], "1"),
        (frozenset[str], "1"),
        (dict[str, int], []),
        (Line, "1"),
        (None, 1),
    ],
)
def test_misfit_of_each_kind_of_field_is_words(hint: Any, value: Any) -> None:
    said = refusal(hint, value)
    for part in parts(said):
        # Of the library's English nothing is left over: the rest is values, such as a limit or a name.
        assert isinstance(part, Words | int) or not any(word in part for word in ("expected", "invalid", " or ")), part


def test_misfit_is_shown_in_the_readers_language_and_told_in_english() -> None:
    known = {
        "Input should be %(expected)s": "Erlaubt: %(expected)s",
        "%(first)s or %(last)s": "%(first)s oder %(last)s",
        "Input should be a valid date in the format YYYY-MM-DD, %(why)s": "Kein Datum: %(why)s",
        "input is too short": "zu kurz",
        "%(kind)s should have at most %(count)s items after validation, not %(found)s": "%(kind)s: %(found)s",
        "List": "Liste",
    }

    def shown(words: Words) -> str:
        return words.shown(
            lambda text: known.get(text, text), lambda one, many, number: known.get(many if number > 1 else one, many)
        )

    choice, day, many = (
        refusal(hint, value)
        for hint, value in ((Literal["a", "b"], "c"), (date, "soon"), (Annotated[list[int], MaxLen(2)], [1, 2, 3]))
    )
    assert (shown(choice), str(choice)) == ("Erlaubt: 'a' oder 'b'", "Input should be 'a' or 'b'")
    assert shown(day) == "Kein Datum: zu kurz"
    assert shown(many) == "Liste: 3"


def test_what_a_class_says_itself_stays_as_it_is() -> None:
    said = refusal(Annotated[int, AfterValidator(odd)], 2)
    assert (said.template, said.values) == ("Value error, %(why)s", {"why": "must be odd"})


@pytest.mark.parametrize(
    ("kind", "said"),
    [("int_type", "Input is a whole number or else"), ("no_such_kind", "Field required"), ("enum", "No")],
)
def test_what_is_not_known_stays_as_it_is(kind: str, said: str) -> None:
    found = in_words(kind, said)
    assert found == said
    assert not isinstance(found, Words)


def test_an_or_inside_of_a_choice_is_no_word() -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(Literal["now or never"]).validate_python("then")
    (first,) = caught.value.errors()
    words = in_words(first["type"], first["msg"])
    assert isinstance(words, Words)
    assert words.values == {"expected": "'now or never'"}
