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
    return {name: _set_by_people(set_by_people.get(name)) or of_code(limit) for name, limit in known.items()}


def of_code(limit: Limit) -> Terms:
    """What the code says."""
    return Terms(limit.concurrency, parse_rate(limit.rate) if limit.rate else None)


def _set_by_people(row: LimitOverride | None) -> Terms | None:
    with suppress(InvalidJob):  # written into the table by hand: the code's values hold
        return Terms(row.concurrency, parse_rate(row.rate) if row.rate else None) if row else None
    return None
