"""Who is locked out of signing in, where the site throttles that: its setting ``CONSOLE_LOCKOUTS`` names who knows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Protocol, cast

from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone
from django.utils.module_loading import import_string
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from dashboard.kit.moments import plain

SETTING = "CONSOLE_LOCKOUTS"


class Lockouts(Protocol):
    """What the console asks. ``CONSOLE_LOCKOUTS`` is the dotted path of a class like this, or of a function."""

    def refused_until(self, request: HttpRequest) -> datetime | None:
        """Until when the attempt to sign in that ``request`` made is refused (aware); None: it was not."""
        ...

    def locked(self, logins: Iterable[str]) -> Mapping[str, datetime]:
        """Those of ``logins`` that are locked out, and until when."""
        ...

    def lift(self, login: str) -> int:
        """Let ``login`` in again. How many failures are forgotten; 0: there were none."""
        ...


def lockouts() -> Lockouts | None:
    """Who knows; None: nobody here throttles. Raises ImportError."""
    path = getattr(settings, SETTING, None)
    return cast("Lockouts", import_string(path)()) if path else None


def refused_until(request: HttpRequest) -> datetime | None:
    """Until when the attempt to sign in that ``request`` made is refused; None: it was not."""
    known = lockouts()
    return known.refused_until(request) if known else None


def in_words(until: datetime) -> str:
    """What to tell whoever is refused."""
    minutes = -(-seconds_left(until) // 60)
    told = {"number": minutes, "time": plain(until, seconds=True)}
    return " ".join(
        [
            _("Too many attempts failed."),
            ngettext(
                "Try again in %(number)d minute, at %(time)s.", "Try again in %(number)d minutes, at %(time)s.", minutes
            )
            % told,
            _("Until then no password helps."),
        ]
    )


def seconds_left(until: datetime) -> int:
    """How long that is from now; at least one second."""
    return max(1, -int((timezone.now() - until).total_seconds() // 1))
