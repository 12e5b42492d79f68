"""The addresses that do a verb to one job."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_POST

from dashboard.jobs.actions import expected
from dashboard.kit import verbs
from dashboard.kit.once import act_once


def verb_view(verb: verbs.Verb) -> Callable[..., HttpResponse]:
    """The address that does ``verb`` to one job: POST only, permission checked, only if the job is as it was seen."""

    @require_POST
    def act(request: HttpRequest, job_id: int) -> HttpResponse:
        if not request.user.has_perm("jobs.view_jobrecord") or not verb.allowed(request.user):
            raise PermissionDenied(f"You may not {verb.name} jobs.")
        back = _back(request, job_id)  # before anything is done: an address that cannot be read is refused
        token = expected(request).get(job_id, "")
        if why := verbs.refusal([job_id]):
            messages.error(request, why)
        else:
            reason = request.POST.get("reason", "")
            moved, is_new = act_once(request, lambda: str(int(verb.one(job_id, token, request.user, reason))))
            if moved == "0":
                messages.warning(request, f"Job {job_id} had moved on since the page was made; nothing was done.")
            elif is_new:
                messages.success(request, f"{verb.past} job {job_id}.")
            else:
                messages.info(request, f"{verb.past} job {job_id} when this was sent before; nothing was done now.")
        return HttpResponseRedirect(back)

    return act


def _back(request: HttpRequest, job_id: int) -> str:
    """The list that the person asked from, as they had it, or else the job's page."""
    if "back" in request.GET:
        url = reverse("admin:jobs_jobrecord_changelist", current_app=request.current_app)
        return f"{url}?{QueryDict(request.GET['back']).urlencode()}"
    url = reverse("admin:jobs_jobrecord_change", args=[job_id], current_app=request.current_app)
    filters = request.GET.get("_changelist_filters", "")  # the job page's own way back to the list
    return f"{url}?{urlencode({'_changelist_filters': filters})}" if filters else url
