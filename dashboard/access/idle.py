"""Whoever has done nothing for a time is signed out: by the site's ``CONSOLE_IDLE_MINUTES``, if it says so."""

from __future__ import annotations

import time

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import logout
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.utils.translation import gettext as _

SETTING = "CONSOLE_IDLE_MINUTES"
SEEN = "jobs_console_seen"  # of the session: when the person last did something, seconds since 1970
NOTE_SECONDS = 30  # the session is written no more often for that
BY_ITSELF = ("X-Live",)  # headers of what a page asks for without anybody


def minutes() -> float | None:
    """After how many; None: never. Raises ImproperlyConfigured for what is no such number."""
    given = getattr(settings, SETTING, None)
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int | float) or not 1 <= given < 10**6:
        raise ImproperlyConfigured(
            f"{SETTING} must be a number of minutes from 1 on, or None for never, not {given!r}."
        )
    return float(given)


def look(request: HttpRequest) -> None:
    """Sign the person out, if it was too long; else note that there is somebody."""
    most = minutes()
    if most is None or not request.user.is_authenticated:
        return
    now = time.time()
    seen = request.session.get(SEEN)
    if isinstance(seen, int | float) and now - seen > most * 60:
        logout(request)
        messages.info(request, _("You did nothing for %d minutes, so you were signed out.") % most)
    elif (seen is None or now - seen > NOTE_SECONDS) and not any(name in request.headers for name in BY_ITSELF):
        request.session[SEEN] = now
