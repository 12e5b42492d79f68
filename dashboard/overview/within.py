"""The start page of who sees some jobs only: what is within, counted by looking at it; no figure counts others."""

from __future__ import annotations

from typing import Any, NamedTuple

from django.http import HttpRequest
from django.utils import timezone

from dashboard.kit import health, queries, reach, runs
from dashboard.kit.limits import TookTooLong, time_limit
from dashboard.kit.vocabulary import state_label
from dashboard.overview import lines
from handlers.models import JobRecord
from handlers.selection import Reach, Selection
from handlers.states import State

MOST = 100  # jobs of one state that are counted
SECONDS = 0.5  # for all counts; what takes longer is not told
FAILURES = 8
COUNTED = tuple(state for state in queries.STATES if state not in (State.SUCCEEDED.value, State.DELETED.value))


class Tile(NamedTuple):
    """How many jobs within are in a state; None: it would take too long to count them."""

    state: str
    words: str
    number: queries.Count | None


def overview_within(request: HttpRequest, within: Reach) -> dict[str, Any]:
    """What the start page shows of the jobs ``within``."""
    known, app = health.of(request), getattr(request, "current_app", None)
    rows = [row for row in health.queue_rows(request) if within.has_all_of_queue(row.name)]
    queues = lines.queue_lines(rows, known.fleet.workers, timezone.now())
    return {
        "shows_within": True,
        "reach_words": reach.in_words(within),
        "tiles": _tiles(within),
        "trouble": lines.trouble(known, queues, [], app),
        "bulk_runs": [run for run in runs.going() if runs.is_within(run.operation, within)],
        "failures": _failures(within),
    }


def _tiles(within: Reach) -> list[Tile]:
    counts: dict[str, queries.Count] = {}
    try:
        with time_limit(SECONDS):
            for state in COUNTED:
                some = Selection(states=(state,)).kept_within(within)
                counts[state] = queries.capped(some.rows(), MOST)
    except TookTooLong:
        pass
    return [Tile(state, str(state_label(state)), counts.get(state)) for state in COUNTED]


def _failures(within: Reach) -> list[JobRecord]:
    """The newest failed jobs, by when they were made."""
    try:
        with time_limit(SECONDS):
            return Selection(states=(State.FAILED.value,)).kept_within(within).page(FAILURES)
    except TookTooLong:
        return []
