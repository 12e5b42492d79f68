"""A list's page by key, the newest first, and the addresses of those around it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

from django.db.models import Model, Q
from django.http import QueryDict

from dashboard.kit.search import AFTER, BEFORE, place
from handlers.selection import InvalidSelection

M = TypeVar("M", bound=Model)


def page(
    query: QueryDict,
    read: Callable[[Q, str], list[M]],
    size: int,
    *,
    keeps: Sequence[str] = (),
    anchor: str = "",
    reached: Callable[[], int | None] = lambda: None,
) -> tuple[list[M], dict[str, str]]:
    """At most ``size`` rows, and ``first_url``, ``newer_url`` and ``older_url``, each empty where there is none.

    ``read`` answers one row more than a page has of those that fit, in this order ("pk" or "-pk"). ``keeps``: what else
    of ``query`` stays in the addresses; ``anchor``: where on the page they lead. A place that is none is the beginning.
    ``reached``: the last row that ``read`` looked at, where it gave up before it had enough.
    """
    try:
        before, after = place(query, BEFORE), place(query, AFTER)
    except InvalidSelection:
        before = after = None
    forth = (Q(pk__gt=after), "pk") if after is not None else (Q() if before is None else Q(pk__lt=before), "-pk")
    found = read(*forth)
    further = found[size - 1].pk if len(found) > size else reached()
    shown = found[:size]
    if after is not None:
        shown = shown[::-1]
        older, newer = shown[-1].pk if shown else None, further
    else:
        older, newer = further, shown[0].pk if shown and before is not None else None
    kept = {name: value for name in keeps if (value := query.get(name, ""))}
    return shown, {
        "first_url": _url(kept) if before is not None or after is not None else "",
        "newer_url": "" if newer is None else _url({**kept, AFTER: str(newer)}) + anchor,
        "older_url": "" if older is None else _url({**kept, BEFORE: str(older)}) + anchor,
    }


def among(
    read: Callable[[int | None, int], Sequence[M]],
    ours: Callable[[Sequence[M]], Collection[int]],
    size: int,
    *,
    step: int,
    most: int,
) -> tuple[list[M], int | None]:
    """The first ``size`` rows whose ids are among ``ours``; and the last that was looked at, where it were ``most``
    and not enough of them.

    ``read``: what comes after a row of that id, or first, and how many of it: ``step``.
    """
    found: list[M] = []
    last: int | None = None
    for _ in range(0, most, step):
        some = read(last, step)
        within = ours(some)
        found += [row for row in some if row.pk in within]
        if len(found) >= size or len(some) < step:
            return found[:size], None
        last = some[-1].pk
    return found, last


def _url(values: dict[str, str]) -> str:
    query = QueryDict(mutable=True)
    query.update(values)
    return f"?{query.urlencode()}"
