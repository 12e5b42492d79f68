"""Whether single keys act for a person: kept for them, wherever they sign in.

Whoever speaks to the machine, or whose hand slips, can turn them off (WCAG 2.2, 2.1.4). The scripts read the answer off
the page's help on keys; without scripts no key acts anyway.
"""

from __future__ import annotations

from django.http import HttpRequest

from dashboard.kit.pages import person_of
from dashboard.models import Preferences
from dashboard.views.saved import kept


def act(request: HttpRequest) -> bool:
    """Whether they do for who asks; yes, until they turn them off."""
    if not hasattr(request, "_single_keys"):
        request._single_keys = kept(request).single_keys  # type: ignore[attr-defined]
    made: bool = request._single_keys  # type: ignore[attr-defined]
    return made


def switch(request: HttpRequest, on: bool) -> None:
    """Keep it."""
    Preferences.objects.update_or_create(person=person_of(request), defaults={"single_keys": on})
    request._single_keys = on  # type: ignore[attr-defined]
