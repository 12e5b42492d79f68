"""Where passwords are looked at: ``AUTHENTICATION_BACKENDS`` and ``AXES_HANDLER``."""

from __future__ import annotations

from functools import partial
from typing import Any

from asgiref.sync import sync_to_async
from axes.backends import AxesStandaloneBackend
from axes.handlers.database import AxesDatabaseHandler
from axes.signals import user_locked_out
from django.contrib.auth.backends import ModelBackend
from django.db.models import Q
from django.http import HttpRequest

from handlers.addresses import client_address
from handlers.audit import acts_from, audit
from handlers.once import once
from jobsite.logins.attempts import AT_ADDRESS, Attempt, Scope, begin, failures


class ThrottledBackend(AxesStandaloneBackend, ModelBackend):  # type: ignore[misc]  # axes has no hints
    """Django's own, asked only where the attempt is not refused."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **kwargs: Any
    ) -> Any:
        """The user whose password it is. Raises PermissionDenied, as axes has it, where the attempt is refused.

        Without a request there is nobody to refuse: a program asks.
        """
        if request is not None:
            AxesStandaloneBackend.authenticate(self, request, username, password, **kwargs)
        user = ModelBackend.authenticate(self, request, username, password, **kwargs)
        if user is not None and (attempt := attempt_of(request)) is not None:
            attempt.succeed()
        return user

    async def aauthenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **kwargs: Any
    ) -> Any:
        """The same: Django's own would look at the password without asking the above."""
        return await sync_to_async(self.authenticate)(request, username, password, **kwargs)


class Handler(AxesDatabaseHandler):  # type: ignore[misc]
    """What axes asks and tells. Its own keeps what was typed, has one limit for all, and counts too late."""

    def is_allowed(self, request: HttpRequest, credentials: Any = None) -> bool:
        """Whether the password may be looked at."""
        attempt = begin(request, credentials)
        request.login_attempt = attempt  # type: ignore[attr-defined]
        return attempt.until is None

    def user_login_failed(self, sender: Any, credentials: Any, request: Any = None, **kwargs: Any) -> None:
        """After a wrong password, or a refusal. A failure that was one too many is told."""
        attempt = attempt_of(request)
        if attempt is None or not attempt.pk:
            return
        if attempt.until is None:
            attempt.look()
        if attempt.until is None:
            return
        request.axes_locked_out, request.axes_credentials = True, credentials
        for scope in attempt.scopes():
            if scope.opens_at() and (attempt.is_known or scope.words == AT_ADDRESS):
                once(scope.key, partial(_tell, request, attempt, scope))
        user_locked_out.send("axes", request=request, username=attempt.name, ip_address=request.axes_ip_address)

    def user_logged_in(self, sender: Any, request: Any, user: Any, **kwargs: Any) -> None:
        """The console's audit tells; here the browser is to be remembered."""
        request.has_signed_in = user

    def user_logged_out(self, sender: Any, request: Any, user: Any, **kwargs: Any) -> None:
        """The session's end."""

    def reset_attempts(
        self, *, ip_address: str | None = None, username: str | None = None, ip_or_username: bool = False
    ) -> int:
        """Lift lock-outs: ``manage.py axes_reset``, ``axes_reset_username``, ``axes_reset_ip``. How many failures."""
        given = [Q(**{name: value}) for name, value in (("ip_address", ip_address), ("username", username)) if value]
        chosen = Q()
        for one in given:
            chosen = chosen | one if ip_or_username else chosen & one
        return failures().filter(chosen).delete()[0]


def attempt_of(request: Any) -> Attempt | None:
    """The attempt to sign in that ``request`` made, if it did."""
    return getattr(request, "login_attempt", None)


def _tell(request: HttpRequest, attempt: Attempt, scope: Scope) -> str:
    """The audit's entry. A name that nobody has is not kept."""
    until = scope.opens_at()
    told = {"of": scope.words, "failures": scope.limit, "until": until.isoformat() if until else None}
    with acts_from(client_address(request)):
        audit("sign-in", "lock_out", f"user {attempt.name}" if attempt.is_known else "sign-in", 1, data=told)
    return ""
