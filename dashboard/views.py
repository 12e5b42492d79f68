"""The console's pages beside the stock ones: a job's verbs, queues."""

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
from django.views.decorators.http import require_POST

from dashboard import queries, verbs
from dashboard.actions import expected
from handlers.exceptions import InvalidJob
from handlers.gateway import job_scheduler

PAUSE = "jobs.pause_queueswitch"


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


def _page(site: AdminSite, request: HttpRequest, name: str, title: str, context: dict[str, Any]) -> TemplateResponse:
    full = {**site.each_context(request), "title": title, **context}
    return TemplateResponse(request, f"dashboard/{name}.html", full)
