"""How often a worker process looks for reference cycles."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from handlers.rq_transport.serving import YOUNG, collect_seldom


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


@pytest.mark.parametrize(
    ("before", "after"),
    [((700, 10, 10), (YOUNG, 10, 10)), ((50_000, 5, 5), (50_000, 5, 5)), ((0, 10, 10), (0, 10, 10))],
    ids=["as Python does", "less often still", "never"],
)
def test_it_is_less_often_than_python_would_and_not_more_often_than_the_site_does(
    before: tuple[int, int, int], after: tuple[int, int, int]
) -> None:
    gc.set_threshold(*before)
    collect_seldom()
    assert gc.get_threshold() == after
