"""The bulk operations' pages: what was done to all that match, starting one, and its progress and receipt."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import datetime, timedelta
from typing import Any, cast

from django import forms
from django.contrib import messages
from django.contrib.admin import AdminSite
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST

from dashboard.kit import serving, turns, verbs
from dashboard.kit.drafts import is_draft
from dashboard.kit.limits import TookTooLong, time_limit
from dashboard.kit.once import act_once
from dashboard.kit.search import list_query, selection_of
from dashboard.kit.sensitive import may_see
from dashboard.kit.text import duration
from handlers import bulk
from handlers.exceptions import InvalidJob
from handlers.fleet import live_workers
from handlers.gateway import job_scheduler
from handlers.models import BulkOperation, JobRecord
from handlers.models.bulk import BulkState
from handlers.selection import WINDOW, InvalidSelection, Selection, hidden
from handlers.states import State

NEWEST = 100  # runs that the list shows
SAMPLE = 20  # jobs that the preview names
SAMPLE_SECONDS = 1.0
AT_ONCE = 1_000  # jobs that are counted before the page is shown; of more, the page asks for the number by itself
CHOICES = {verb.name: verb for verb in verbs.BULK_VERBS}
SWITCHES = {"pause": "Paused", "resume": "Resumed", "stop": "Stopped"}


class OptionsForm(forms.Form):
    """How a run goes."""

    queue = forms.ChoiceField(
        label="To queue", error_messages={"required": "Choose the queue that they go to."},
        help_text="What is scheduled keeps its time. Failed jobs stay failed: their next retry goes there.",
    )  # fmt: skip
    rate_per_second = forms.FloatField(
        label="At most, jobs a second", required=False, min_value=0.1, max_value=10_000, help_text="Empty: no limit."
    )
    canary = forms.IntegerField(
        label="Canary jobs", required=False, min_value=0, max_value=1_000,
        help_text="So many go first; the rest follows only if the first attempt of each succeeds.",
    )  # fmt: skip
    max_failed_percent = forms.FloatField(
        label="Pause above, % failed", required=False, min_value=0, max_value=100,
        help_text="Of first attempts, once 20 have ended. Empty: no limit.",
    )  # fmt: skip
    reason = forms.CharField(
        label="Reason", required=False, max_length=verbs.MAX_REASON, help_text="Optional, kept in the audit."
    )
    confirm_count = forms.IntegerField(label="Number of jobs, to confirm", required=False, min_value=0)


def operations(site: AdminSite, request: HttpRequest) -> TemplateResponse:
    """The newest runs."""
    context = {"rows": [_row(operation) for operation in BulkOperation.objects.order_by("-pk")[:NEWEST]]}
    return _page(site, request, "operations", "Bulk operations", context)


def new(site: AdminSite, request: HttpRequest) -> HttpResponseBase:
    """What a verb would do to which jobs, and how; a POST starts it."""
    if not request.user.has_perm(verbs.RUN_BULK):
        raise PermissionDenied("You may not start bulk operations.")
    name = request.GET.get("verb", "")
    problem, verb, selection, fitting = "", CHOICES.get(name), None, None
    if verb is None:
        problem = f"There is no verb {name[:40]!r} for all that match; there are {', '.join(CHOICES)}."
    elif not verb.allowed(request.user):
        raise PermissionDenied(f"You may not {verb.name} jobs.")
    else:
        try:
            selection = selection_of(request)
            fitting = bulk.narrowed(verb.name, selection)
        except (InvalidSelection, InvalidJob) as error:
            problem = str(error)
    form = OptionsForm(request.POST if request.method == "POST" else None, use_required_attribute=False)
    if verb is None or selection is None or fitting is None:
        return _page(site, request, "new", "New bulk operation", {"problem": problem}, status=400)
    if verb.to_queue:
        choices = serving.choices(request, selection.queues[0] if len(selection.queues) == 1 else "")
        cast("forms.ChoiceField", form.fields["queue"]).choices = [("", "(choose)"), *choices]
    else:
        del form.fields["queue"]
    if not bulk.VERBS[verb.name].runs:
        del form.fields["canary"], form.fields["max_failed_percent"]
    if not selection.is_empty:
        del form.fields["confirm_count"]
    acts = request.method == "POST" and not is_draft(request)
    if acts and form.is_valid() and (started := _start(request, verb, selection, form)):
        return HttpResponseRedirect(reverse("admin:bulk_run", args=[started], current_app=site.name))
    asks_again = "X-Live" in request.headers  # for the number alone
    count, most = _count(fitting, whole=asks_again)
    rows = [] if asks_again else _sample(fitting)
    title = f"{verb.label} {_jobs(count or 0, most) if count != 0 else 'no jobs'}"
    context = {
        "verb": verb,
        "form": form,
        "count": count,
        "counting": not asks_again and count is not None and count > most,
        "button": title,
        "rows": rows,
        "more": count is not None and count > len(rows),
        "search": str(fitting),
        "window": WINDOW if fitting.looks_at_newest else None,
        "everything": selection.is_empty,
        "back": f"{_list_url(site)}?{list_query(request.GET)}",
    }
    return _page(site, request, "new", f"{title}?", context, status=400 if form.errors else 200)


def run(site: AdminSite, request: HttpRequest, operation_id: int) -> TemplateResponse:
    """One run: how far it is, what became of its jobs, who began it and why."""
    operation = _find(operation_id)
    live = operation.state in bulk.LIVE
    now = timezone.now()
    chunk = bulk.chunk_job(operation) if live else None
    try:
        with time_limit():
            receipt = bulk.receipt(operation)
    except TookTooLong:
        receipt = None
    verb = CHOICES.get(operation.verb)
    may_act = verb is not None and _may(request, verb)
    context = {
        **_row(operation),
        "search": _search(request, operation),
        "receipt": receipt,
        "runs": bulk.VERBS[operation.verb].runs if operation.verb in bulk.VERBS else False,
        "jobs_url": f"{_list_url(site)}?q=bulk:{operation.pk}",
        "left": _left(operation, now) if live else "",
        "stalled": live and now - operation.progressed_at >= bulk.STALLED_AFTER,
        "chunk": chunk,
        "chunk_lost": live and (chunk is None or chunk.state in (State.FAILED, State.DELETED, State.SUCCEEDED)),
        "no_worker": live and not _has_worker(),
        "percent": operation.max_failed_share * 100 if operation.max_failed_share is not None else None,
        "may_act": may_act,
        "can_pause": live,
        "can_stop": live or operation.state == BulkState.PAUSED,
        "max_reason": verbs.MAX_REASON,
    }
    return _page(site, request, "run", f"Bulk operation {operation.pk}", context)


@require_POST
def switch(request: HttpRequest, operation_id: int, what: str) -> HttpResponse:
    """Pause, resume or stop a run."""
    operation = _find(operation_id)
    verb = CHOICES.get(operation.verb)
    if not request.user.has_perm("jobsite_jobs.view_jobrecord") or verb is None or not _may(request, verb):
        raise PermissionDenied(f"You may not {what} this bulk operation.")
    reason = request.POST.get("reason", "")[: verbs.MAX_REASON]
    method = getattr(job_scheduler, f"{what}_bulk")
    if method(operation_id, by=cast("AbstractBaseUser", request.user), reason=reason):
        messages.success(request, f"{SWITCHES[what]} bulk operation {operation_id}.")
    else:
        messages.warning(request, f"Bulk operation {operation_id} had moved on; nothing was done.")
    return HttpResponseRedirect(reverse("admin:bulk_run", args=[operation_id], current_app=request.current_app))


def _start(request: HttpRequest, verb: verbs.Verb, selection: Selection, form: OptionsForm) -> int | None:
    """The run that the form starts, or started when it was sent before; None where it is refused."""
    given = form.cleaned_data
    percent = given.get("max_failed_percent")

    def start() -> str:
        made = job_scheduler.start_bulk(
            verb.name,
            selection,
            queue=given.get("queue"),
            by=cast("AbstractBaseUser", request.user),
            reason=given["reason"],
            rate_per_second=given["rate_per_second"],
            canary=given.get("canary") or 0,
            max_failed_share=percent / 100 if percent is not None else None,
            confirm_count=given.get("confirm_count"),
        )
        messages.success(request, f"Started: {verb.name} {_jobs(made.count)}{_where(made)}, in the background.")
        return str(made.pk)

    try:
        # Every job is counted then, which takes long.
        with turns.held(request, "count") if selection.is_empty else nullcontext():
            operation_id, is_new = act_once(request, start)
    except turns.NoTurn as error:
        form.add_error(None, str(error))
        return None
    except InvalidJob as error:
        form.add_error(error.field if error.field in form.fields else None, str(error))
        return None
    if not is_new:
        messages.info(request, "This form was sent before and started this run then; nothing was done now.")
    return int(operation_id)


def _count(fitting: Selection, *, whole: bool) -> tuple[int | None, int]:
    """How many jobs fit, and up to how many were counted: ``bulk.count_of``."""
    most = bulk.COUNTED if whole else AT_ONCE
    count = bulk.count_of(fitting, most=most)
    # It is asked for as a whole because there are more than AT_ONCE; where that takes too long, this still holds.
    return (AT_ONCE + 1, AT_ONCE) if whole and count is None else (count, most)


def _sample(fitting: Selection) -> list[JobRecord]:
    try:
        with time_limit(SAMPLE_SECONDS):
            return fitting.page(SAMPLE)
    except TookTooLong:
        return []


def _find(operation_id: int) -> BulkOperation:
    operation = BulkOperation.objects.filter(pk=operation_id).first() if operation_id < 2**63 else None
    if operation is None:
        raise Http404(f"There is no bulk operation {operation_id}.")
    return operation


def _may(request: HttpRequest, verb: verbs.Verb) -> bool:
    return request.user.has_perm(verbs.RUN_BULK) and verb.allowed(request.user)


def _row(operation: BulkOperation) -> dict[str, Any]:
    verb = CHOICES.get(operation.verb)
    return {
        "operation": operation,
        "verb": verb,
        "label": verb.label if verb else operation.verb,
        "what": f"{verb.label if verb else operation.verb} {_jobs(operation.count)}{_where(operation)}",
        "progress": _progress(operation),
        "done": operation.moved + operation.moved_on,
        "bar": operation.state not in (BulkState.DONE, BulkState.STOPPED) and 0 < operation.count <= bulk.COUNTED,
        "state_words": "waiting for its canary" if operation.state == BulkState.CANARY else operation.state,
    }


def _progress(operation: BulkOperation) -> str:
    """How many of how many; where that was not counted, how many so far."""
    done = f"{operation.moved + operation.moved_on:,}"
    if operation.state == BulkState.DONE:
        return f"all {done}"
    if operation.count == bulk.COUNTED + 1:
        return f"{done} of more than {bulk.COUNTED:,}"
    return f"{done} of {operation.count:,}" if operation.count else f"{done} so far"


def _jobs(count: int, most: int = bulk.COUNTED) -> str:
    if not count:
        return "all jobs that match"
    return f"more than {most:,} jobs" if count > most else verbs.jobs_in_words(count)


def _where(operation: BulkOperation) -> str:
    return f" to queue {operation.queue}" if operation.queue else ""


def _search(request: HttpRequest, operation: BulkOperation) -> str:
    try:
        selection = Selection.from_json(operation.selection)
        return str(selection if may_see(request) else hidden(selection))
    except InvalidSelection as error:
        return str(error)


def _left(operation: BulkOperation, now: datetime) -> str:
    """About how long it still takes, at its own rate or the one so far."""
    done = operation.moved + operation.moved_on
    left = max(operation.count - done, 0)
    rate = operation.rate_per_second
    if rate is None:
        seconds = (operation.progressed_at - operation.created_at).total_seconds()
        rate = done / seconds if done and seconds > 0 else None
    return duration(timedelta(seconds=max(round(left / rate), 1))) if rate and left else ""


def _has_worker() -> bool:
    return bool(live_workers())


def _list_url(site: AdminSite) -> str:
    return reverse("admin:jobsite_jobs_jobrecord_changelist", current_app=site.name)


def _page(
    site: AdminSite, request: HttpRequest, name: str, title: str, context: dict[str, Any], status: int = 200
) -> TemplateResponse:
    full = {**site.each_context(request), "title": title, **context}
    return TemplateResponse(request, f"dashboard/bulk/{name}.html", full, status=status)
