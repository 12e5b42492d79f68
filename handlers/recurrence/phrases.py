"""Numbers in words: lists, ranges, ordinals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import reduce
from itertools import pairwise

from handlers.wording import worded


def joined(parts: Iterable[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    *first, last = parts
    if not first:
        return last
    return worded("%(first)s and %(last)s", first=listed(first), last=last)


def listed(parts: Iterable[str]) -> str:
    """``a, b, c``."""
    return reduce(lambda before, part: worded("%(before)s, %(next)s", before=before, next=part), parts)


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
            yield worded("%(first)s to %(last)s", first=name(run[0]), last=name(run[-1]))
        else:
            yield from map(name, run)


def progression(values: Sequence[int]) -> int | None:
    """The one step between neighbours, if there is one."""
    steps = {after - before for before, after in pairwise(values)}
    return steps.pop() if len(steps) == 1 else None


def ordinal(number: int) -> str:
    """``1st``, ``2nd``, ``3rd``, ``11th``; up to 99."""
    if number == 1:
        return worded("1st")
    if number % 10 == 1 and number != 11:
        return worded("%(number)sst", number=number)
    if number % 10 == 2 and number != 12:
        return worded("%(number)snd", number=number)
    if number % 10 == 3 and number != 13:
        return worded("%(number)srd", number=number)
    return worded("%(number)sth", number=number)
