"""RQ's own jobs, of a site that uses django-rq beside the engine: what waits where, and what RQ does not say of it."""

from __future__ import annotations

from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _

from handlers.adoption import listing
from handlers.exceptions import TransportUnavailable

FURTHEST = 10_000_000


def foreign(site: AdminSite, request: HttpRequest) -> TemplateResponse:
    """The site's queues, and a page of the jobs in one of RQ's places."""
    names = listing.names()
    queue = request.GET.get("queue", names[0] if names else "")
    kind = request.GET.get("kind", listing.QUEUED)
    offset = _offset(request.GET.get("offset", ""))
    context = {
        **site.each_context(request),
        "title": _("RQ's own jobs"),
        "queue": queue,
        "kind": kind,
        "kinds": [each for each in listing.KINDS if each != listing.SCHEDULER],
        "offset": offset,
        "before": max(offset - listing.PAGE, 0),
        "after": offset + listing.PAGE,
    }
    try:
        rows = listing.foreign_queues()
        jobs, more = listing.jobs(kind, queue, offset)
        scheduled = listing.scheduled_count()
        is_empty = not scheduled and not any(count for row in rows for count in row.counts.values())
        context |= {"rows": rows, "scheduled": scheduled, "is_empty": is_empty, "jobs": jobs, "more": more}
    except TransportUnavailable as error:
        context["away"] = str(error)
    return TemplateResponse(request, "dashboard/foreign/foreign.html", context)


def _offset(text: str) -> int:
    return min(int(text), FURTHEST) if text.isascii() and text.isdigit() and len(text) < 12 else 0
