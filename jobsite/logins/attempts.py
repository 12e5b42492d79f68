"""Attempts to sign in, each counted before its password is looked at: so many at once are no more than the limit.

What counts are the failures of the last ``AXES_COOLOFF_TIME``: of one name at one address (``AXES_FAILURE_LIMIT``), of
one name (``LOGIN_FAILURES_OF_NAME``), and at one address (``LOGIN_FAILURES_OF_ADDRESS``). A browser that somebody has
signed in with before counts for itself, so that nobody's failures elsewhere keep that person out. What is refused is
not counted: nobody makes a lock-out longer by trying on.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from axes.models import AccessFailureLog
from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import router
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import salted_hmac

from dashboard.kit.logins import user_named
from handlers.addresses import client_address
from jobsite.logins.browsers import browser_of

IPV6_NETWORK = 64  # bits: one household has as many addresses as it likes
AT_ADDRESS = "this address"
MOST = 500  # failures that one attempt looks at: past a limit none are counted, so there are not so many


class Failure(NamedTuple):
    """One that counts."""

    pk: int
    name: str
    address: str | None
    browser: str
    at: datetime


class Scope(NamedTuple):
    """What a limit is for, and its failures, the last one first."""

    words: str
    limit: int
    failures: list[Failure]

    def opens_at(self, *, beyond: int = 0) -> datetime | None:
        """When the next attempt may come; None: now. ``beyond``: so many more than the limit are needed to close it."""
        if len(self.failures) < self.limit + beyond:
            return None
        return self.failures[self.limit - 1].at + cool_off()

    @property
    def key(self) -> str:
        """A name for this lock-out, however many attempts find it: it begins with the first failure that counts."""
        return f"lock-out of {self.words} {min(failure.pk for failure in self.failures)}"[:64]


@dataclass
class Attempt:
    """One attempt to sign in. ``until``: it is refused until then."""

    name: str
    is_known: bool
    address: str | None
    browser: str
    until: datetime | None = None
    pk: int = 0  # of the failure that it counts as

    def look(self, *, beyond: int = 0) -> None:
        """Find out whether it is refused."""
        self.until = max(filter(None, (scope.opens_at(beyond=beyond) for scope in self.scopes())), default=None)

    def count(self) -> None:
        """Count it as a failure, until it turns out to be none."""
        failures().filter(attempt_time__lte=timezone.now() - cool_off()).delete()
        self.pk = failures().create(username=self.name, ip_address=self.address, user_agent=self.browser).pk

    def succeed(self) -> None:
        """It was none, and those before it were slips."""
        failures().filter(self._alike()).delete()

    def scopes(self) -> list[Scope]:
        """The limits that hold for it."""
        if self.browser:
            return [Scope("this name in this browser", settings.AXES_FAILURE_LIMIT, recent(self._alike()))]
        at_address = Q(ip_address=self.address) if self.address else Q()
        found = recent(Q(username=self.name) | at_address, user_agent="")
        named = [failure for failure in found if failure.name == self.name]
        here = [failure for failure in found if self.address and failure.address == self.address]
        both = [failure for failure in named if failure.address == self.address]
        return [
            Scope("this name at this address", settings.AXES_FAILURE_LIMIT, both),
            Scope("this name", settings.LOGIN_FAILURES_OF_NAME, named),
            Scope(AT_ADDRESS, settings.LOGIN_FAILURES_OF_ADDRESS, here),
        ]

    def _alike(self) -> Q:
        if self.browser:
            return Q(username=self.name, user_agent=self.browser)
        return Q(username=self.name, ip_address=self.address, user_agent="")


def begin(request: HttpRequest, credentials: Any) -> Attempt:
    """Count an attempt, unless it is refused: ``until`` tells."""
    typed = _typed(credentials)
    user = user_named(typed)
    browser = browser_of(request, user) if user else ""
    is_known = user is not None
    attempt = Attempt(_kept(typed, is_known=is_known), is_known, counted_address(request), browser)
    attempt.look()
    if attempt.until is None:
        attempt.count()
        attempt.look(beyond=1)  # others may have been counted meanwhile
    return attempt


def failures() -> QuerySet[Any]:
    """The failures, where they are written."""
    found: QuerySet[Any] = AccessFailureLog.objects.using(router.db_for_write(AccessFailureLog))
    return found


def recent(*which: Q, most: int = MOST, **conditions: Any) -> list[Failure]:
    """Those that count, the last one first, and of more than ``most`` the last ones."""
    found = failures().filter(*which, attempt_time__gt=timezone.now() - cool_off(), **conditions)
    rows = found.order_by("-attempt_time", "-pk").values_list(
        "pk", "username", "ip_address", "user_agent", "attempt_time"
    )
    return [Failure(*row) for row in rows[:most]]


def cool_off() -> timedelta:
    """How long a failure counts."""
    found: timedelta = settings.AXES_COOLOFF_TIME
    return found


def _typed(credentials: Any) -> str:
    return str((credentials or {}).get(get_user_model().USERNAME_FIELD) or "")


def counted_name(request: HttpRequest | None, credentials: Any) -> str:
    """The name under which an attempt is counted."""
    typed = _typed(credentials)
    return _kept(typed, is_known=user_named(typed) is not None)


def _kept(typed: str, *, is_known: bool) -> str:
    """One that nobody has may be a password: it is not kept."""
    return typed if is_known else f"unknown {salted_hmac('jobsite.logins', typed).hexdigest()[:16]}"


def counted_address(request: HttpRequest) -> str | None:
    """The address, or the network, at which an attempt is counted; None: unknown."""
    try:
        address = ipaddress.ip_address(client_address(request))
    except ValueError:
        return None
    if address.version == 4:
        return str(address)
    return str(ipaddress.ip_network((address, IPV6_NETWORK), strict=False).network_address)


def locked(names: Iterable[str]) -> dict[str, datetime]:
    """Those of ``names`` that are locked out, maybe at one address only, and until when."""
    scopes: dict[tuple[str, ...], Scope] = {}
    for failure in recent(username__in=list(names), most=100 * MOST):
        place = (failure.browser, "" if failure.browser else failure.address or "")
        one = scopes.setdefault((failure.name, *place), Scope("", settings.AXES_FAILURE_LIMIT, []))
        one.failures.append(failure)
        if not failure.browser:
            anywhere = scopes.setdefault((failure.name,), Scope("", settings.LOGIN_FAILURES_OF_NAME, []))
            anywhere.failures.append(failure)
    found: dict[str, datetime] = {}
    for (name, *_), scope in scopes.items():
        if until := scope.opens_at():
            found[name] = max(until, found.get(name, until))
    return found
