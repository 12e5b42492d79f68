"""The list of workflows: which are under way, and what holds them up?"""

from __future__ import annotations

from django.contrib.admin import AdminSite
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.translation import gettext as _

from dashboard.kit import by_key
from dashboard.kit.limits import TookTooLong, time_limit
from dashboard.kit.reach import concerning, in_words
from dashboard.kit.search import PLACES
from dashboard.kit.workflows import MOST_JOBS, WINDOW, Looker
from dashboard.workflows.access import VIEW, need_open
from dashboard.workflows.standing import STATES, Standing
from handlers.failures import clean
from handlers.models import Workflow

SIZE = 50  # on a page
MAX_SEARCH = 200  # characters
FILTERS = ("q", "state")
UNINDEXED = ("ended",)  # states that the newest workflows need not have: most succeed


def workflows(site: AdminSite, request: HttpRequest) -> TemplateResponse:
    """Those that the address asks for, newest first, a page at a time."""
    need_open(request)
    reach = concerning(request, VIEW)
    asked = {name: clean(request.GET.get(name, ""), MAX_SEARCH).strip() for name in FILTERS}
    rows: list[Workflow] = []
    links: dict[str, str] = {}
    too_slow = False
    is_sought = bool(asked["q"]) or asked["state"] in UNINDEXED
    looker = Looker(reach, _wanted(**asked), is_sought=is_sought, named=_number(asked["q"]))
    try:
        with time_limit():
            rows, links = by_key.page(
                request.GET, looker.read(SIZE + 1), SIZE, keeps=FILTERS, reached=lambda: looker.reached
            )
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
        "looked": WINDOW if is_sought and reach.is_whole and looker.reached else None,
        "is_first": not any(request.GET.get(name) for name in PLACES),
        "states": STATES,
        "reach_words": "" if reach.is_whole else in_words(reach),
        "most_jobs": MOST_JOBS,
    }
    return TemplateResponse(request, "dashboard/workflows/list.html", context, status=503 if too_slow else 200)


def _number(q: str) -> int:
    """The id that is asked for; 0 for none."""
    digits = q.removeprefix("#")
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 19 else 0


def _wanted(q: str, state: str) -> QuerySet[Workflow]:
    rows = Workflow.objects.all()
    if number := _number(q):
        rows = rows.filter(Q(pk=number) | Q(title__icontains=q))
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
