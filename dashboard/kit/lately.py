"""Sums over all queues or types, which all pages of this process share for some seconds.

Of a thousand they take as long as the rest of a page. They are of whole minutes and of a day, so that nobody misses
what came within those seconds.
"""

from __future__ import annotations

from dashboard.kit import metrics
from dashboard.kit.shared import Shared

SECONDS = 10.0

_rates = Shared[dict[str, metrics.Rate]](SECONDS)
_counts = Shared[dict[str, metrics.TypeCounts]](SECONDS)


def queue_rates() -> dict[str, metrics.Rate]:
    """How fast each queue fills and empties."""
    return _rates.get((), metrics.queue_rates)


def type_counts() -> dict[str, metrics.TypeCounts]:
    """How many attempts of each type ended in the last day, and how many of them failed."""
    return _counts.get((), metrics.type_counts)
