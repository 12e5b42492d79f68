"""The start page: what changed, and is anything stuck?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.http import HttpRequest
from django.utils import timezone

from dashboard.kit import charts, health, metrics, queries, runs, serving
from dashboard.kit.text import duration, inert, rough
from handlers import fleet
from handlers.models import FailureGroup, JobRecord, WorkerProcess
from handlers.models.count import Outcome
from handlers.states import State

SPAN_WORDS = {"1h": "hour", "24h": "24 hours", "7d": "7 days"}
DEFAULT_SPAN = "1h"
NEW_SINCE = timedelta(days=1)


@dataclass(frozen=True)
class Tile:
    """How many jobs are in a state now; or, with ``period``, how many came to it in that time."""

    state: str
    count: queries.Count
    period: str = ""


class QueueLine(NamedTuple):
    """A queue and how it is, in words."""

    row: queries.QueueRow
    words: str
    stuck: bool  # jobs wait, and nobody comes for them


class Span(NamedTuple):
    """One choice of the chart's switch."""

    name: str
    words: str
    current: bool


@dataclass(frozen=True)
class Times:
    """How long jobs took, by share of them."""

    label: str
    p50: str
    p95: str
    p99: str
    count: int


def overview(request: HttpRequest) -> dict[str, Any]:
    """What the start page shows to those who may see jobs."""
    span, problem = _span(request)
    known = health.of(request)
    counts, times = queries.state_counts(), _times(span)
    rows = queries.queue_rows(known.queues)
    workers = known.fleet.workers
    return {
        "shows_jobs": True,
        "tiles": _tiles(counts, times, span),
        "is_empty": not any(count.value for count in counts.values()) and not JobRecord.objects.exists(),
        "spans": [Span(name, words, name == span) for name, words in SPAN_WORDS.items()],
        "span": span,
        "span_words": SPAN_WORDS[span],
        "span_problem": problem,
        "chart": charts.throughput_chart(metrics.throughput(span)),
        "times": times.values(),
        "bulk_runs": runs.going(),
        "groups": new_groups(),
        "failures": queries.last_failures(),
        "queues": queue_lines(rows, workers),
        "workers": workers,
        "busy": sum(fleet.running(worker) > 0 for worker in workers),
        "running": sum(fleet.running(worker) for worker in workers),
        "hosts": len({worker.host for worker in workers}),
        "schedulers": known.fleet.schedulers,
        "lag": lag_words([scheduler.lag_seconds for scheduler in known.fleet.schedulers]),
    }


def new_groups() -> list[FailureGroup]:
    """Failures of a kind that was never seen before yesterday."""
    return metrics.new_groups(timezone.now() - NEW_SINCE)


def lag_words(lags: list[float | None]) -> str:
    """How late the schedulers are. The shortest counts: one that is in time serves all."""
    known = [lag for lag in lags if lag is not None]
    if not known:
        return ""
    return "in time" if min(known) < 1 else f"{duration(min(known))} late"


def queue_lines(rows: list[queries.QueueRow], workers: list[WorkerProcess]) -> list[QueueLine]:
    """Each queue in words, those that need somebody first. ``workers``: the live ones."""
    now = timezone.now()
    lines = []
    for row in rows:
        serve = serving.workers_of(row.name, workers)
        lines.append(QueueLine(row, _words(row, serve, now), bool(row.waiting.value) and not serve))
    return sorted(lines, key=_urgency)


def _urgency(line: QueueLine) -> tuple[bool, bool, str]:
    return not line.stuck, not (line.row.waiting.value or line.row.processing.value), line.row.name


def _words(row: queries.QueueRow, workers: int, now: datetime) -> str:
    """``214 waiting, oldest 9 min, no live worker serves it``."""
    parts = [f"{row.waiting} waiting" if row.waiting.value else "nothing waiting"]
    if row.waiting.value and row.oldest_at:
        parts.append(f"oldest {rough((now - row.oldest_at).total_seconds())}")
    if row.processing.value:
        parts.append(f"{row.processing} running")
    if row.switch:
        parts.append("paused" + (f" by {inert(row.switch.by.removeprefix('user:'), 60)}" if row.switch.by else ""))
    if not row.known:
        parts.append("the code no longer names it")
    parts.append("no live worker serves it" if not workers else "1 worker" if workers == 1 else f"{workers:,} workers")
    return ", ".join(parts)


def _span(request: HttpRequest) -> tuple[str, str]:
    """The span asked for, and what was wrong with what was asked."""
    asked = request.GET.get("span", DEFAULT_SPAN)
    if asked in SPAN_WORDS:
        return asked, ""
    choices = ", ".join(SPAN_WORDS)
    return DEFAULT_SPAN, f"There is no span “{inert(asked, 30)}”; there are {choices}. This is the last hour."


def _tiles(counts: dict[str, queries.Count], times: dict[str, Times], span: str) -> list[Tile]:
    succeeded = Tile(State.SUCCEEDED, queries.Count(times[Outcome.SUCCEEDED].count), f"last {SPAN_WORDS[span]}")
    return [Tile(state, counts[state]) if state in counts else succeeded for state in queries.STATES]


def _times(span: str) -> dict[str, Times]:
    """The waits and the run times, by the outcome that they are counted with."""
    found = {}
    for label, outcome in (("Wait", Outcome.STARTED), ("Run", Outcome.SUCCEEDED)):
        shares = metrics.percentiles(span, outcome=outcome)
        found[outcome.value] = Times(
            label, duration(shares.p50), duration(shares.p95), duration(shares.p99), shares.count
        )
    return found
