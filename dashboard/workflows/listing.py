"""The list of workflows: which are under way, and what holds them up?"""

from __future__ import annotations

from typing import Any

from django.contrib.admin import AdminSite
from django.db.models import Q, QuerySet
from django.http import HttpRequest, QueryDict
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.translation import gettext as _

from dashboard.kit.limits import TookTooLong, time_limit
from dashboard.kit.search import AFTER, BEFORE, PLACES, place
from dashboard.workflows.access import need_open
from dashboard.workflows.standing import STATES, Standing
from handlers.failures import clean
from handlers.models import Workflow
from handlers.selection import InvalidSelection

SIZE = 50  # on a page
MAX_SEARCH = 200  # characters


def workflows(site: AdminSite, request: HttpRequest) -> TemplateResponse:
    """Those that the address asks for, newest first, a page at a time."""
    need_open(request)
    asked = {name: clean(request.GET.get(name, ""), MAX_SEARCH).strip() for name in ("q", "state")}
    rows: list[Workflow] = []
    links: dict[str, str] = {}
    too_slow = False
    try:
        with time_limit():
            rows, links = _page(request, _wanted(**asked))
    except TookTooLong:
        too_slow = True
    now = timezone.now()
    context = {
        **site.each_context(request),
        "title": _("Workflows"),
        "standings": [Standing(row, now) for row in rows],
        **asked,
        **links,
        "too_slow": too_slow,
        "is_filtered": any(asked.values()),
        "is_first": not any(request.GET.get(name) for name in PLACES),
        "states": STATES,
    }
    return TemplateResponse(request, "dashboard/workflows/list.html", context, status=503 if too_slow else 200)


def _wanted(q: str, state: str) -> QuerySet[Workflow]:
    rows = Workflow.objects.all()
    number = q.removeprefix("#")
    if number.isascii() and number.isdigit() and len(number) < 19:
        rows = rows.filter(Q(pk=int(number)) | Q(title__icontains=q))
    else:
        for word in q.split():
            rows = rows.filter(title__icontains=word)
    match state:
        case "running":
            rows = rows.filter(finished_at=None, paused_at=None, cancelled_at=None, failed=0)
        case "paused":
            rows = rows.filter(finished_at=None, paused_at__isnull=False)
        case "failed":
            rows = rows.filter(failed__gt=0, finished_at=None)
        case "succeeded" | "ended":
            kind = Q(deleted=0) if state == "succeeded" else Q(deleted__gt=0)
            rows = rows.filter(kind, finished_at__isnull=False, cancelled_at=None)
        case "cancelled":
            rows = rows.filter(cancelled_at__isnull=False)
    return rows


def _page(request: HttpRequest, rows: QuerySet[Workflow]) -> tuple[list[Workflow], dict[str, str]]:
    """The rows of one page, by key, and the addresses of those around it. A place that is none is the beginning."""
    try:
        before, after = place(request.GET, BEFORE), place(request.GET, AFTER)
    except InvalidSelection:
        before = after = None
    if after is not None:
        read = list(rows.filter(pk__gt=after).order_by("pk")[: SIZE + 1])
        shown, older, newer = read[:SIZE][::-1], True, len(read) > SIZE
    else:
        rows = rows if before is None else rows.filter(pk__lt=before)
        read = list(rows.order_by("-pk")[: SIZE + 1])
        shown, older, newer = read[:SIZE], len(read) > SIZE, before is not None
    return shown, {
        "first_url": _url(request) if before is not None or after is not None else "",
        "newer_url": _url(request, **{AFTER: shown[0].pk}) if newer and shown else "",
        "older_url": _url(request, **{BEFORE: shown[-1].pk}) if older and shown else "",
    }


def _url(request: HttpRequest, **where: Any) -> str:
    """This list from another place on."""
    query = QueryDict(mutable=True)
    for name in ("q", "state"):
        if value := request.GET.get(name, ""):
            query[name] = value
    for name, value in where.items():
        query[name] = str(value)
    return f"?{query.urlencode()}"
