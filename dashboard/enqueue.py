"""The pages that write arguments: enqueue one job of a type, and edit and retry a job."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, cast

from django import forms
from django.contrib import messages
from django.contrib.admin import AdminSite
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.cache import add_never_cache_headers
from django.utils.html import format_html

from dashboard import catalogue, verbs
from dashboard.forms import PayloadForm, payload_form
from dashboard.sensitive import may_see, shown
from dashboard.text import call, inert
from handlers.conf import ENGINE_TYPES, SYSTEM_QUEUE
from handlers.exceptions import InvalidJob
from handlers.gateway import job_scheduler, known_queues
from handlers.job_types import JobType
from handlers.models import JobPayload, JobRecord
from handlers.states import RETRYABLE, State

ENQUEUE = "jobs.enqueue_jobrecord"
OWN = "is the engine's own type: written by hand, it would do what other permissions guard"


def is_engines_own(job_type: JobType) -> bool:
    """Whether the engine declares the type. Such jobs act on other jobs, so their arguments are not for a form."""
    return job_type.name.startswith(ENGINE_TYPES)


class WhenForm(forms.Form):
    """When and where a new job runs."""

    when = forms.ChoiceField(choices=[("now", "Now"), ("delay", "After a delay"), ("at", "At a time")], initial="now")
    delay = forms.FloatField(label="Delay in minutes", required=False, min_value=0, max_value=5_256_000)
    at = forms.DateTimeField(
        label="Time (UTC)",
        required=False,
        input_formats=["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S"],
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
    )
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
    form = payload_form(job_type, raw=_is_raw(request))(posted, sees_sensitive=may_see(request))
    when = WhenForm(posted, job_type=job_type)
    code = ""
    if posted is not None and form.is_valid() & when.is_valid():
        queue = when.cleaned_data["queue"]
        other = None if queue == job_type.queue else queue
        code = _code(request, job_type, form.data_json, other)
        if "preview" not in posted:
            try:
                job_id = _enqueue(request, job_type, form.data_json, when.cleaned_data, other)
            except InvalidJob as error:
                when.add_error(error.field if error.field in when.fields else None, str(error))
            else:
                url = reverse("admin:jobs_jobrecord_change", args=[job_id], current_app=site.name)
                messages.success(request, format_html('Enqueued <a href="{}">job {}</a>.', url, job_id))
                here = reverse("admin:job_type", args=[job_type.name], current_app=site.name)
                return HttpResponseRedirect(here)
    context = {"when": when, "code": code, "verb": "Enqueue", "heading": f"Enqueue {job_type.name}"}
    return _render(site, request, job_type, form, context)


def edit(site: AdminSite, request: HttpRequest, job_id: int) -> HttpResponse:
    """Change a failed or scheduled job's arguments and run it now."""
    if not verbs.RETRY.allowed(request.user):
        raise PermissionDenied("You may not retry jobs.")
    record = JobRecord.objects.filter(pk=job_id).first() if job_id < 2**63 else None
    if record is None:
        raise Http404(f"There is no job {job_id}.")
    back = HttpResponseRedirect(reverse("admin:jobs_jobrecord_change", args=[job_id], current_app=site.name))
    payload = JobPayload.objects.filter(pk=job_id).first()
    job_type = catalogue.find(record.job_type)
    if job_type is None:
        messages.error(
            request, f"The type {inert(record.job_type)} is not registered here, so nothing could check new arguments."
        )
        return back
    if is_engines_own(job_type):
        messages.error(request, f"{job_type.name} {OWN}.")
        return back
    if State(record.state) not in RETRYABLE or payload is None:
        messages.warning(
            request,
            f"Job {job_id} is {record.get_state_display().lower()} now: only failed and scheduled jobs can be edited.",
        )
        return back
    posted = request.POST if request.method == "POST" else None
    stored = payload.data
    form = payload_form(job_type, raw=_is_raw(request))(posted, stored=stored, sees_sensitive=may_see(request))
    expect = request.POST.get("expect", "") if posted is not None else record.token
    code = ""
    if posted is not None and form.is_valid():
        code = _code(request, job_type, form.data_json, None)
        if "preview" not in posted:
            try:
                moved = job_scheduler.retry(
                    job_id,
                    payload=form.data_json,
                    by=cast("AbstractBaseUser", request.user),
                    reason=posted.get("reason", "")[: verbs.MAX_REASON],
                    expect=expect,
                )
            except InvalidJob as error:
                form.problem_at(error)
            else:
                _tell(request, job_id, moved)
                return back
    context = {
        "record": record,
        "expect": expect,
        "code": code,
        "verb": "Retry" if record.state == State.FAILED or record.failures else "Run now",
        "heading": f"Edit and retry {inert(record.job_type)} #{record.pk}",
        "misfit": "" if posted is not None else _misfit(job_type, stored),
        "unknown": _unknown(request, job_type, stored, form),
        "max_reason": verbs.MAX_REASON,
    }
    return _render(site, request, job_type, form, context)


def _enqueue(request: HttpRequest, job_type: JobType, data: Any, chosen: dict[str, Any], queue: str | None) -> int:
    job = job_type.decode(data)
    by, reason = cast("AbstractBaseUser", request.user), chosen["reason"]
    if chosen["when"] == "at":
        at: datetime = chosen["at"]
        at = at.replace(tzinfo=UTC)  # the field says UTC, whatever zone Django was told
        return int(job_scheduler.schedule(job, at, queue=queue, by=by, reason=reason))
    delay = timedelta(minutes=chosen["delay"]) if chosen["when"] == "delay" else None
    return int(job_scheduler.enqueue(job, delay=delay, queue=queue, by=by, reason=reason))


def _tell(request: HttpRequest, job_id: int, moved: bool) -> None:
    if moved:
        messages.success(request, f"Retried job {job_id} with these arguments; the old ones stay in its history.")
    else:
        messages.warning(request, f"Job {job_id} had moved on since the page was made; nothing was done.")


def _misfit(job_type: JobType, stored: Any) -> str:
    """Why the stored arguments do not fit the type any more; empty where they do."""
    from handlers.masking import scrub

    try:
        job_type.decode(stored)
    except InvalidJob as error:
        return scrub(str(error), job_type, stored)
    return ""


def _unknown(request: HttpRequest, job_type: JobType, stored: Any, form: PayloadForm) -> Any:
    """The stored arguments that the form has no input for."""
    if "raw" in form.fields:
        return None
    seen = shown(request, job_type, stored)
    if not isinstance(seen, dict):
        return seen
    names = {argument.name for argument in form.told}
    return {key: value for key, value in seen.items() if key not in names} or None


def _code(request: HttpRequest, job_type: JobType, data: Any, queue: str | None) -> str:
    seen = shown(request, job_type, data)
    return call(job_type.name, job_type.payload_class.__name__, seen, kind=job_type.kind, queue=queue)


def _type(name: str) -> JobType:
    job_type = catalogue.find(name)
    if job_type is None:
        raise Http404(f"There is no job type {name[:100]}.")
    return job_type


def _is_raw(request: HttpRequest) -> bool:
    return request.GET.get("raw") == "1"


def _render(
    site: AdminSite, request: HttpRequest, job_type: JobType, form: PayloadForm, context: dict[str, Any]
) -> TemplateResponse:
    full = {
        **site.each_context(request),
        "title": context["heading"],
        "job_type": job_type,
        "form": form,
        "is_raw": "raw" in form.fields,
        **context,
    }
    response = TemplateResponse(request, "dashboard/payload_form.html", full)
    add_never_cache_headers(response)
    return response
