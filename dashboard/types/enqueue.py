"""The page that enqueues one job of a type."""

from __future__ import annotations

from typing import Any, cast

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from dashboard.kit import catalogue
from dashboard.kit.drafts import is_draft
from dashboard.kit.forms import payload_form
from dashboard.kit.once import act_once
from dashboard.kit.payload_page import ENQUEUE, OWN, code_of, is_engines_own, is_raw, render
from dashboard.kit.reach import acting, in_words, seen
from dashboard.kit.sensitive import may_see
from dashboard.types.form import WhenForm
from handlers.carried import context as travelling
from handlers.exceptions import DuplicateJob, InvalidJob
from handlers.gateway import job_scheduler
from handlers.job_types import JobType
from handlers.models import JobRecord
from handlers.payloads import Command, Job
from handlers.states import State
from handlers.unique import DEBOUNCE

ENQUEUED, KEPT, POSTPONED = "enqueued", "kept", "postponed"  # what became of what was asked for
JOB, JOB_FIRST = gettext_lazy("job %(id)d"), gettext_lazy("Job %(id)d")  # within a sentence, and where one begins
TOLD = {
    ENQUEUED: gettext_lazy("Enqueued {job}."),
    KEPT: gettext_lazy("{Job} holds the key already: nothing new was enqueued."),
    POSTPONED: gettext_lazy(
        "{Job} holds the key already: nothing new was enqueued, it was given this time and these arguments."
    ),
}
TOLD_BEFORE = {
    ENQUEUED: gettext_lazy("This form was sent before and enqueued {job} then; nothing was done now."),
    KEPT: gettext_lazy("This form was sent before, when {job} held the key; nothing was enqueued, then or now."),
    POSTPONED: gettext_lazy(
        "This form was sent before and gave {job} its time and arguments then; nothing was done now."
    ),
}


def enqueue(site: AdminSite, request: HttpRequest, name: str) -> HttpResponse:
    """Enqueue one job of a type."""
    if not request.user.has_perm(ENQUEUE):
        raise PermissionDenied(_("You may not enqueue jobs."))
    job_type, reach = _type(request, name), acting(request, ENQUEUE)
    if reach.queues_of(job_type.name) == frozenset():
        raise PermissionDenied(in_words(reach))
    if is_engines_own(job_type):
        raise PermissionDenied(OWN % {"name": job_type.name})
    posted = request.POST if request.method == "POST" else None
    form = payload_form(job_type, raw=is_raw(request))(posted, sees_sensitive=may_see(request))
    when = WhenForm(posted, job_type=job_type, reach=reach)
    context: dict[str, Any] = {
        "when": when,
        "verb": _("Enqueue"),
        "heading": _("Enqueue %(type)s") % {"type": job_type.name},
    }
    if posted is not None and form.is_valid() & when.is_valid():
        context["code"] = code_of(request, job_type, form.data_json, **when.options)
        if "preview" not in posted and not is_draft(request):
            try:
                answer, is_new = act_once(request, lambda: _enqueue(request, job_type.decode(form.data_json), when))
            except InvalidJob as error:
                when.refuse(error)
            except DuplicateJob as error:
                when.add_error("if_there", _("Job %(id)s holds the key already.") % {"id": error.job_id})
                context["holder"] = _link(site, error.job_id or 0, str(JOB))  # never None for one job
            else:
                _tell(site, request, answer, is_new=is_new)
                return HttpResponseRedirect(reverse("admin:job_type", args=[job_type.name], current_app=site.name))
    return render(site, request, job_type, form, context)


def _enqueue(request: HttpRequest, job: Job | Command, when: WhenForm) -> str:
    """The id of the job, and what became of what was asked for."""
    by, reason = cast("AbstractBaseUser", request.user), when.cleaned_data["reason"]
    verb = job_scheduler.schedule if "at" in when.options else job_scheduler.enqueue
    with travelling(language=None):  # this person reads the console in it, and the job is not about them
        job_id = verb(job, **when.options, by=by, reason=reason)
    if job_id.is_new:
        return f"{job_id} {ENQUEUED}"
    # In the transaction that holds the key: a scheduled job got what was asked for, any other did not.
    waits = JobRecord.objects.filter(pk=job_id, state=State.SCHEDULED, attempt=0).exists()
    return f"{job_id} {POSTPONED if waits and when.rule and when.rule.on_conflict == DEBOUNCE else KEPT}"


def _tell(site: AdminSite, request: HttpRequest, answer: str, *, is_new: bool) -> None:
    job_id, _space, became = answer.partition(" ")
    tell = messages.success if became == ENQUEUED else messages.warning
    words = (TOLD if is_new else TOLD_BEFORE)[became]
    links = {"job": _link(site, int(job_id), str(JOB)), "Job": _link(site, int(job_id), str(JOB_FIRST))}
    (tell if is_new else messages.info)(request, format_html(str(words), **links))


def _link(site: AdminSite, job_id: int, words: str) -> SafeString:
    """The job, with a link where it is still there: a key may outlast it."""
    if not JobRecord.objects.filter(pk=job_id).exists():
        return format_html("{}, {},", words % {"id": job_id}, _("erased since"))
    url = reverse("admin:jobsite_jobs_jobrecord_change", args=[job_id], current_app=site.name)
    return format_html('<a href="{}">{}</a>', url, words % {"id": job_id})


def _type(request: HttpRequest, name: str) -> JobType:
    job_type = catalogue.find(name)
    if job_type is None or job_type.name not in seen(request).types():
        raise Http404(_("There is no job type %(name)s.") % {"name": name[:100]})
    return job_type
