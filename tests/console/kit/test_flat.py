"""Flat lists: filtered, sorted and paged by the address, what needs somebody first."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from django.test import RequestFactory

from dashboard.kit.flat import Column, Flat, flat


class Thing(NamedTuple):
    name: str
    size: int | None
    needs: int = 0


THINGS = [Thing(f"t{n:03}", n % 7 or None, needs=int(n == 77)) for n in range(120)]
COLUMNS: dict[str, Column[Thing]] = {
    "name": Column("Name", lambda thing: thing.name),
    "size": Column("Size", lambda thing: thing.size, falls=True),
}


def listed(rf: RequestFactory, query: str = "") -> Flat[Thing]:
    return flat(rf.get(f"/x/?{query}"), THINGS, COLUMNS, text=lambda thing: thing.name, needs=lambda thing: thing.needs)


def test_what_needs_somebody_comes_first_and_the_rest_by_the_first_column(rf: RequestFactory) -> None:
    page = listed(rf)
    assert [thing.name for thing in page.rows[:3]] == ["t077", "t000", "t001"]
    assert (page.total, page.trouble, page.pages, len(page.rows)) == (120, 1, 3, 50)
    assert (page.newer_url, page.older_url) == ("", "?page=2")
    assert [thing.name for thing in listed(rf, "trouble=1").rows] == ["t077"]


def test_heading_sorts_and_sorts_the_other_way_when_pressed_again_with_the_unknown_last(rf: RequestFactory) -> None:
    head = listed(rf, "q=t0").heads["size"]
    assert (head.url, head.sorted) == ("?q=t0&sort=-size", "")
    page = listed(rf, "q=t0&sort=-size")
    assert page.rows[0].size == 6
    assert page.heads["size"] == ("Size", "?q=t0&sort=size", "descending")
    last = listed(rf, "q=t0&sort=size&page=2").rows[-1]
    assert last.size is None
    assert listed(rf, "sort=-name").rows[0].name == "t119"


def test_pages_have_every_row_once(rf: RequestFactory) -> None:
    names = [thing.name for page in (1, 2, 3) for thing in listed(rf, f"sort=size&page={page}").rows]
    assert sorted(names) == [thing.name for thing in THINGS]


@pytest.mark.parametrize("query", ["sort=colour", "page=0", "page=9", "page=x", "page=1e3", "sort=-"])
def test_what_is_no_order_or_page_is_said_and_passed_over(rf: RequestFactory, query: str) -> None:
    page = listed(rf, query)
    assert page.problem
    assert page.rows[0].name == "t077"
