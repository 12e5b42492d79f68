"""Counts of what happens to jobs: rows appended in the transaction of the move itself, summed later by the fold.

One row for each key of a batch, so nothing is hot: no two transactions ever touch the same row.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from handlers.models.count import BUCKETS, JobCountDelta, Outcome
from handlers.models.kept import database
from handlers.models.sql import database_now, insert
from handlers.states import State

DELTAS = JobCountDelta._meta.db_table
DELTA_COLUMNS = {
    "minute": "time", "queue": "text", "job_type": "text", "outcome": "text", "fingerprint": "text", "version": "text",
    "count": "int", "seconds": "float", "buckets": "json",
}  # fmt: skip


@dataclass(slots=True)
class _Sum:
    count: int = 0
    seconds: float = 0.0
    buckets: dict[int, int] = field(default_factory=dict)


class Tally:
    """What one batch adds to the counts of one minute."""

    def __init__(self, now: datetime) -> None:
        self._minute = now.replace(second=0, microsecond=0)
        self._sums: dict[tuple[str, str, str, str, str], _Sum] = {}

    def add(
        self,
        queue: str,
        job_type: str,
        outcome: Outcome,
        *,
        fingerprint: str = "",
        version: str = "",
        seconds: float | None = None,
    ) -> None:
        """One more of ``outcome``; ``seconds`` is how long it took, if that is known."""
        key = (queue, job_type, outcome.value, fingerprint, version)
        found = self._sums.get(key) or self._sums.setdefault(key, _Sum())
        found.count += 1
        if seconds is not None:
            found.seconds += seconds
            place = bucket(seconds)
            found.buckets[place] = found.buckets.get(place, 0) + 1

    def rows(self) -> list[tuple[Any, ...]]:
        """The rows to append, as DELTA_COLUMNS has them."""
        return [
            (self._minute, *key, found.count, found.seconds, json.dumps(found.buckets) if found.buckets else None)
            for key, found in self._sums.items()
        ]

    def save(self, connection: BaseDatabaseWrapper, cursor: CursorWrapper | None = None) -> None:
        """Append the rows in the caller's transaction: one statement, or none. ``cursor``: as ``insert`` takes it."""
        if self._sums:
            insert(connection, JobCountDelta, DELTA_COLUMNS, self.rows(), cursor=cursor)


def count(outcome: Outcome, keys: Iterable[tuple[str, str]], *, using: str | None = None) -> None:
    """One more of ``outcome`` for each of ``keys`` (queue, job type), beside what moves count as."""
    connection = connections[using or database()]
    tally = Tally(database_now(connection))
    for queue, job_type in keys:
        tally.add(queue, job_type, outcome)
    tally.save(connection)


def bucket(seconds: float) -> int:
    """Which bucket of durations holds ``seconds``: the first whose upper bound is not below it."""
    return bisect_left(BUCKETS, seconds)


def outcome_of(source: State, targets: Iterable[State]) -> Outcome | None:
    """What a move from ``source`` through ``targets`` counts as; None where it counts as nothing."""
    first, *_ = path = list(targets)
    if source == State.PROCESSING:
        if first == State.SUCCEEDED:
            return Outcome.SUCCEEDED
        if first == State.FAILED:
            return Outcome.RETRIED if path[-1] == State.SCHEDULED else Outcome.FAILED
        if first == State.SCHEDULED:
            return Outcome.SNOOZED
        if first == State.WAITING:
            return Outcome.WAITED
        return Outcome.DROPPED if first == State.DELETED else Outcome.HANDED_BACK
    if path[-1] == State.DELETED:
        return Outcome.DELETED
    if source == State.ENQUEUED and first == State.FAILED:
        return Outcome.FAILED
    if source in (State.AWAITING, State.WAITING):
        return None
    return Outcome.REVIVED
