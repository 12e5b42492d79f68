"""What became of the few jobs that a person has just done something to: a part of a page, which asks for it soon."""

from __future__ import annotations

from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from dashboard.kit.became import FOLLOWED, became
from dashboard.kit.reach import kept


def after(site: AdminSite, request: HttpRequest) -> HttpResponse:
    """The part alone, for the jobs that ``id`` names, at most FOLLOWED."""
    named = [text for text in request.GET.getlist("id")[:FOLLOWED] if text.isascii() and text.isdigit()]
    ids = list(kept(request, {int(text): None for text in named if len(text) < 19}))
    answer = TemplateResponse(request, "dashboard/kit/became.html", {"became": became(ids) if ids else None})
    answer.headers["Cache-Control"] = "no-store"
    return answer
