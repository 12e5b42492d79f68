"""How big the app is whose jobs are made up, by how many jobs there are: the console has more to show then."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Site:
    """An app and what runs it. The made-up jobs are spread evenly over its types, and those over its queues."""

    queues: int
    types: int
    groups: int  # of failures
    workers: int
    recurring: int = 10_000  # of them a thousand each minute


SMALL, MIDDLE, LARGE = 100_000, 1_000_000, 10_000_000  # made-up jobs
USUAL = Site(queues=50, types=200, groups=40, workers=100)
SITES = {
    SMALL: Site(queues=10, types=50, groups=20, workers=10),
    LARGE: Site(queues=1_000, types=1_000, groups=500, workers=1_000),
}


def site(jobs: int) -> Site:
    """That of a database with ``jobs`` made-up ones."""
    return SITES.get(jobs, USUAL)
