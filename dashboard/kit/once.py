"""One form, one act: each form that starts or repeats work carries a key, and what is sent twice counts once."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable

from django.http import HttpRequest

from handlers.once import once, was_done

FIELD = "form_key"


def new_key() -> str:
    """A key for a form that is about to be shown."""
    return secrets.token_urlsafe(16)


def sent_before(request: HttpRequest) -> bool:
    """Whether this very form, filled in like this, did its act: for what is gone by that."""
    return bool(request.POST.get(FIELD)) and was_done(_key(request))


def act_once(request: HttpRequest, act: Callable[[], str]) -> tuple[str, bool]:
    """Do ``act``, unless this very form, filled in like this, did it: its answer, and whether that was now.

    Filled in otherwise it is another act: people go back in their browser and change a field.
    """
    if not request.POST.get(FIELD):
        return act(), True
    return once(_key(request), act)


def _key(request: HttpRequest) -> str:
    fields = sorted((name, values) for name, values in request.POST.lists() if name != "csrfmiddlewaretoken")
    sent = json.dumps([str(request.user.pk), request.get_full_path(), fields])
    return hashlib.sha256(sent.encode()).hexdigest()
