"""What became of an attempt to sign in: told to the person, in the log, and on the audit."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import TYPE_CHECKING, cast

from django.contrib.admin import AdminSite
from django.contrib.auth import authenticate
from django.core.exceptions import NON_FIELD_ERRORS
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext as _

from dashboard.kit import lockouts
from dashboard.kit.logins import user_named
from dashboard.kit.moments import marked
from dashboard.kit.text import one_line
from handlers.addresses import client_address
from handlers.audit import acts_from, audit, user_name

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser

logger = logging.getLogger("dashboard.logins")
REFUSED = "refused: too many attempts failed"


def note(request: HttpRequest, answer: HttpResponse) -> None:
    """Write down what became of the form that was sent to the login page, whose ``answer`` this is.

    Whoever is refused for a time is told for how long (429), whatever the password was.
    """
    typed = request.POST.get("username", "")
    if answer.status_code == 302:
        user = cast("AbstractBaseUser", request.user)
        with acts_from(client_address(request)):
            audit(user, "sign_in", f"user {user.get_username()}", 1)
        _log(logging.INFO, request, user_name(user), "signed in")
    elif until := lockouts.refused_until(request):
        form = (getattr(answer, "context_data", None) or {}).get("form")
        if form is not None:
            form.errors.clear()
            form.errors[NON_FIELD_ERRORS] = form.error_class([marked(lockouts.in_words(until))], error_class="nonfield")
        answer.status_code = 429
        answer.headers["Retry-After"] = str(lockouts.seconds_left(until))
        _log(logging.WARNING, request, _named(typed), REFUSED)
    elif typed and request.POST.get("password"):
        _log(logging.WARNING, request, _named(typed), "failed: wrong name or password, or no account of the staff")


def refused(request: HttpRequest, password: str) -> datetime | None:
    """Until when the own ``password``, typed before it is changed, may not be looked at; None: it may.

    It counts as an attempt to sign in, or who finds an open session could try as often as they like.
    """
    known = lockouts.lockouts()
    if known is None or not password:
        return None
    user = cast("AbstractBaseUser", request.user)
    if authenticate(request, username=user.get_username(), password=password) is not None:
        return None
    until = known.refused_until(request)
    _log(logging.WARNING, request, user_name(user), "failed: wrong old password" if until is None else REFUSED)
    return until


def not_now(site: AdminSite, request: HttpRequest, until: datetime) -> TemplateResponse:
    """The page for whoever may not try the own password now (429)."""
    context = {**site.each_context(request), "title": _("Not now"), "reason": lockouts.in_words(until)}
    response = TemplateResponse(request, "dashboard/access/not_now.html", context, status=429)
    response.headers["Retry-After"] = str(lockouts.seconds_left(until))
    return response


def _named(typed: str) -> str:
    """The name as the log may have it. One that nobody has may be a password, typed in the wrong field."""
    if (user := user_named(typed)) is not None:
        return user_name(user)
    return f"unknown {salted_hmac('dashboard.logins', typed).hexdigest()[:8]}"


def _log(level: int, request: HttpRequest, person: str, outcome: str) -> None:
    address = client_address(request)
    told = {"person": one_line(person), "address": address, "outcome": outcome}
    logger.log(level, "sign-in of %s from %s %s", told["person"], address or "a unix socket", outcome, extra=told)
