"""What holds for limits now: the code's values, or a person's."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import NamedTuple

from handlers.exceptions import InvalidJob
from handlers.limited import Limit, Rate, parse_rate
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
    found: dict[str, Terms] = {}
    for name, limit in known.items():
        row = set_by_people.get(name)
        found[name] = (row and set_terms(row.concurrency, row.rate)) or of_code(limit)
    return found


def of_code(limit: Limit) -> Terms:
    """What the code says."""
    return Terms(limit.concurrency, parse_rate(limit.rate) if limit.rate else None)


def set_terms(concurrency: int | None, rate: str) -> Terms | None:
    """What a person has set; None for what was written into the table by hand and cannot be read: the code's hold."""
    with suppress(InvalidJob):
        return Terms(concurrency, parse_rate(rate) if rate else None)
    return None
