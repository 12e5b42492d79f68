"""The page that enqueues one job of a type."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast

from django import forms
from django.contrib import messages
from django.contrib.admin import AdminSite
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html

from dashboard.kit import catalogue, verbs
from dashboard.kit.drafts import is_draft
from dashboard.kit.fields import UtcField
from dashboard.kit.forms import payload_form
from dashboard.kit.once import act_once
from dashboard.kit.payload_page import ENQUEUE, OWN, code_of, is_engines_own, is_raw, render
from dashboard.kit.sensitive import may_see
from handlers.conf import SYSTEM_QUEUE
from handlers.exceptions import InvalidJob
from handlers.gateway import job_scheduler
from handlers.job_types import JobType
from handlers.queues import known_queues


class WhenForm(forms.Form):
    """When and where a new job runs."""

    when = forms.ChoiceField(choices=[("now", "Now"), ("delay", "After a delay"), ("at", "At a time")], initial="now")
    delay = forms.FloatField(label="Delay in minutes", required=False, min_value=0, max_value=5_256_000)
    at = UtcField(label="Time (UTC)", required=False)
    queue = forms.ChoiceField()
    reason = forms.CharField(required=False, max_length=verbs.MAX_REASON, help_text="Optional, kept in the audit.")

    def __init__(self, *args: Any, job_type: JobType, **options: Any) -> None:
        """``job_type``: its own queue is chosen at first."""
        super().__init__(*args, **options)
        names = sorted((known_queues() - {SYSTEM_QUEUE}) | {job_type.queue})
        field = cast("forms.ChoiceField", self.fields["queue"])
        field.choices = [(name, name) for name in names]
        field.initial = job_type.queue

    def clean(self) -> dict[str, Any]:
        """What was chosen must be filled in."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        when = cleaned.get("when")
        if when in ("delay", "at") and cleaned.get(when) is None and when not in self.errors:
            self.add_error(when, "Say how long." if when == "delay" else "Say when.")
        return cleaned


def enqueue(site: AdminSite, request: HttpRequest, name: str) -> HttpResponse:
    """Enqueue one job of a type."""
    if not request.user.has_perm(ENQUEUE):
        raise PermissionDenied("You may not enqueue jobs.")
    job_type = _type(name)
    if is_engines_own(job_type):
        raise PermissionDenied(f"{job_type.name} {OWN}.")
    posted = request.POST if request.method == "POST" else None
    form = payload_form(job_type, raw=is_raw(request))(posted, sees_sensitive=may_see(request))
    when = WhenForm(posted, job_type=job_type)
    code = ""
    if posted is not None and form.is_valid() & when.is_valid():
        queue = when.cleaned_data["queue"]
        other = None if queue == job_type.queue else queue
        code = code_of(request, job_type, form.data_json, other)
        if "preview" not in posted and not is_draft(request):
            try:
                job_id, is_new = act_once(
                    request, lambda: str(_enqueue(request, job_type, form.data_json, when.cleaned_data, other))
                )
            except InvalidJob as error:
                when.add_error(error.field if error.field in when.fields else None, str(error))
            else:
                url = reverse("admin:jobs_jobrecord_change", args=[job_id], current_app=site.name)
                if is_new:
                    messages.success(request, format_html('Enqueued <a href="{}">job {}</a>.', url, job_id))
                else:
                    words = 'This form was sent before and enqueued <a href="{}">job {}</a> then; nothing was done now.'
                    messages.info(request, format_html(words, url, job_id))
                here = reverse("admin:job_type", args=[job_type.name], current_app=site.name)
                return HttpResponseRedirect(here)
    context = {"when": when, "code": code, "verb": "Enqueue", "heading": f"Enqueue {job_type.name}"}
    return render(site, request, job_type, form, context)


def _enqueue(request: HttpRequest, job_type: JobType, data: Any, chosen: dict[str, Any], queue: str | None) -> int:
    job = job_type.decode(data)
    by, reason = cast("AbstractBaseUser", request.user), chosen["reason"]
    if chosen["when"] == "at":
        return int(job_scheduler.schedule(job, chosen["at"], queue=queue, by=by, reason=reason))
    delay = timedelta(minutes=chosen["delay"]) if chosen["when"] == "delay" else None
    return int(job_scheduler.enqueue(job, delay=delay, queue=queue, by=by, reason=reason))


def _type(name: str) -> JobType:
    job_type = catalogue.find(name)
    if job_type is None:
        raise Http404(f"There is no job type {name[:100]}.")
    return job_type
