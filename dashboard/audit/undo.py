"""The address that undoes what a person did a moment ago: POST only, their own act, and with the permission still."""

from __future__ import annotations

from typing import cast

from django.contrib import messages
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from dashboard.kit import health, undoing
from dashboard.kit.once import act_once
from dashboard.kit.pages import sent_from
from handlers.models import AuditEntry

LEVELS = {"0": messages.WARNING, "1": messages.SUCCESS}


@require_POST
def undo(request: HttpRequest, entry_id: int) -> HttpResponse:
    """Take it back, as far as nothing went on from there, and say how far."""
    if not request.user.has_perm("jobsite_jobs.view_jobrecord"):
        raise PermissionDenied(_("You may not see jobs."))
    by = cast("AbstractBaseUser", request.user)
    entry = AuditEntry.objects.filter(pk=entry_id, user_id=by.pk).first() if entry_id < 2**63 else None
    if entry is None:
        messages.warning(request, _("There is nothing of yours to undo here; nothing was done."))
        return HttpResponseRedirect(sent_from(request, "index"))
    way = undoing.way_of(entry)
    if way is None:
        messages.warning(request, _("That is too long ago to be undone here; nothing was done."))
        return HttpResponseRedirect(sent_from(request, "index"))
    if not request.user.has_perm(way.permission) or not undoing.is_within(request, entry, way.permission):
        raise PermissionDenied(_("You may not do this any more, so you may not undo it."))

    def act() -> str:
        undone = way.act(entry, by)
        return f"{int(undone.is_whole)} {undone.words}"[:200]

    answer, is_new = act_once(request, act)
    level, _space, words = answer.partition(" ")
    health.forget()  # the next page must not say that it still is where it was
    messages.add_message(request, LEVELS[level] if is_new else messages.INFO, words)
    return HttpResponseRedirect(sent_from(request, "index"))
