"""What people do to a recurring job: trigger, pause, resume, delete, backfill. Each is one call of the gateway."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from django import forms
from django.contrib import messages
from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from dashboard.kit.drafts import is_draft
from dashboard.kit.fields import UtcField
from dashboard.kit.moments import plain
from dashboard.kit.once import act_once, sent_before
from dashboard.kit.pages import by, page, why
from dashboard.kit.switching import switch_once, tell
from dashboard.kit.text import inert, sentence
from dashboard.kit.verbs import MAX_REASON, jobs_in_words
from dashboard.recurring.access import DELETE, PAUSE, TRIGGER, found, need, to_list, to_page
from dashboard.recurring.page import SPANS
from handlers.exceptions import InvalidJob
from handlers.gateway import job_scheduler
from handlers.models import RecurringJob
from handlers.recurrence.verbs import MOST_BACKFILLED


class UntilForm(forms.Form):
    """Until when it is paused."""

    span = forms.ChoiceField(required=False, choices=[(value, words) for value, (words, _length) in SPANS.items()])
    until = UtcField(required=False)


class SpanForm(forms.Form):
    """Of which time occurrences are to be made up for."""

    start = UtcField(label=gettext_lazy("After (UTC)"))
    end = UtcField(
        label=gettext_lazy("Up to (UTC)"),
        help_text=gettext_lazy("A moment that is past: what is due later comes by itself."),
    )
    reason = forms.CharField(
        label=gettext_lazy("Reason"),
        required=False,
        max_length=MAX_REASON,
        help_text=gettext_lazy("Optional, kept in the audit."),
    )

    def refuse(self, error: InvalidJob) -> None:
        """Show what the engine said, beside the field that it names."""
        self.add_error(error.field if error.field in self.fields else None, sentence(error))


@require_POST
def trigger(request: HttpRequest, entry_id: int) -> HttpResponse:
    """Run it once now."""
    need(request, TRIGGER, _("You may not trigger recurring jobs."))
    row = found(request, entry_id, TRIGGER)

    def act() -> str:
        job_id = job_scheduler.trigger_recurring(row.name, by=by(request), reason=why(request))
        return f"{job_id} {'new' if job_id.is_new else 'there'}"

    try:
        answer, is_new = act_once(request, act)
    except InvalidJob as error:
        messages.error(request, sentence(error))
        return to_list(request)
    job_id, _space, became = answer.partition(" ")
    url = reverse("admin:jobsite_jobs_jobrecord_change", args=[job_id], current_app=request.current_app)
    if not is_new:
        tell, words = (
            messages.info,
            _("This form was sent before and triggered {name} then; nothing was done now: {job}."),
        )
    elif became == "there":
        tell, words = (
            messages.warning,
            _("Triggered {name}: {job}, which holds the key already: nothing new was enqueued."),
        )
    else:
        tell, words = messages.success, _("Triggered {name}: {job}.")
    link = format_html('<a href="{}">{}</a>', url, _("job %(id)s") % {"id": job_id})
    tell(request, format_html(words, name=inert(row.name), job=link))
    return to_page(request, row.pk)


@require_POST
def pause(request: HttpRequest, entry_id: int) -> HttpResponse:
    """Let no occurrence come, for a while or until it is resumed."""
    need(request, PAUSE, _("You may not pause or resume recurring jobs."))
    row, form = found(request, entry_id, PAUSE), UntilForm(request.POST)
    if not form.is_valid():
        messages.error(request, _("Choose a span, or a time until which it is paused; nothing was done."))
        return to_page(request, row.pk)
    length = SPANS[form.cleaned_data["span"]][1]
    until: datetime | None = form.cleaned_data["until"] or (timezone.now() + length if length else None)
    if until is not None and until <= timezone.now():
        messages.error(request, _("%(time)s is past; nothing was done.") % {"time": plain(until)})
        return to_page(request, row.pk)

    def act() -> bool:
        return job_scheduler.pause_recurring(row.name, until, by=by(request), reason=why(request))

    told = _("Paused %(name)s until it is resumed: what falls in between is not made up for.")
    if until:
        told = _("Paused %(name)s until %(time)s: what falls in between is not made up for.")
        told = told.replace("%(time)s", plain(until))
    was_paused = row.paused_at is not None and (row.paused_until is None or row.paused_until > timezone.now())
    not_moved = _("Nothing was done: %(name)s was paused so already.")
    return _switch(request, row, act, told, not_moved, can_undo=not was_paused)  # to undo a longer one is not to end it


@require_POST
def resume(request: HttpRequest, entry_id: int) -> HttpResponse:
    """Let occurrences come again."""
    need(request, PAUSE, _("You may not pause or resume recurring jobs."))
    row = found(request, entry_id, PAUSE)

    def act() -> bool:
        return job_scheduler.resume_recurring(row.name, by=by(request), reason=why(request))

    return _switch(request, row, act, _("Resumed %(name)s."), _("Nothing was done: %(name)s was not paused."))


def _switch(
    request: HttpRequest,
    row: RecurringJob,
    act: Callable[[], bool],
    told: str,
    not_moved: str,
    *,
    can_undo: bool = True,
) -> HttpResponse:
    try:
        found = switch_once(request, act)
    except InvalidJob as error:
        messages.error(request, sentence(error))
        return to_list(request)
    name = {"name": inert(row.name)}
    tell(request, found, told % name, not_moved % name, can_undo=can_undo)
    return to_page(request, row.pk)


def delete(site: AdminSite, request: HttpRequest, entry_id: int) -> HttpResponse:
    """Let it run no more, after a page that says what that means."""
    need(request, DELETE, _("You may not delete recurring jobs."))
    if request.method == "POST" and sent_before(request):
        messages.info(request, _("This form was sent before and deleted it then; nothing was done now."))
        return to_list(request)
    row = found(request, entry_id, DELETE)
    if request.method != "POST" or is_draft(request):
        context = {"row": row, "max_reason": MAX_REASON}
        return page(site, request, "recurring/delete", _("Delete %(name)s?") % {"name": inert(row.name)}, context)

    def act() -> bool:
        expect = request.POST.get("version", "") or "?"
        return job_scheduler.remove_recurring(row.name, by=by(request), reason=why(request), expect=expect)

    try:
        switched = switch_once(request, act)
    except InvalidJob as error:
        messages.error(request, f"{_('Nothing was deleted.')} {sentence(error)}")
        return to_page(request, row.pk)
    tell(request, switched, _("Deleted %(name)s. Jobs that it has enqueued stay.") % {"name": inert(row.name)})
    return to_list(request)


def backfill(site: AdminSite, request: HttpRequest, entry_id: int) -> HttpResponse:
    """Make up for occurrences of a span that is past: how many and which, and then the doing."""
    need(request, TRIGGER, _("You may not backfill recurring jobs."))
    row = found(request, entry_id, TRIGGER)
    posted = request.POST if request.method == "POST" else None
    now = timezone.now().replace(second=0, microsecond=0)
    form = SpanForm(posted, initial={"start": now - timedelta(days=1), "end": now}, use_required_attribute=False)
    dues: list[datetime] | None = None
    if posted is not None and form.is_valid():
        start, end = form.cleaned_data["start"], form.cleaned_data["end"]
        try:
            if posted.get("do") == "run" and not is_draft(request):
                return _backfill(request, row, start, end)
            dues = job_scheduler.preview_backfill(row.name, start, end)
        except InvalidJob as error:
            form.refuse(error)
    context = {"row": row, "form": form, "dues": dues, "most": MOST_BACKFILLED}
    status = 400 if form.errors else 200
    title = _("Backfill %(name)s") % {"name": inert(row.name)}
    return page(site, request, "recurring/backfill", title, context, status)


def _backfill(request: HttpRequest, row: RecurringJob, start: datetime, end: datetime) -> HttpResponse:
    def act() -> str:
        return str(len(job_scheduler.backfill_recurring(row.name, start, end, by=by(request), reason=why(request))))

    count, is_new = act_once(request, act)
    told = {"name": inert(row.name), "jobs": jobs_in_words(int(count))}
    if is_new:
        messages.success(request, _("Backfilled %(name)s: %(jobs)s enqueued.") % told)
    else:
        messages.info(request, _("This form was sent before and enqueued %(jobs)s then; nothing was done now.") % told)
    return to_page(request, row.pk)
