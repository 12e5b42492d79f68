"""What a bar of the chart counts: the jobs that ended in its time, newest first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.dateparse import parse_datetime
from django.utils.http import urlencode
from django.utils.translation import gettext as _

from dashboard.kit import charts, metrics, queries
from dashboard.kit.limits import TookTooLong, time_limit
from handlers.states import State

MOST = 200  # jobs of each kind
SPANS = {span.step for span in metrics.SPANS.values()}
STATES = (State.FAILED.value, State.SUCCEEDED.value)


def link(app: str | None, points: Sequence[metrics.Point]) -> Callable[[charts.Point], str]:
    """Where each bar leads. A bar that counts failures leads to those."""
    page, step = reverse("admin:jobs_ended", current_app=app), points[1].at - points[0].at

    def leads_to(point: charts.Point) -> str:
        began = point.at.astimezone(UTC)
        query = {"since": f"{began:%Y-%m-%dT%H:%MZ}", "until": f"{began + step:%Y-%m-%dT%H:%MZ}"}
        return f"{page}?{urlencode(query)}"

    return leads_to


def jobs_ended(site: AdminSite, request: HttpRequest) -> TemplateResponse:
    """The page: what failed first, then what succeeded."""
    since, until, problem = _times(request)
    parts: list[dict[str, Any]] = []
    if not problem:
        try:
            with time_limit():
                for state in STATES:
                    rows = queries.ended(state, since, until, MOST + 1)
                    parts.append({"state": state, "rows": rows[:MOST], "more": len(rows) > MOST})
        except TookTooLong:
            problem = _("This took too long: choose a bar of a shorter span.")
    context = {
        **site.each_context(request),
        "title": _("Jobs that ended"),
        "since": since,
        "until": until,
        "parts": parts,
        "most": MOST,
        "problem": problem,
        "counted": None if problem else metrics.ended_between(since, until),
    }
    status = 400 if problem else 200
    return TemplateResponse(request, "dashboard/overview/ended.html", context, status=status)


def _times(request: HttpRequest) -> tuple[datetime, datetime, str]:
    """From when to when, and what is wrong with what was asked for."""
    found = []
    for name in ("since", "until"):
        try:
            at = parse_datetime(request.GET.get(name, "")[:40])
        except ValueError:
            at = None
        if at is None or at.tzinfo is None:
            at, wrong = metrics.SPANS["1h"].began(), _("A bar says from when to when; this address does not.")
            return at, at, wrong
        found.append(at.astimezone(UTC))
    since, until = found
    if not timedelta(0) < until - since <= max(SPANS):
        return since, until, _("That is no time that a bar counts.")
    return since, until, ""
