"""The bulk operations' pages: what was done to all that match, and one run with its progress and receipt."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, cast

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import pgettext_lazy
from django.views.decorators.http import require_POST

from dashboard.kit import verbs
from dashboard.kit.languages import in_language
from dashboard.kit.limits import TookTooLong, time_limit
from dashboard.kit.numbers import thousands
from dashboard.kit.once import act_once
from dashboard.kit.pages import why
from dashboard.kit.reach import acting, seen
from dashboard.kit.runs import CHOICES, Run, is_within
from dashboard.kit.selection_words import in_words
from dashboard.kit.sensitive import may_see
from dashboard.kit.text import duration, sentence
from handlers import bulk
from handlers.exceptions import InvalidJob
from handlers.fleet import live_workers
from handlers.gateway import job_scheduler
from handlers.models import BulkOperation
from handlers.models.bulk import BulkState
from handlers.selection import InvalidSelection, Selection, hidden
from handlers.states import State

NEWEST = 100  # runs that the list shows
GLANCED = 25  # the newest of them, of which it tells what came out
SWITCHES = {
    "pause": pgettext_lazy("what came of a button", "Paused"),
    "try": pgettext_lazy("what came of a button", "Let some more jobs go first in"),
    "resume": pgettext_lazy("what came of a button", "Resumed"),
    "stop": pgettext_lazy("what came of a button", "Stopped"),
}


def operations(site: AdminSite, request: HttpRequest) -> TemplateResponse:
    """The newest runs."""
    newest = list(BulkOperation.objects.order_by("-pk")[:NEWEST])
    newest = [operation for operation in newest if is_within(operation, seen(request))]
    receipts = _glances(newest[:GLANCED])
    context = {"rows": [Run(operation, receipts.get(operation.pk)) for operation in newest]}
    return page(site, request, "operations", _("Bulk operations"), context)


def run(site: AdminSite, request: HttpRequest, operation_id: int) -> TemplateResponse:
    """One run: how far it is, what became of its jobs, who began it and why."""
    operation = _find(request, operation_id)
    live, paused = operation.state in bulk.LIVE, operation.state == BulkState.PAUSED
    now = timezone.now()
    chunk = bulk.chunk_job(operation) if live else None
    try:
        with time_limit():
            receipt = bulk.receipt(operation)
    except TookTooLong:
        receipt = None
    told = Run(operation, receipt)
    words, search = _asked(request, operation)
    stalled = live and now - operation.progressed_at >= bulk.STALLED_AFTER
    lost = live and (chunk is None or chunk.state in (State.FAILED, State.DELETED, State.SUCCEEDED))
    context = {
        "run": told,
        "operation": operation,
        "words": words,
        "search": search,
        "receipt": receipt,
        "jobs_url": f"{list_url(site)}?q=bulk:{operation.pk}",
        "time_left": _time_left(operation, now) if live else "",
        "stalled": stalled,
        "chunk": chunk,
        "chunk_lost": lost,
        "no_worker": live and not live_workers(),
        "percent": operation.max_failed_share * 100 if operation.max_failed_share is not None else None,
        "may_act": _may(request, operation),
        "goes_on": live or paused or (receipt is not None and bool(receipt.first_to_come) and told.runs),
        "can_pause": live,
        "can_try": paused and told.runs,
        "can_resume": (paused and not operation.held) or lost or stalled,
        "anyway": _anyway(told) if paused and operation.held else "",
        "can_stop": live or paused,
        "canary": bulk.CANARY,
        "max_reason": verbs.MAX_REASON,
    }
    return page(site, request, "run", _("Bulk operation %(number)d") % {"number": operation.pk}, context)


def switch_view(site: AdminSite, what: str) -> Callable[..., HttpResponse]:
    """The address that pauses, tries, resumes or stops a run.

    A run that holds because of what came out goes on only once that is confirmed.
    """

    @require_POST
    def switch(request: HttpRequest, operation_id: int) -> HttpResponse:
        operation = _find(request, operation_id)
        if not request.user.has_perm("jobsite_jobs.view_jobrecord") or not _may(request, operation):
            raise PermissionDenied(_("You may not do this to this bulk operation."))
        back = reverse("admin:bulk_run", args=[operation_id], current_app=site.name)
        is_held = operation.state == BulkState.PAUSED and operation.held
        if what == "resume" and is_held and request.POST.get("confirmed") != str(operation.step):
            return _ask(site, request, operation, back)
        _act(request, operation_id, what)
        return HttpResponseRedirect(back)

    return switch


def _ask(site: AdminSite, request: HttpRequest, operation: BulkOperation, back: str) -> TemplateResponse:
    """Whether the run shall go on in spite of what came out, which this page says."""
    told = Run(operation, _glances([operation]).get(operation.pk))
    reason = why(request)
    context = {"run": told, "operation": operation, "anyway": _anyway(told), "reason": reason, "back": back}
    return page(site, request, "anyway", f"{_anyway(told)}?", {**context, "max_reason": verbs.MAX_REASON})


def _act(request: HttpRequest, operation_id: int, what: str) -> None:
    """Do it, and say what came of it."""
    reason, by = why(request), cast("AbstractBaseUser", request.user)
    method = getattr(job_scheduler, f"{what}_bulk")
    try:
        did, is_new = act_once(request, lambda: str(int(method(operation_id, by=by, reason=reason))))
    except InvalidJob as error:
        messages.error(request, sentence(error))
        return
    done = _("%(done)s bulk operation %(number)d") % {"done": SWITCHES[what], "number": operation_id}
    if did == "0":
        _tell_how_it_is(request, operation_id)
    elif is_new:
        messages.success(request, f"{done}.")
    else:
        messages.info(request, _("%(done)s when this was sent before; nothing was done now.") % {"done": done})


def page(
    site: AdminSite, request: HttpRequest, name: str, title: str, context: dict[str, Any], status: int = 200
) -> TemplateResponse:
    """One of this room's pages."""
    full = {**site.each_context(request), "title": title, **context}
    return TemplateResponse(request, f"dashboard/bulk/{name}.html", full, status=status)


