"""The words of the search box: ``qualifier:value``, ``args.name=value``, ``"a phrase"``, a word; and back to text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

from handlers.selection.errors import InvalidSelection
from handlers.wording import Figures, worded

MAX_TEXT = 2_000  # characters of a whole search
MAX_VALUE = 300  # characters of one value

# As in code, an argument may have "=" before its value; elsewhere that is a part of a word.
_QUALIFIER = re.compile(r"((?i:args)(?:\.[\w.\-\[\]]+)?(?==)|[A-Za-z][\w.\-\[\]]*(?=:))[:=]")
_PLAIN = re.compile(r'[^\s"]+')


class Term(NamedTuple):
    """One word of a search."""

    qualifier: str  # empty: free text
    value: str
    quoted: bool  # then it is text, never a number or a list
    start: int = 0  # where in the text it is
    end: int = 0


def check_text(text: str, field: str = "", limit: int = MAX_TEXT) -> None:
    """Raises InvalidSelection for what no database stores, or what is too long to be a search."""
    if len(text) > limit:
        raise InvalidSelection(
            field,
            worded(
                "at most %(limit)s characters, not %(text)s",
                limit=Figures(f"{limit:,}"),
                text=Figures(f"{len(text):,}"),
            ),
        )
    for char in text:
        if unicodedata.category(char) in ("Cc", "Cs") and char not in "\t\r\n":
            raise InvalidSelection(
                field, worded("holds a character that cannot be searched for: U+%(char)s", char=f"{ord(char):04X}")
            )


def terms(text: str) -> Iterator[Term]:
    """The terms of ``text``; without a value is a qualifier with nothing right after it.

    Raises InvalidSelection for an open quotation mark, or an empty pair of them after a qualifier.
    """
    check_text(text)
    place = 0
    while place < len(text):
        if text[place].isspace():
            place += 1
            continue
        qualifier, start = "", place
        if match := _QUALIFIER.match(text, place):
            qualifier, place = match[1], match.end()
        if place < len(text) and text[place] == '"':
            value, place = _quoted(text, place + 1, qualifier)
            quoted = True
        else:
            plain = _PLAIN.match(text, place)
            value, quoted = (plain[0], False) if plain else ("", False)
            place += len(value)
        if not value.strip():
            if not qualifier:
                continue  # an empty phrase asks for nothing
            if not quoted:
                yield Term(qualifier, "", quoted=False, start=start, end=place)
                continue
            raise InvalidSelection(qualifier, worded("say what to look for right after the colon"))
        check_text(value, qualifier, MAX_VALUE)
        yield Term(qualifier, value, quoted, start, place)


def _quoted(text: str, place: int, qualifier: str) -> tuple[str, int]:
    found: list[str] = []
    while place < len(text):
        char = text[place]
        if char == '"':
            return "".join(found), place + 1
        if char == "\\" and text[place + 1 : place + 2] in ('"', "\\"):
            place += 1
            char = text[place]
        found.append(char)
        place += 1
    raise InvalidSelection(qualifier, worded("the closing quotation mark is missing"))


def written(value: str, *, always: bool = False) -> str:
    """``value`` as ``terms`` reads it back: in quotation marks where it must be."""
    plain = not always and _PLAIN.fullmatch(value) and not {",", "\\"} & set(value)
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return value if plain else f'"{escaped}"'
