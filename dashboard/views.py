"""The console's pages beside the stock ones: one job and its verbs, the overview, queues, job types, retry policies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST

from dashboard import catalogue, queries, timeline, verbs
from dashboard.actions import expected
from dashboard.text import call, inert
from handlers.exceptions import InvalidJob
from handlers.gateway import job_scheduler
from handlers.models import JobPayload, JobRecord
from handlers.registry import JobType
from handlers.states import State

PAUSE = "jobs.pause_queueswitch"


def job_page(site: AdminSite, request: HttpRequest, record: JobRecord) -> TemplateResponse:
    """One job: what it is, what happened to it, what comes next, and what this person can do about it."""
    now = timezone.now()
    moves = list(record.history.order_by("-pk")[: timeline.MAX_MOVES])[::-1]
    errors = list(record.errors.order_by("-pk")[: timeline.MAX_ATTEMPTS])[::-1]
    runs = timeline.attempts(record, moves, errors, now)
    job_type = catalogue.find(record.job_type)
    payload = JobPayload.objects.filter(pk=record.pk).first()
    state = State(record.state)
    last_failure = next((run for run in runs if run.error), None)
    shows_failure = state in (State.FAILED, State.SCHEDULED, State.ENQUEUED) and last_failure is not None
    was_running = bool(moves) and moves[-1].from_state == State.PROCESSING
    buttons = [
        {"verb": verb, "label": verb.label_for(record), "url": _job_url(site, verb.name, record.pk)}
        for verb in verbs.VERBS.values()
        if verb.allowed(request.user)
        and verb.possible(record)
        and not (verb is verbs.RESTORE and was_running)  # its handler ran on: the engine does not take it back
    ]
    context: dict[str, Any] = {
        **site.each_context(request),
        "title": f"{inert(record.job_type)} #{record.pk}",
        "opts": JobRecord._meta,
        "record": record,
        "job_type": job_type,
        "call": _call(record, job_type, payload.data if payload else None),
        "payload": payload,
        "steps": timeline.steps(record, moves, now),
        "steps_cut": len(moves) == timeline.MAX_MOVES,
        "attempts": runs,
        "failure": last_failure if shows_failure else None,
        "policy": job_type.retry if job_type else None,
        "plan": catalogue.delays(job_type.retry, record.failures) if job_type and record.is_retrying else [],
        "buttons": buttons,
        "back": _back_url(site, request),
        "max_reason": verbs.MAX_REASON,
    }
    return TemplateResponse(request, "admin/jobs/jobrecord/change_form.html", context)


def verb_view(verb: verbs.Verb) -> Callable[..., HttpResponse]:
    """The address that does ``verb`` to one job: POST only, permission checked, only if the job is as it was seen."""

    @require_POST
    def act(request: HttpRequest, job_id: int) -> HttpResponse:
        if not request.user.has_perm("jobs.view_jobrecord") or not verb.allowed(request.user):
            raise PermissionDenied(f"You may not {verb.name} jobs.")
        site_name = request.current_app  # set by the site
        token = expected(request).get(job_id, "")
        if verb.one(job_id, token, request.user, request.POST.get("reason", "")):
            messages.success(request, f"{verb.past} job {job_id}.")
        else:
            messages.warning(request, f"Job {job_id} had moved on since the page was made; nothing was done.")
        if "back" in request.GET:  # asked from the list
            url = reverse("admin:jobs_jobrecord_changelist", current_app=site_name)
            return HttpResponseRedirect(f"{url}?{QueryDict(request.GET['back']).urlencode()}")
        return HttpResponseRedirect(reverse("admin:jobs_jobrecord_change", args=[job_id], current_app=site_name))

    return act


def overview(request: HttpRequest) -> dict[str, Any]:
    """What the start page shows to those who may see jobs."""
    counts = queries.state_counts()
    return {
        "shows_jobs": True,
        "tiles": [{"state": state, "count": counts[state]} for state in queries.STATES],
        "is_empty": not any(count.value for count in counts.values()),
        "failures": queries.last_failures(),
        "queues": queries.queue_rows(),
    }


def queues(site: AdminSite, request: HttpRequest) -> TemplateResponse:
    """Every queue: is it moving?"""
    context = {"rows": queries.queue_rows(), "may_pause": request.user.has_perm(PAUSE), "max_reason": verbs.MAX_REASON}
    return _page(site, request, "queues", "Queues", context)


@require_POST
def pause_queue(request: HttpRequest, name: str) -> HttpResponse:
    """Pause a queue."""
    return _switch(request, name, pause=True)


@require_POST
def resume_queue(request: HttpRequest, name: str) -> HttpResponse:
    """Let a queue run again."""
    return _switch(request, name, pause=False)


def _switch(request: HttpRequest, name: str, *, pause: bool) -> HttpResponse:
    if not request.user.has_perm(PAUSE):
        raise PermissionDenied("You may not pause or resume queues.")
    if name not in queries.queue_names() and name not in job_scheduler.paused_queues():
        raise Http404(f"There is no queue {name}.")
    reason = request.POST.get("reason", "")[: verbs.MAX_REASON]
    by = cast("AbstractBaseUser", request.user)  # nobody anonymous holds a permission
    try:
        if pause:
            job_scheduler.pause_queue(name, by=by, reason=reason)
            messages.success(request, f"Paused queue {name}: what runs now ends, nothing new starts.")
        else:
            job_scheduler.resume_queue(name, by=by, reason=reason)
            messages.success(request, f"Queue {name} runs again.")
    except InvalidJob as error:
        messages.error(request, str(error))
    return HttpResponseRedirect(reverse("admin:queues", current_app=request.current_app))


def job_types(site: AdminSite, request: HttpRequest) -> TemplateResponse:
    """Every registered type: what can run here?"""
    return _page(site, request, "job_types", "Job types", {"rows": catalogue.types()})


def retry_policies(site: AdminSite, request: HttpRequest) -> TemplateResponse:
    """Every distinct policy: what happens on failure?"""
    return _page(site, request, "retry_policies", "Retry policies", {"rows": catalogue.policies()})


def _page(site: AdminSite, request: HttpRequest, name: str, title: str, context: dict[str, Any]) -> TemplateResponse:
    full = {**site.each_context(request), "title": title, **context}
    return TemplateResponse(request, f"dashboard/{name}.html", full)


def _call(record: JobRecord, job_type: JobType | None, data: Any) -> str:
    if job_type is None:
        return call(record.job_type, "", data)
    queue = record.queue if record.queue != job_type.queue else None
    return call(record.job_type, job_type.payload_class.__name__, data, kind=job_type.kind, queue=queue)


def _job_url(site: AdminSite, name: str, job_id: int) -> str:
    return reverse(f"admin:jobs_jobrecord_{name}", args=[job_id], current_app=site.name)


def _back_url(site: AdminSite, request: HttpRequest) -> str:
    """The list that the person came from, with its filters."""
    url = reverse("admin:jobs_jobrecord_changelist", current_app=site.name)
    query = QueryDict(request.GET.get("_changelist_filters", "")).urlencode()
    return f"{url}?{query}" if query else url
