"""The start page: what changed, and is anything stuck?"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import get_language, gettext_lazy, pgettext_lazy
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from dashboard.kit import charts, health, lately, metrics, queries, reach, runs
from dashboard.kit.numbers import thousands
from dashboard.kit.shared import LIVE_SECONDS, Shared, is_live
from dashboard.kit.text import duration, inert
from dashboard.overview import ended, lines, since
from dashboard.overview.lines import QueueLine
from handlers import deploys, fleet
from handlers.fleet import LiveProcess
from handlers.models import Deploy, FailureGroup, GroupState, JobRecord
from handlers.models.count import Outcome
from handlers.states import State

SPAN_WORDS = {"1h": pgettext_lazy("the last", "hour"), "24h": gettext_lazy("24 hours"), "7d": gettext_lazy("7 days")}
DEFAULT_SPAN = "1h"
NEW_SINCE = timedelta(days=1)
LOOKED_BACK = NEW_SINCE + timedelta(hours=1)  # as far as news are looked for: for most people far enough
MOST_GROUPS = 5  # that are new


@dataclass(frozen=True)
class Tile:
    """How many jobs are in a state now; or, with ``period``, how many came to it in that time."""

    state: str
    count: queries.Count
    period: str = ""
    ended: str = ""  # attempts that ended so in the span
    ended_words: str = ""
    change: str = ""  # against the span before


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


@dataclass(frozen=True)
class Told:
    """What the page tells everybody who sees the same jobs: nothing in it is one person's."""

    context: dict[str, Any]
    ended: metrics.Ended
    marks: list[Deploy]
    groups: list[FailureGroup]  # that began or came back, of a day at least
    acts: list[since.Act]
    drawn: dict[str, str] = field(default_factory=dict)  # the HTML of it


_told_live = Shared[Told](LIVE_SECONDS)


def overview(request: HttpRequest) -> dict[str, Any]:
    """What the start page shows to those who may see jobs."""
    span, problem = _span(request)
    visited, usual = since.visited(request), timezone.now() - LOOKED_BACK

    def look() -> Told:
        return _look(request, span, min(visited, usual))

    # Told anew: a person, somebody who has been away for long, and who asked for what there is not, which is repeated.
    is_shared = is_live(request) and visited >= usual and not problem
    told = _told_live.get(_alike(request, span), look) if is_shared else look()
    news = since.news_since(visited, told.ended.failed_since(visited), told.marks, told.groups, told.acts, request)
    return {**told.context, "since": news, "span_problem": problem, "drawn": told.drawn}


def _alike(request: HttpRequest, span: str) -> Hashable:
    """What those have in common who are told the same; above all how far they reach."""
    app, may_audit = getattr(request, "current_app", None), request.user.has_perm(since.VIEW_AUDIT)
    where = reverse("admin:index", current_app=app)  # a host may have the console at several addresses
    return reach.seen(request), span, app, where, get_language(), timezone.get_current_timezone_name(), may_audit


def _look(request: HttpRequest, span: str, begin: datetime) -> Told:
    """Find it out. ``begin``: news are told from then on."""
    known, app, now = health.of(request), getattr(request, "current_app", None), timezone.now()
    counts, times, ended_then = queries.state_counts(), _times(span), metrics.ended(span, begin)
    points, workers = ended_then.points, known.fleet.workers
    rows = health.queue_rows(request)
    # Only a queue with some jobs on it may grow.
    rates = lately.queue_rates() if any(row.waiting.value >= metrics.GROWS for row in rows) else {}
    queues = queue_lines(rows, workers, rates)
    marks, groups = deploys.between(min(begin, points[0].at), now), metrics.stirred_groups(begin)
    regressed = [group for group in groups if group.state == GroupState.REGRESSED]
    context = {
        "shows_jobs": True,
        "tiles": _tiles(counts, times, span, changes(points, ended_then.before)),
        "is_empty": not any(count.value for count in counts.values()) and not JobRecord.objects.exists(),
        "spans": [Span(name, str(words), name == span) for name, words in SPAN_WORDS.items()],
        "span": span,
        "span_words": str(SPAN_WORDS[span]),
        "chart": charts.throughput_chart(points, marks, ended.link(app, points)),
        "times": times.values(),
        "bulk_runs": runs.going(),
        "trouble": lines.trouble(known, queues, regressed, app, waiting=counts[State.WAITING.value]),
        "groups": [group for group in groups if group.first_at >= now - NEW_SINCE][:MOST_GROUPS],
        "failures": queries.last_failures(),
        "workers": workers,
        "busy": sum(fleet.running(worker) > 0 for worker in workers),
        "running": sum(fleet.running(worker) for worker in workers),
        "hosts": len({worker.host for worker in workers}),
        "schedulers": known.fleet.schedulers,
        "lag": lag_words([scheduler.lag_seconds for scheduler in known.fleet.schedulers]),
    }
    acts = since.newest_acts() if request.user.has_perm(since.VIEW_AUDIT) else []
    return Told(context, ended_then, marks, groups, acts)


