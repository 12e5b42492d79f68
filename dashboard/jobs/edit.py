"""The page that edits and retries a job."""

from __future__ import annotations

from typing import Any, cast

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _

from dashboard.jobs.views import tell_what_was
from dashboard.kit import catalogue, reach, undoing, verbs
from dashboard.kit.drafts import is_draft
from dashboard.kit.forms import PayloadForm, payload_form
from dashboard.kit.languages import in_language
from dashboard.kit.once import act_once
from dashboard.kit.pages import why
from dashboard.kit.payload_page import OWN, code_of, is_engines_own, is_raw, render
from dashboard.kit.said import say
from dashboard.kit.sensitive import may_see, shown
from dashboard.kit.text import inert
from dashboard.kit.vocabulary import state_label
from handlers.audit import noted
from handlers.exceptions import InvalidJob
from handlers.gateway import job_scheduler
from handlers.job_types import JobType
from handlers.masking import scrub
from handlers.models import JobPayload, JobRecord
from handlers.states import RETRYABLE, State


def edit(site: AdminSite, request: HttpRequest, job_id: int) -> HttpResponse:
    """Change a failed or scheduled job's arguments and run it now."""
    if not verbs.RETRY.allowed(request.user):
        raise PermissionDenied(_("You may not retry jobs."))
    reach.check_job(request, job_id, verbs.RETRY.permission)
    record = JobRecord.objects.filter(pk=job_id).first() if job_id < 2**63 else None
    if record is None:
        raise Http404(reach.no_job(job_id))
    back = HttpResponseRedirect(reverse("admin:jobsite_jobs_jobrecord_change", args=[job_id], current_app=site.name))
    payload = JobPayload.objects.filter(pk=job_id).first()
    job_type = catalogue.find(record.job_type)
    if job_type is None:
        messages.error(
            request,
            _("The type %(job_type)s is not registered here, so nothing could check new arguments.")
            % {"job_type": inert(record.job_type)},
        )
        return back
    if is_engines_own(job_type):
        messages.error(request, OWN % {"name": job_type.name})
        return back
    acts = request.method == "POST" and "preview" not in request.POST and not is_draft(request)
    if payload is None or (State(record.state) not in RETRYABLE and not acts):
        messages.warning(
            request,
            _("Job %(number)d is not as it was: only failed and scheduled jobs can be edited. It is now: %(state)s.")
            % {"number": job_id, "state": state_label(record.state)},
        )
        return back
    posted = request.POST if request.method == "POST" else None
    stored = payload.data
    form = payload_form(job_type, raw=is_raw(request))(posted, stored=stored, sees_sensitive=may_see(request))
    expect = request.POST.get("expect", "").replace("\x00", "") if posted is not None else record.token
    code = ""
    if posted is not None and form.is_valid():
        code = code_of(request, job_type, form.data_json)
        if acts:
            try:
                with noted() as entries:
                    moved, is_new = act_once(request, lambda: str(int(_retry(request, job_id, form.data_json, expect))))
            except InvalidJob as error:
                form.problem_at(error)
            else:
                _tell(request, job_id, moved == "1", is_new, entries)
                return back
    context = {
        "record": record,
        "expect": expect,
        "code": code,
        "verb": _("Retry") if record.state == State.FAILED or record.failures else _("Run now"),
        "heading": _("Edit and retry %(name)s #%(number)d") % {"name": inert(record.job_type), "number": record.pk},
        "misfit": "" if posted is not None else _misfit(job_type, stored),
        "unknown": _unknown(request, job_type, stored, form),
        "max_reason": verbs.MAX_REASON,
    }
    return render(site, request, job_type, form, context)


def _retry(request: HttpRequest, job_id: int, data: Any, expect: str) -> bool:
    reason = why(request)
    by = cast("AbstractBaseUser", request.user)
    return bool(job_scheduler.retry(job_id, payload=data, by=by, reason=reason, expect=expect))


def _tell(request: HttpRequest, job_id: int, moved: bool, is_new: bool, entries: list[int]) -> None:
    if not (moved and is_new):
        tell_what_was(request, [job_id], is_late=not moved)
        return
    done = _("Retried job %(number)d with these arguments; the old ones stay in its history.") % {"number": job_id}
    entry = undoing.offered(entries)
    say(request, messages.SUCCESS, done, undo=entry.pk if entry else None, jobs=[job_id])


def _misfit(job_type: JobType, stored: Any) -> str:
    """Why the stored arguments do not fit the type any more; empty where they do."""
    try:
        job_type.decode(stored)
    except InvalidJob as error:
        return scrub(in_language(error), job_type, stored)
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
