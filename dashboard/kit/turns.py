"""How many slow things one person, and all together, may ask the console for at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from django.conf import settings
from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _

from handlers import turns
from handlers.turns import NoTurn, Place

__all__ = ["NoTurn", "Place", "held", "refused", "take"]

EACH, ALL = 2, 3  # where the settings CONSOLE_SLOW_EACH and CONSOLE_SLOW_ALL say nothing else; a process has 4 threads


def take(request: HttpRequest, what: str, *, within: timedelta = turns.LEASE) -> Place:
    """A place for ``what``, an ``export`` or the like, to be given back, kept ``within`` this time. Raises NoTurn."""
    each, most = (
        int(getattr(settings, f"CONSOLE_SLOW_{name}", known)) for name, known in (("EACH", EACH), ("ALL", ALL))
    )
    return turns.take(what, str(request.user.pk), str(request.user.get_username()), each=each, most=most, within=within)


@contextmanager
def held(request: HttpRequest, what: str) -> Iterator[None]:
    """A place for as long as this takes. Raises NoTurn."""
    place = take(request, what)
    try:
        yield
    finally:
        place.give_back()


def refused(site: AdminSite, request: HttpRequest, why: NoTurn, back: str) -> TemplateResponse:
    """The page that says who has the places, and when to try again (429)."""
    context = {**site.each_context(request), "title": _("Not now"), "reason": str(why), "back": back}
    response = TemplateResponse(request, "dashboard/kit/not_now.html", context, status=429)
    response.headers["Retry-After"] = str(turns.RETRY_SECONDS)
    return response