@require_POST
def caught_up(request: HttpRequest) -> HttpResponse:
    """The button that says: I have seen this; or, with ``visit``, what the page sends once somebody looks at it."""
    if not request.user.has_perm(health.VIEW_JOBS):
        raise PermissionDenied(_("You may not see jobs."))
    if request.POST.get("visit"):
        since.note_visit(request)
        return HttpResponse(status=204)
    since.caught_up(request)
    return HttpResponseRedirect(reverse("admin:index", current_app=getattr(request, "current_app", None)))


def queue_lines(
    rows: list[queries.QueueRow], workers: list[LiveProcess], rates: dict[str, metrics.Rate] | None = None
) -> list[QueueLine]:
    """Each queue in words, those that need somebody first. ``workers``: the live ones."""
    return lines.queue_lines(rows, workers, timezone.now(), rates)


def changes(points: Sequence[metrics.Point], before: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """How many attempts failed and succeeded in the span, and how many more than in the one before."""
    found = {}
    for outcome in (Outcome.FAILED, Outcome.SUCCEEDED):
        now = sum(getattr(point, outcome.value) for point in points)
        found[outcome.value] = (now, now - before.get(outcome.value, 0))
    return found


def lag_words(lags: list[float | None]) -> str:
    """How late the schedulers are. The shortest counts: one that is in time serves all."""
    known = [lag for lag in lags if lag is not None]
    if not known:
        return ""
    return _("in time") if min(known) < 1 else _("%(time)s late") % {"time": duration(min(known))}


def _span(request: HttpRequest) -> tuple[str, str]:
    """The span asked for, and what was wrong with what was asked."""
    asked = request.GET.get("span", DEFAULT_SPAN)
    if asked in SPAN_WORDS:
        return asked, ""
    choices = ", ".join(SPAN_WORDS)
    return DEFAULT_SPAN, _("There is no span “%(asked)s”; there are %(choices)s. This is the last hour.") % {
        "asked": inert(asked, 30),
        "choices": choices,
    }


def _tiles(
    counts: dict[str, queries.Count], times: dict[str, Times], span: str, changed: dict[str, tuple[int, int]]
) -> list[Tile]:
    words = _("last %(span)s") % {"span": SPAN_WORDS[span]}
    tiles = []
    for state in queries.STATES:
        ended, more = changed.get(state, (0, 0))
        if state == State.SUCCEEDED:
            tiles.append(Tile(state, queries.Count(times[Outcome.SUCCEEDED].count), words, change=_signed(more)))
        elif state == State.FAILED:
            tiles.append(Tile(state, counts[state], ended=thousands(ended), ended_words=words, change=_signed(more)))
        else:
            tiles.append(Tile(state, counts[state]))
    return tiles


def _signed(number: int) -> str:
    return f"{number:+,}".replace("-", "\N{MINUS SIGN}") if number else "±0"


def _times(span: str) -> dict[str, Times]:
    """The waits and the run times, by the outcome that they are counted with."""
    found = {}
    both = metrics.percentiles_by_outcome(span, (Outcome.STARTED, Outcome.SUCCEEDED))
    for label, outcome in ((_("Wait"), Outcome.STARTED), (_("Run"), Outcome.SUCCEEDED)):
        shares = both[outcome]
        found[outcome.value] = Times(
            label, duration(shares.p50), duration(shares.p95), duration(shares.p99), shares.count
        )
    return found
