"""The addresses that do a verb to one job."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from dashboard.jobs.actions import expected
from dashboard.jobs.confirmation import Way, ask, queue_asked
from dashboard.kit import health, reach, undoing, verbs
from dashboard.kit.became import what_happened
from dashboard.kit.once import act_once
from dashboard.kit.pages import why
from dashboard.kit.said import say
from handlers.audit import noted


def verb_view(site: AdminSite, verb: verbs.Verb) -> Callable[..., HttpResponse]:
    """The address that does ``verb`` to one job: POST only, permission checked, only if the job is as it was seen.

    Where the verb needs a queue, the first POST is answered with the page that asks for it.
    """

    @require_POST
    def act(request: HttpRequest, job_id: int) -> HttpResponse:
        if not request.user.has_perm("jobsite_jobs.view_jobrecord") or not verb.allowed(request.user):
            raise PermissionDenied(verb.refusal)
        reach.check_job(request, job_id, verb.permission)
        back = back_to(request, job_id)  # before anything is done: an address that cannot be read is refused
        token = expected(request).get(job_id, "")
        if why := verbs.refusal([job_id]):
            messages.error(request, why)
        else:
            confirmed = "confirmed" in request.POST
            queue, problem = queue_asked(request, verb, [job_id])
            if problem:
                way = Way(back, _("Back to the job"))
                return ask(site, request, verb, {job_id: token}, way, problem if confirmed else "")
            _act(request, verb, job_id, token, queue)
        return HttpResponseRedirect(back)

    return act


def _act(request: HttpRequest, verb: verbs.Verb, job_id: int, token: str, queue: str) -> None:
    """Do it, and say what came of it."""
    reason = why(request)
    with noted() as entries:
        did, is_new = act_once(request, lambda: str(int(verb.one(job_id, token, request.user, reason, queue))))
    if did == "0" or not is_new:
        tell_what_was(request, [job_id], is_late=did == "0")
        return
    health.forget()  # the next page must not say that it still waits where it was
    done = verb.done(_("job %(number)d") % {"number": job_id}, queue)
    entry = undoing.offered(entries)
    say(request, messages.SUCCESS, done, undo=entry.pk if entry else None, jobs=[job_id] if verb.is_followed else [])


def tell_what_was(request: HttpRequest, ids: Sequence[int], *, is_late: bool) -> None:
    """Nothing was done: somebody was first, or this was sent before. Says what that did, and what came of it."""
    level = messages.WARNING if is_late else messages.INFO
    messages.add_message(request, level, f"{what_happened(request, ids)} {_('Nothing was done now.')}")


def back_to(request: HttpRequest, job_id: int) -> str:
    """The list or the workflow that the person asked from, as they had it, or else the job's page."""
    if "back" in request.GET:
        url = reverse("admin:jobsite_jobs_jobrecord_changelist", current_app=request.current_app)
        return f"{url}?{QueryDict(request.GET['back']).urlencode()}"
    workflow = request.GET.get("workflow", "")
    if workflow.isascii() and workflow.isdigit() and len(workflow) < 19:
        return reverse("admin:workflow", args=[int(workflow)], current_app=request.current_app)
    url = reverse("admin:jobsite_jobs_jobrecord_change", args=[job_id], current_app=request.current_app)
    filters = request.GET.get("_changelist_filters", "")  # the job page's own way back to the list
    return f"{url}?{urlencode({'_changelist_filters': filters})}" if filters else url
