"""Where a running job is in its code: asked for by a button, and shown once its worker has told."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import cast

from django.contrib import messages
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import PermissionDenied
from django.db.models import BooleanField, ExpressionWrapper, Q
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from dashboard.jobs.actions import expected
from dashboard.jobs.tracebacks import Part, parts
from dashboard.jobs.views import back_to
from dashboard.kit import reach, verbs
from dashboard.kit.once import act_once
from dashboard.kit.pages import why
from handlers.gateway import job_scheduler
from handlers.models import JobRecord, LiveStack
from handlers.states import FINAL, State

SOON = timedelta(seconds=5)  # so long the page waits for the answer, and says that it comes
LOOKED_AT = FINAL | {State.PROCESSING}  # states in which the job's last run may have been asked for


@dataclass(frozen=True)
class ShownStack:
    """What was asked for, and what came of it."""

    asked: LiveStack
    is_awaited: bool  # it was asked for a moment ago
    parts: list[Part]


def may_ask(request: HttpRequest, record: JobRecord | None = None) -> bool:
    """Whether this person may see where running jobs are: whoever may stop them has to judge whether they hang.

    ``record``: whether they may see where this one is.
    """
    return verbs.DELETE.allowed(request.user) and (
        record is None or reach.covers(request, record, verbs.DELETE.permission)
    )


def shown(request: HttpRequest, record: JobRecord) -> ShownStack | None:
    """The stack of the job's present run, or of its last one, if that was asked for."""
    if not may_ask(request, record) or State(record.state) not in LOOKED_AT:
        return None
    is_fresh = ExpressionWrapper(Q(asked_at__gte=Now() - SOON), output_field=BooleanField())
    row = LiveStack.objects.filter(pk=record.pk, token=record.token).annotate(is_fresh=is_fresh).first()
    if row is None:
        return None
    is_awaited = row.taken_at is None and row.is_fresh and record.state == State.PROCESSING
    return ShownStack(row, is_awaited, parts(row.text))


@require_POST
def show_stack(request: HttpRequest, job_id: int) -> HttpResponse:
    """Ask the job's worker where it is."""
    if not request.user.has_perm("jobsite_jobs.view_jobrecord") or not may_ask(request):
        raise PermissionDenied(_("You may not see where running jobs are."))
    reach.check_job(request, job_id, verbs.DELETE.permission)
    back = back_to(request, job_id)
    by = cast("AbstractBaseUser", request.user)  # nobody anonymous holds a permission
    token, reason = expected(request).get(job_id, ""), why(request)
    did, _new = act_once(
        request, lambda: str(int(job_scheduler.show_stack(job_id, by=by, reason=reason, expect=token)))
    )
    if did == "0":
        messages.warning(
            request, _("Job %(number)d had moved on since the page was made; nothing was asked.") % {"number": job_id}
        )
    return HttpResponseRedirect(f"{back}#job-stack")
