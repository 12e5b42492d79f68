"""Browsers that somebody has signed in with: a cookie says whose, and nothing else can be done with it."""

from __future__ import annotations

import secrets
from typing import Any

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponseBase
from django.utils.deprecation import MiddlewareMixin

SALT = "jobsite.logins.browsers"
MAX_AGE = 180 * 24 * 3600  # seconds


def browser_of(request: HttpRequest, user: Any) -> str:
    """A key of the browser that ``request`` comes from; empty where ``user`` has never signed in with it."""
    try:
        owner, key = signing.loads(
            request.COOKIES.get(settings.LOGIN_BROWSER_COOKIE_NAME, ""), salt=SALT, max_age=MAX_AGE
        )
    except (signing.BadSignature, ValueError, TypeError):
        return ""
    return f"browser {key}" if owner == str(user.pk) else ""


class RememberBrowser(MiddlewareMixin):
    """Give the browser its cookie when somebody has signed in."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        """Middleware's hook."""
        user = getattr(request, "has_signed_in", None)
        if user is not None and not browser_of(request, user):
            response.set_cookie(
                settings.LOGIN_BROWSER_COOKIE_NAME,
                signing.dumps([str(user.pk), secrets.token_hex(8)], salt=SALT),
                max_age=MAX_AGE,
                path=settings.SESSION_COOKIE_PATH,
                secure=settings.SESSION_COOKIE_SECURE,
                httponly=True,
                samesite="Lax",
            )
        return response
