"""The list of recurring jobs: what will run next, and how did it go?"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib.admin import AdminSite
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import HttpRequest, QueryDict
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from dashboard.kit.limits import TookTooLong, time_limit
from dashboard.kit.payload_page import ENQUEUE
from dashboard.kit.vocabulary import STATES as STATE_WORDS
from dashboard.recurring.access import ADD, need_open, seen
from dashboard.recurring.entries import entries
from dashboard.recurring.keys import NAME, NEXT
from handlers.failures import clean
from handlers.models import JobRecord, RecurringJob
from handlers.states import State

SIZE = 50  # on a page
MAX_SEARCH = 200  # characters
STATES = {
    "active": gettext_lazy("active"),
    "paused": STATE_WORDS["paused"],
    "ended": STATE_WORDS["ended"],
    "failing": gettext_lazy("failing: the last job failed"),
}
ORDERS = {"": gettext_lazy("By name"), "next": gettext_lazy("By what runs next")}
PLACES = ("after", "before")
ORIGINS = {"code": gettext_lazy("declared in code"), "here": gettext_lazy("made elsewhere")}


def recurring(site: AdminSite, request: HttpRequest) -> TemplateResponse:
    """Those that the address asks for, a page at a time."""
    need_open(request)
    now = timezone.now()
    asked = {name: clean(request.GET.get(name, ""), MAX_SEARCH) for name in ("q", "state", "origin", "order", *PLACES)}
    rows: list[RecurringJob] = []
    too_slow = False
    try:
        with time_limit():
            rows, links = _page(request, _wanted(seen(request), asked, now), asked)
    except TookTooLong:
        too_slow, links = True, {}
    context = {
        **site.each_context(request),
        "title": _("Recurring jobs"),
        "entries": entries(request, rows, now),
        **asked,
        **links,
        "too_slow": too_slow,
        "is_filtered": any(asked.values()),
        "states": STATES,
        "origins": ORIGINS,
        "orders": ORDERS,
        "may_add": request.user.has_perm(ADD) and request.user.has_perm(ENQUEUE),
    }
    return TemplateResponse(request, "dashboard/recurring/list.html", context, status=503 if too_slow else 200)


def _wanted(rows: QuerySet[RecurringJob], asked: dict[str, str], now: datetime) -> QuerySet[RecurringJob]:
    for word in asked["q"].split():
        rows = rows.filter(Q(name__icontains=word) | Q(job_type__icontains=word))
    not_now = Q(paused_at=None) | Q(paused_until__lte=now)
    match asked["state"]:
        case "active":
            rows = rows.filter(not_now, next_at__isnull=False)
        case "paused":
            rows = rows.filter(Q(paused_until=None) | Q(paused_until__gt=now), paused_at__isnull=False)
        case "ended":
            rows = rows.filter(not_now, next_at=None)
        case "failing":
            failed = JobRecord.objects.filter(pk=OuterRef("last_job_id"), state=State.FAILED.value)
            rows = rows.filter(Exists(failed), last_job_id__isnull=False)
    if asked["origin"] in ORIGINS:
        rows = rows.filter(in_code=asked["origin"] == "code")
    return rows


def _page(
    request: HttpRequest, rows: QuerySet[RecurringJob], asked: dict[str, str]
) -> tuple[list[RecurringJob], dict[str, Any]]:
    """The rows of one page, by key, and the addresses of those around it."""
    key = NEXT if asked["order"] == "next" else NAME
    if asked["before"]:
        found = list(key.before(rows, asked["before"])[: SIZE + 1])
        shown = found[:SIZE][::-1]
        has_before, has_after = len(found) > SIZE, True
    else:
        found = list(key.after(rows, asked["after"])[: SIZE + 1])
        shown = found[:SIZE]
        has_before, has_after = bool(asked["after"]), len(found) > SIZE
    links = {
        "first_url": _url(request) if asked["before"] or asked["after"] else "",
        "before_url": _url(request, before=key.place(shown[0])) if has_before and shown else "",
        "after_url": _url(request, after=key.place(shown[-1])) if has_after and shown else "",
    }
    return shown, links


def _url(request: HttpRequest, **place: str) -> str:
    query: QueryDict = request.GET.copy()
    for name in PLACES:
        query.pop(name, None)
    query.update(place)
    return f"?{query.urlencode()}"
