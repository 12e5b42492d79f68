"""The pages between a form that was sent when nobody was signed in, and the form again: nothing was done, try again."""

from __future__ import annotations

import copy
from typing import Any

from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponse, QueryDict
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.cache import add_never_cache_headers
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from dashboard.access import asked
from dashboard.access.asked import Asked
from dashboard.kit.drafts import DRAFT

SIGNED_OUT = gettext_lazy("You had been signed out when you sent this, so nothing was done.")
STALE = gettext_lazy(
    "Nobody was signed in: the form was an old one, or the browser keeps no cookies, which this site needs. Try again."
)
SIGNED_IN_ANEW = gettext_lazy("You signed in anew after this page was made, so nothing was done.")


def signed_out(site: AdminSite, request: HttpRequest) -> HttpResponse:
    """The login in the place of an answer. It carries on what was asked for."""
    return login_again(site, request, asked.of(site, request))


def login_again(site: AdminSite, request: HttpRequest, wanted: Asked | None, why: str = "") -> HttpResponse:
    """The login page; ``wanted``: what is to be given back after it; ``why`` it comes again, where it is not clear."""
    look = copy.copy(request)
    look.method, look.POST = "GET", QueryDict()  # or the login would read the form as its own
    page = wanted.page if wanted else reverse("admin:index", current_app=site.name)
    context = {"app_path": reverse("admin:login", current_app=site.name), "next": page, "why": why}
    answer = site.login(look, context | carried(wanted))
    answer.status_code = 403
    return answer


def carried(wanted: Asked | None) -> dict[str, Any]:
    """What the login page needs to carry ``wanted`` on."""
    if wanted is None:
        return {}
    is_lost = not wanted.fields
    return {"asked_field": asked.FIELD, "asked": wanted.text, "asked_words": SIGNED_OUT, "asked_is_lost": is_lost}


def nothing_done(site: AdminSite, request: HttpRequest, wanted: Asked, why: str) -> TemplateResponse:
    """What was asked for, given back: the form as it was sent, where its page shows that; else a button to send it."""
    is_form = asked.shows_drafts(site, wanted.path)
    context = {
        **site.each_context(request),
        "title": _("Nothing was done"),
        "why": why,
        "wanted": wanted,
        "is_form": is_form,
        "fields": [*wanted.fields, *([(DRAFT, "1")] if is_form else [])],
        "words": "" if is_form else asked.words(site, wanted),
        "typed": [] if is_form else wanted.typed,
    }
    response = TemplateResponse(request, "dashboard/access/nothing_done.html", context)
    add_never_cache_headers(response)
    return response


def only_sent(site: AdminSite, request: HttpRequest, allowed: str) -> TemplateResponse:
    """For who opens an address that only a button sends to."""
    context = {**site.each_context(request), "title": _("Nothing was done")}
    response = TemplateResponse(request, "dashboard/access/only_sent.html", context, status=405)
    response.headers["Allow"] = allowed
    return response
