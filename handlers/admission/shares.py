"""Who gets what is free. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, MutableMapping, Sequence
from itertools import chain, zip_longest
from typing import TypeVar

T = TypeVar("T")
_NOBODY = object()


def share(
    wishes: Sequence[Sequence[int]], rooms: MutableMapping[int, float], closed: Collection[int] = ()
) -> list[int | None]:
    """Give each of ``wishes``, in their order, one place under each of its keys, or none; what is taken is taken away
    from ``rooms``.

    Answers for each the key that refused it, the first one that has no room or is ``closed``; None: it has its places.
    """
    refused_by: list[int | None] = []
    for keys in wishes:
        refused = next((key for key in keys if key in closed or rooms[key] < 1), None)
        if refused is None:
            for key in keys:
                rooms[key] -= 1
        refused_by.append(refused)
    return refused_by


def in_turns(lines: Iterable[Sequence[T]]) -> Iterator[T]:
    """The first of each line, then the second of each, and so on."""
    turns = chain.from_iterable(zip_longest(*lines, fillvalue=_NOBODY))
    return (one for one in turns if one is not _NOBODY)  # type: ignore[misc]