def list_url(site: AdminSite) -> str:
    """Where the jobs are."""
    return reverse("admin:jobsite_jobs_jobrecord_changelist", current_app=site.name)


def _tell_how_it_is(request: HttpRequest, operation_id: int) -> None:
    """Nothing was done: somebody, or the run itself, was first."""
    operation = _find(request, operation_id)
    words = {
        BulkState.DONE.value: _("it has ended"),
        BulkState.STOPPED.value: _("it was stopped"),
        BulkState.PAUSED.value: _("it is paused"),
    }.get(operation.state, _("it goes on"))
    note = f" {operation.note}" if operation.note else ""
    messages.warning(
        request, _("Nothing was done to bulk operation %(number)d: %(words)s.") % {
            "number": operation_id, "words": words
        } + note,
    )  # fmt: skip


def _glances(newest: list[BulkOperation]) -> dict[int, bulk.Receipt]:
    try:
        with time_limit():
            return bulk.glances(newest)
    except TookTooLong:
        return {}


def _find(request: HttpRequest, operation_id: int) -> BulkOperation:
    operation = BulkOperation.objects.filter(pk=operation_id).first() if operation_id < 2**63 else None
    if operation is None or not is_within(operation, seen(request)):
        raise Http404(_("There is no bulk operation %(number)d.") % {"number": operation_id})
    return operation


def _may(request: HttpRequest, operation: BulkOperation) -> bool:
    verb = CHOICES.get(operation.verb)
    return (
        verb is not None
        and request.user.has_perm(verbs.RUN_BULK)
        and verb.allowed(request.user)
        and is_within(operation, acting(request, verbs.RUN_BULK, verb.permission))
    )


def _anyway(told: Run) -> str:
    """What the button says that lets a run go on in spite of what came out."""
    rest = thousands(told.left) if told.left else ""
    return _("Run the other %(rest)s anyway") % {"rest": rest} if rest else _("Run the others anyway")


def _asked(request: HttpRequest, operation: BulkOperation) -> tuple[str, str]:
    """Which jobs, in words and as a search."""
    try:
        selection = Selection.from_json(operation.selection)
    except InvalidSelection as error:
        return "", in_language(error)
    shown = selection if may_see(request) else hidden(selection)
    return in_words(shown, operation.created_at), str(shown)


def _time_left(operation: BulkOperation, now: datetime) -> str:
    """About how long it still takes, at its own rate or the one so far."""
    done = operation.moved + operation.moved_on
    left = max(operation.count - done, 0)
    rate = operation.rate_per_second
    if rate is None:
        seconds = (operation.progressed_at - operation.created_at).total_seconds()
        rate = done / seconds if done and seconds > 0 else None
    return duration(timedelta(seconds=max(round(left / rate), 1))) if rate and left else ""
