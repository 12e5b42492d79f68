"""What holds for limits now: the code's values, or a person's."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from handlers.limited import Rate, parse_rate
from handlers.models import LimitOverride
from handlers.registry import registry


class Terms(NamedTuple):
    """How many at once, and how many starts in a time; None: any number."""

    concurrency: int | None
    rate: Rate | None


def terms_of(names: Collection[str], using: str) -> Mapping[str, Terms]:
    """The terms of those of these limits that this code knows."""
    known = {name: limit for name in names if (limit := registry.limits().get(name))}
    if not known:
        return {}
    set_by_people = LimitOverride.objects.using(using).in_bulk(list(known))
    return {name: _terms(set_by_people.get(name) or limit) for name, limit in known.items()}


def _terms(values: object) -> Terms:
    concurrency, rate = values.concurrency, values.rate  # type: ignore[attr-defined] # a Limit's, or an override's
    return Terms(concurrency, parse_rate(rate) if rate else None)
