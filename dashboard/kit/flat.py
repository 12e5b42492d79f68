"""A list of what a project has some of, up to thousands: all known at once, filtered, sorted and paged by the address.

What needs somebody comes first unless the address asks for another order. What an address asks for and is none is
passed over, and said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.http import urlencode
from django.utils.translation import gettext as _

Row = TypeVar("Row")

PAGE = 50
LONGEST = 200  # characters of the filter
TROUBLE = "trouble"


class Column(NamedTuple, Generic[Row]):
    """One that a list can be sorted by. ``key``: what is sorted, None comes last. ``falls``: the most first."""

    words: str | Promise
    key: Callable[[Row], Any]
    falls: bool = False


class Head(NamedTuple):
    """A column's heading: where it leads, and how the list is sorted by it, if it is."""

    words: str
    url: str
    sorted: str  # "", "ascending" or "descending"


@dataclass(frozen=True)
class Flat(Generic[Row]):
    """A page of a list."""

    rows: Sequence[Row]
    total: int
    fitting: int
    trouble: int  # of all
    q: str
    only_trouble: bool
    sort: str
    page: int
    pages: int
    heads: Mapping[str, Head]
    problem: str

    @property
    def kept(self) -> list[tuple[str, str]]:
        """What the filter's form carries along."""
        return [("sort", self.sort)] if self.sort != TROUBLE else []

    def url(self, **other: str | int) -> str:
        """The address that asks for this, but for what is told otherwise."""
        here: dict[str, str | int] = {"q": self.q, TROUBLE: "1" if self.only_trouble else "", "sort": self.sort}
        told = {**here, **other}
        unsaid = {"sort": TROUBLE, "page": 1}
        said = {name: value for name, value in told.items() if value and value != unsaid.get(name)}
        return f"?{urlencode(said)}"

    @property
    def newer_url(self) -> str:
        """The page before; empty on the first."""
        return self.url(page=self.page - 1) if self.page > 1 else ""

    @property
    def older_url(self) -> str:
        """The page after; empty on the last."""
        return self.url(page=self.page + 1) if self.page < self.pages else ""

    @property
    def trouble_url(self) -> str:
        """What needs somebody alone."""
        return self.url(**{TROUBLE: "1"})

    @property
    def all_url(self) -> str:
        """All of it, in the same order."""
        return self.url(**{TROUBLE: "", "q": ""})


def flat(
    request: HttpRequest,
    every: Sequence[Row],
    columns: Mapping[str, Column[Row]],
    *,
    text: Callable[[Row], str],
    needs: Callable[[Row], int],
    size: int = PAGE,
) -> Flat[Row]:
    """The page of ``every`` that the address asks for.

    ``text``: where the words of the filter are looked for; ``needs``: how much a row needs somebody, 0: not at all;
    ``columns``: by their names in the address, the first one the order among equals; none: as ``every`` is.
    """
    asked = request.GET
    q, problem = asked.get("q", "").replace("\x00", "")[:LONGEST].strip(), ""
    words, only = q.lower().split(), asked.get(TROUBLE) == "1"
    sort = asked.get("sort", "") or TROUBLE
    name, falls = sort.removeprefix("-"), sort.startswith("-")
    if sort != TROUBLE and name not in columns:
        sort, problem = TROUBLE, _("There is no such order; what needs somebody comes first.")
        name, falls = sort, False
    fitting = [row for row in every if all(word in text(row).lower() for word in words)]
    fitting = [row for row in fitting if needs(row)] if only else fitting
    usual = next(iter(columns.values()), None)
    if usual is not None:
        fitting.sort(key=usual.key)
    if sort == TROUBLE:
        fitting.sort(key=lambda row: -needs(row))
    elif columns[name] is not usual or falls:
        key = columns[name].key
        known = [row for row in fitting if key(row) is not None]
        known.sort(key=key, reverse=falls)
        fitting = [*known, *(row for row in fitting if key(row) is None)]
    pages = max(-(-len(fitting) // size), 1)
    number = asked.get("page", "1")
    page = int(number) if number.isascii() and number.isdigit() and len(number) < 7 else 0
    if not 1 <= page <= pages:
        page, problem = 1, _("There is no such page; this is the first.")
    shown = fitting[(page - 1) * size : page * size]
    made = Flat(
        shown, len(every), len(fitting), sum(needs(row) > 0 for row in every), q, only, sort, page, pages, {}, problem
    )
    heads = {key: _head(made, key, column) for key, column in columns.items()}
    return Flat(**{**vars(made), "heads": heads})


def _head(page: Flat[Row], name: str, column: Column[Row]) -> Head:
    rising, falling = name, f"-{name}"
    first, second = (falling, rising) if column.falls else (rising, falling)
    is_sorted = "ascending" if page.sort == rising else "descending" if page.sort == falling else ""
    return Head(str(column.words), page.url(sort=second if page.sort == first else first), is_sorted)
