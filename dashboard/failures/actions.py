"""What people do to a failure group: resolve, ignore, reopen, assign, note. Each is one call of the gateway."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from dashboard.failures import assignees
from dashboard.failures.access import found, need_change
from dashboard.failures.page import group_url
from dashboard.failures.words import standing
from dashboard.kit import undoing
from dashboard.kit.once import act_once
from dashboard.kit.pages import by, why
from dashboard.kit.said import say
from dashboard.kit.text import inert, sentence
from handlers.audit import noted
from handlers.exceptions import InvalidJob
from handlers.gateway import job_scheduler
from handlers.models import FailureGroup

LENGTHS = {"1h": timedelta(hours=1), "1d": timedelta(days=1), "7d": timedelta(days=7), "30d": timedelta(days=30)}


@require_POST
def resolve(request: HttpRequest, fingerprint: str) -> HttpResponse:
    """Put it away as mended."""
    version = (request.POST.get("other", "").strip() or request.POST.get("version", "").strip())[:100]

    def act(group: FailureGroup) -> bool:
        return job_scheduler.resolve_group(group.pk, version, **_said(request, group))

    return _change(request, fingerprint, act, _("Resolved."))


@require_POST
def ignore(request: HttpRequest, fingerprint: str) -> HttpResponse:
    """Put it away, for a time or until it has happened so often."""
    times, length = request.POST.get("times", "").strip(), request.POST.get("for", "")

    def act(group: FailureGroup) -> bool:
        return job_scheduler.ignore_group(group.pk, until=_until(length), times=_times(times), **_said(request, group))

    return _change(request, fingerprint, act, _("Ignored."))


@require_POST
def reopen(request: HttpRequest, fingerprint: str) -> HttpResponse:
    """Open it again."""

    def act(group: FailureGroup) -> bool:
        return job_scheduler.reopen_group(group.pk, **_said(request, group))

    return _change(request, fingerprint, act, _("Opened again."))


@require_POST
def assign(request: HttpRequest, fingerprint: str) -> HttpResponse:
    """Make it somebody's business, or nobody's."""
    need_change(request)
    group, wanted = found(fingerprint), request.POST.get("user", "")
    user = assignees.find(wanted) if wanted else None
    if wanted and user is None:
        messages.error(request, _("There is no such account that may enter the console; nothing was done."))
        return _back(request, group.pk)
    name = inert(str(user.get_username()), 150) if user else ""
    moved = job_scheduler.assign_group(group.pk, user, by=by(request), reason=why(request))
    told = _("Assigned to %(name)s.") % {"name": name} if name else _("It is nobody's now.")
    if moved:
        messages.success(request, told)
    else:
        messages.warning(request, _("Nothing was done: that was so already."))
    return _back(request, group.pk)


@require_POST
def note(request: HttpRequest, fingerprint: str) -> HttpResponse:
    """Write a note beside it."""
    need_change(request)
    group, text = found(fingerprint), request.POST.get("text", "").replace("\r\n", "\n")  # browsers send so
    try:
        _id, is_new = act_once(request, lambda: str(job_scheduler.note_group(group.pk, text, by=by(request)).pk))
    except InvalidJob as error:
        messages.error(request, sentence(error))
        return _back(request, group.pk)
    if is_new:
        messages.success(request, _("Noted."))
    else:
        messages.info(request, _("This note was sent before; nothing was done now."))
    return _back(request, group.pk)


def _change(request: HttpRequest, fingerprint: str, act: Callable[[FailureGroup], bool], told: str) -> HttpResponse:
    need_change(request)
    before = found(fingerprint)
    try:
        with noted() as entries:
            moved = act(before)
    except InvalidJob as error:
        messages.error(request, _("Nothing was done. %(why)s") % {"why": sentence(error)})
        return _back(request, before.pk)
    after = found(fingerprint)
    if moved:
        words = f"{told} {standing(after)}".strip()
        entry = undoing.offered(entries)
        say(request, messages.SUCCESS, words, undo=entry.pk if entry else None)
    else:
        state = {"state": str(after.get_state_display()).lower(), "name": inert(after.state_by.removeprefix("user:"))}
        by = _("It is %(state)s, by %(name)s.") if after.state_by else _("It is %(state)s.")
        messages.warning(request, _("Nothing was done: it has changed since the page was made.") + " " + by % state)
    return _back(request, before.pk)


def _said(request: HttpRequest, group: FailureGroup) -> dict[str, Any]:
    return {"by": by(request), "reason": why(request), "expect": request.POST.get("expect", group.mark)}


def _until(length: str) -> datetime | None:
    """The time until which it is ignored; None for good. Raises InvalidJob."""
    if length and length not in LENGTHS:
        raise InvalidJob(
            _("until: there is no span %(length)s; there are %(lengths)s")
            % {"length": repr(length[:20]), "lengths": ", ".join(LENGTHS)},
            field="until",
        )
    return timezone.now() + LENGTHS[length] if length else None


def _times(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 12):
        raise InvalidJob(_("times: must be a whole number, not %(text)s") % {"text": repr(text[:20])}, field="times")
    return int(text)


def _back(request: HttpRequest, fingerprint: str) -> HttpResponse:
    return HttpResponseRedirect(group_url(request, fingerprint))


VERBS = {"resolve": resolve, "ignore": ignore, "reopen": reopen, "assign": assign, "note": note}
