"""How many of a process's threads one person, and all together, may have at once for what can wait or be asked again.

Kept by each process for itself: it is its threads that others wait for. What takes minutes has ``turns``, which holds
over all processes.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _

RETRY_SECONDS = 5


class Crowded(Exception):
    """Too many of them are answered at this moment."""


class Crowd:
    """Places in this process: ``each`` for one person, ``most`` in all, for whom one waits at most ``patience`` s."""

    def __init__(self, each: int, most: int, *, patience: float = 0.0) -> None:
        self._each, self._most, self._patience = each, most, patience
        self._inside: Counter[str] = Counter()
        self._changed = threading.Condition()

    @contextmanager
    def place(self, person: str) -> Iterator[None]:
        """A place for as long as this takes. ``person``: a key. Raises Crowded."""
        until = time.monotonic() + self._patience
        with self._changed:
            while self._inside[person] >= self._each or self._inside.total() >= self._most:
                if not self._changed.wait(max(until - time.monotonic(), 0)):
                    raise Crowded
            self._inside[person] += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside[person] -= 1
                self._inside += Counter()  # forget who has none
                self._changed.notify_all()


# Of a process's four threads one at least is left for pages that people wait for.
live = Crowd(2, 3)
searches = Crowd(1, 2, patience=3.0)


def later() -> HttpResponse:
    """What a live page gets that is to ask again (429)."""
    return HttpResponse(status=429, headers={"Retry-After": str(RETRY_SECONDS)})


def refused(site: AdminSite, request: HttpRequest, back: str) -> TemplateResponse:
    """The page that asks for patience with a search (429)."""
    reason = _("Searches that look at jobs one by one are under way, yours or of others. Try again in some seconds.")
    context = {**site.each_context(request), "title": _("Not now"), "reason": reason, "back": back, "is_search": True}
    response = TemplateResponse(request, "dashboard/kit/not_now.html", context, status=429)
    response.headers["Retry-After"] = str(RETRY_SECONDS)
    return response
