"""Numbers in words: lists, ranges, ordinals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise


def joined(parts: Iterable[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last


def runs(values: Sequence[int]) -> Iterator[list[int]]:
    """The stretches of sorted values that follow each other by one."""
    run = [values[0]]
    for before, value in pairwise(values):
        if value != before + 1:
            yield run
            run = []
        run.append(value)
    yield run


def ranges(values: Sequence[int], name: Callable[[int], str] = str) -> Iterator[str]:
    """Each value by its name, three and more that follow each other as ``a to c``."""
    for run in runs(values):
        if len(run) > 2:
            yield f"{name(run[0])} to {name(run[-1])}"
        else:
            yield from map(name, run)


def progression(values: Sequence[int]) -> int | None:
    """The one step between neighbours, if there is one."""
    steps = {after - before for before, after in pairwise(values)}
    return steps.pop() if len(steps) == 1 else None


def ordinal(number: int) -> str:
    """``1st``, ``2nd``, ``3rd``, ``11th``."""
    if 10 < number % 100 < 14:
        return f"{number}th"
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th') }"
