"""What the validation library says of a value that does not fit, as words that can be translated.

Their English is the library's own, letter by letter, so what logs, records and the API say does not change. What is not
known here, or what another version of the library says in other words, stays English in every language. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

from handlers.wording import Words, nworded, worded

# By the library's name of the error; two where a value from JSON and an object in Python are spoken of differently.
# The numbers of what is counted are only here to choose from.
_SAID: dict[str, tuple[Words, ...]] = {
    "missing": (worded("Field required"),),
    "extra_forbidden": (worded("Extra inputs are not permitted"),),
    "unexpected_keyword_argument": (worded("Unexpected keyword argument"),),
    "invalid_key": (worded("Keys should be strings"),),
    "recursion_loop": (worded("Recursion error - cyclic reference detected"),),
    "none_required": (worded("Input should be null"), worded("Input should be None")),
    "is_instance_of": (worded("Input should be an instance of %(class)s"),),
    "dataclass_type": (
        worded("Input should be an object"),
        worded("Input should be a dictionary or an instance of %(class)s"),
    ),
    "string_type": (worded("Input should be a valid string"),),
    "string_not_ascii": (worded("String should contain only ASCII characters"),),
    "string_pattern_mismatch": (worded("String should match pattern '%(pattern)s'"),),
    "string_too_short": (
        nworded(
            "String should have at least %(count)s character", "String should have at least %(count)s characters", 2
        ),
    ),
    "string_too_long": (
        nworded("String should have at most %(count)s character", "String should have at most %(count)s characters", 2),
    ),
    "bytes_type": (worded("Input should be a valid bytes"),),
    "bytes_too_short": (
        nworded("Data should have at least %(count)s byte", "Data should have at least %(count)s bytes", 2),
    ),
    "bytes_too_long": (
        nworded("Data should have at most %(count)s byte", "Data should have at most %(count)s bytes", 2),
    ),
    "dict_type": (worded("Input should be an object"), worded("Input should be a valid dictionary")),
    "list_type": (worded("Input should be a valid array"), worded("Input should be a valid list")),
    "tuple_type": (worded("Input should be a valid array"), worded("Input should be a valid tuple")),
    "set_type": (worded("Input should be a valid array"), worded("Input should be a valid set")),
    "frozen_set_type": (worded("Input should be a valid array"), worded("Input should be a valid frozenset")),
    "set_item_not_hashable": (worded("Set items should be hashable"),),
    "too_short": (
        nworded(
            "%(kind)s should have at least %(count)s item after validation, not %(found)s",
            "%(kind)s should have at least %(count)s items after validation, not %(found)s",
            2,
            kind="",
            found="",
        ),
    ),
    "too_long": (
        nworded(
            "%(kind)s should have at most %(count)s item after validation, not %(found)s",
            "%(kind)s should have at most %(count)s items after validation, not %(found)s",
            2,
            kind="",
            found="",
        ),
    ),
    "bool_type": (worded("Input should be a valid boolean"),),
    "bool_parsing": (worded("Input should be a valid boolean, unable to interpret input"),),
    "int_type": (worded("Input should be a valid integer"),),
    "int_parsing": (worded("Input should be a valid integer, unable to parse string as an integer"),),
    "int_parsing_size": (worded("Unable to parse input string as an integer, exceeded maximum size"),),
    "int_from_float": (worded("Input should be a valid integer, got a number with a fractional part"),),
    "float_type": (worded("Input should be a valid number"),),
    "float_parsing": (worded("Input should be a valid number, unable to parse string as a number"),),
    "finite_number": (worded("Input should be a finite number"),),
    "decimal_type": (worded("Decimal input should be an integer, float, string or Decimal object"),),
    "decimal_parsing": (worded("Input should be a valid decimal"),),
    "decimal_max_digits": (
        nworded(
            "Decimal input should have no more than %(count)s digit in total",
            "Decimal input should have no more than %(count)s digits in total",
            2,
        ),
    ),
    "decimal_max_places": (
        nworded(
            "Decimal input should have no more than %(count)s decimal place",
            "Decimal input should have no more than %(count)s decimal places",
            2,
        ),
    ),
    "decimal_whole_digits": (
        nworded(
            "Decimal input should have no more than %(count)s digit before the decimal point",
            "Decimal input should have no more than %(count)s digits before the decimal point",
            2,
        ),
    ),
    "greater_than": (worded("Input should be greater than %(limit)s"),),
    "greater_than_equal": (worded("Input should be greater than or equal to %(limit)s"),),
    "less_than": (worded("Input should be less than %(limit)s"),),
    "less_than_equal": (worded("Input should be less than or equal to %(limit)s"),),
    "multiple_of": (worded("Input should be a multiple of %(number)s"),),
    "enum": (worded("Input should be %(expected)s"),),
    "literal_error": (worded("Input should be %(expected)s"),),
    "date_type": (worded("Input should be a valid date"),),
    "date_parsing": (worded("Input should be a valid date in the format YYYY-MM-DD, %(why)s"),),
    "date_from_datetime_parsing": (worded("Input should be a valid date or datetime, %(why)s"),),
    "date_from_datetime_inexact": (worded("Datetimes provided to dates should have zero time - e.g. be exact dates"),),
    "date_past": (worded("Date should be in the past"),),
    "date_future": (worded("Date should be in the future"),),
    "time_type": (worded("Input should be a valid time"),),
    "time_parsing": (worded("Input should be in a valid time format, %(why)s"),),
    "datetime_type": (worded("Input should be a valid datetime"),),
    "datetime_parsing": (worded("Input should be a valid datetime, %(why)s"),),
    "datetime_from_date_parsing": (worded("Input should be a valid datetime or date, %(why)s"),),
    "datetime_past": (worded("Input should be in the past"),),
    "datetime_future": (worded("Input should be in the future"),),
    "timezone_naive": (worded("Input should not have timezone info"),),
    "timezone_aware": (worded("Input should have timezone info"),),
    "time_delta_type": (worded("Input should be a valid duration"), worded("Input should be a valid timedelta")),
    "time_delta_parsing": (
        worded("Input should be a valid duration, %(why)s"),
        worded("Input should be a valid timedelta, %(why)s"),
    ),
    "uuid_type": (worded("UUID input should be a string, bytes or UUID object"),),
    "uuid_parsing": (worded("Input should be a valid UUID, %(why)s"),),
    "uuid_version": (worded("UUID version %(version)s expected"),),
    "url_type": (worded("URL input should be a string or URL"),),
    "url_parsing": (worded("Input should be a valid URL, %(why)s"),),
    "url_scheme": (worded("URL scheme should be %(expected)s"),),
    "value_error": (worded("Value error, %(why)s"),),
    "assertion_error": (worded("Assertion failed, %(why)s"),),
}

# Why a text is no date, time, length of time or UUID.
_WHY = (
    worded("input is too short"),
    worded("unexpected extra characters at the end of the input"),
    worded("invalid datetime separator, expected `T`, `t`, `_` or space"),
    worded("invalid date separator, expected `-`"),
    worded("invalid time separator, expected `:`"),
    worded("invalid character in year"),
    worded("invalid character in month"),
    worded("invalid character in day"),
    worded("invalid character in hour"),
    worded("invalid character in minute"),
    worded("invalid character in second"),
    worded("invalid character in second fraction"),
    worded("invalid timezone sign"),
    worded("invalid timezone hour"),
    worded("invalid timezone minute"),
    worded("timezone offset must be less than 24 hours"),
    worded("month value is outside expected range of 1-12"),
    worded("day value is outside expected range"),
    worded("hour value is outside expected range of 0-23"),
    worded("minute value is outside expected range of 0-59"),
    worded("second value is outside expected range of 0-59"),
    worded("second fraction value is more than 6 digits long"),
    worded("second fraction digits missing after `.`"),
    worded("invalid digit in duration"),
    worded("`t` character repeated in duration"),
    worded("quantity fraction invalid in duration"),
    worded("quantity invalid in time part of duration"),
    worded("quantity invalid in date part of duration"),
    worded("a numeric value in the duration is too large"),
    worded("durations may not exceed 999,999,999 hours"),
    worded("durations may not exceed 999,999,999 days"),
    worded("invalid character: found `%(found)s` at %(place)s"),
    worded("invalid length: found %(found)s"),
    worded("invalid length: expected length %(expected)s for simple format, found %(found)s"),
    worded("invalid group count: expected %(expected)s, found %(found)s"),
    worded("invalid group length in group %(group)s: expected %(expected)s, found %(found)s"),
)

_KINDS = (worded("List"), worded("Set"), worded("Frozenset"), worded("Tuple"), worded("Dictionary"))

_PLACE = re.compile(r"%\((\w+)\)s")


def in_words(kind: str, said: str) -> str:
    """``said``, the library's message about an error of this ``kind``, as Words where it is known."""
    return _known(_SAID.get(kind, ()), said)


def _known(candidates: Iterable[Words], said: str) -> str:
    for words in candidates:
        for template in filter(None, (words.template, words.plural)):
            if match := _pattern(template).fullmatch(said):
                number = None if words.number is None else int(match["count"])
                values = {name: _value(name, text) for name, text in match.groupdict().items()}
                return Words(words.template, words.plural, number, values)
    return said


def _value(name: str, text: str) -> str:
    if name == "why":
        return _known(_WHY, text)
    if name == "kind":
        return _known(_KINDS, text)
    return _alternatives(text) if name == "expected" else text


def _alternatives(text: str) -> str:
    """``'a', 'b' or 'c'``, whose "or" is a word."""
    first, between, last = text.rpartition(" or ")
    is_one = bool(between) and (first[-1:] == last[:1] in {"'", '"'} or (first[-1:].isdigit() and last[-1:].isdigit()))
    return worded("%(first)s or %(last)s", first=first, last=last) if is_one else text


@cache
def _pattern(template: str) -> re.Pattern[str]:
    parts = _PLACE.split(template)  # text and names in turns
    found = (f"(?P<{part}>.*)" if place % 2 else re.escape(part) for place, part in enumerate(parts))
    return re.compile("".join(found), re.DOTALL)
