"""What the console asks of lock-outs: ``CONSOLE_LOCKOUTS``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from django.http import HttpRequest

from jobsite.logins import attempts
from jobsite.logins.backend import attempt_of


class Lockouts:
    """Those that this project knows of."""

    def refused_until(self, request: HttpRequest) -> datetime | None:
        """Until when the attempt that ``request`` made is refused; None: it was not."""
        attempt = attempt_of(request)
        return attempt.until if attempt else None

    def locked(self, logins: Iterable[str]) -> Mapping[str, datetime]:
        """Those of ``logins`` that are locked out, maybe at one address only, and until when."""
        return attempts.locked(logins)

    def lift(self, login: str) -> int:
        """Let ``login`` in again, wherever. How many failures are forgotten."""
        return attempts.failures().filter(username=login).delete()[0]
