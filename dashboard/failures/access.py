"""Who may do what to failure groups, and where a group's jobs are retried."""

from __future__ import annotations

from urllib.parse import urlencode

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from dashboard.kit.verbs import RUN_BULK
from handlers.models import FailureGroup

CHANGE = "jobsite_jobs.change_failuregroup"
VIEW_JOBS = "jobsite_jobs.view_jobrecord"
NONE = gettext_lazy("There is no such failure group. One appears within seconds after its first failure.")


def may_change(request: HttpRequest) -> bool:
    """Whether this person may say what becomes of failure groups."""
    return request.user.has_perm(CHANGE)


def need_change(request: HttpRequest) -> None:
    """Raise PermissionDenied unless this person sees jobs and may change failure groups."""
    if not (request.user.has_perm(VIEW_JOBS) and may_change(request)):
        raise PermissionDenied(_("You may not change failure groups."))


def found(fingerprint: str) -> FailureGroup:
    """The group of this fingerprint. Raises Http404."""
    group = FailureGroup.objects.filter(pk=fingerprint).first() if len(fingerprint) <= 16 else None
    if group is None:
        raise Http404(NONE)
    return group


def bulk_url(request: HttpRequest, verb: str, fingerprint: str) -> str:
    """The preview of ``verb`` over the group's jobs that are failed now; empty for who may not start that."""
    if not (request.user.has_perm(RUN_BULK) and request.user.has_perm(f"jobsite_jobs.{verb}_jobrecord")):
        return ""
    try:
        url = reverse("admin:bulk_new", current_app=request.current_app)
    except NoReverseMatch:
        return ""
    return f"{url}?{urlencode({'verb': verb, 'q': f'group:{fingerprint}', 'state': 'failed'})}"
