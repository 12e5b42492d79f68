"""A form that changes one thing, once: how it is sent, and how what came of it is said, with a way to undo it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from django.contrib import messages
from django.http import HttpRequest
from django.utils.translation import gettext as _

from dashboard.kit import undoing
from dashboard.kit.once import act_once
from dashboard.kit.said import say
from handlers.audit import noted


class Switched(NamedTuple):
    """What came of it."""

    did: bool  # whether it changed something, now or when the form was sent before
    is_new: bool  # whether that was now
    undo: int | None  # the entry of the audit by which it can be undone


def switch_once(request: HttpRequest, act: Callable[[], Any]) -> Switched:
    """Do ``act`` unless this very form did it before; what answers False changed nothing. What it raises is raised."""
    with noted() as entries:
        answer, is_new = act_once(request, lambda: str(int(act() is not False)))
    entry = undoing.offered(entries) if is_new and answer == "1" else None
    return Switched(answer == "1", is_new, entry.pk if entry else None)


def tell(request: HttpRequest, found: Switched, done: str, not_done: str = "", *, can_undo: bool = True) -> None:
    """Say what came of it: ``done``, in a sentence, or ``not_done`` where nothing changed."""
    if not found.is_new:
        before = _("That was when this was sent before; nothing was done now.")
        messages.info(request, f"{done if found.did else not_done} {before}")
    elif found.did:
        say(request, messages.SUCCESS, done, undo=found.undo if can_undo else None)
    else:
        messages.warning(request, not_done)
