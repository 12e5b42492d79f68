"""Who may do what to sagas, and the one that an address names."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _

from dashboard.kit.verbs import RETRY
from handlers.models import SagaRecord

VIEW, CHANGE = "jobsite_jobs.view_sagarecord", "jobsite_jobs.change_sagarecord"


def need_open(request: HttpRequest) -> None:
    """Raise PermissionDenied unless this person sees jobs and sagas."""
    if not request.user.has_perm("jobsite_jobs.view_jobrecord"):
        raise PermissionDenied(_("You may not see jobs."))
    if not request.user.has_perm(VIEW):
        raise PermissionDenied(_("You may not see sagas."))


def may_complete(request: HttpRequest) -> bool:
    """Whether this person completes sagas by hand."""
    return request.user.has_perm(CHANGE)


def may_retry(request: HttpRequest) -> bool:
    """Whether this person has an event that failed brought to its saga again."""
    return may_complete(request) and RETRY.allowed(request.user)


def need(request: HttpRequest, is_allowed: bool, words: str) -> None:
    """Raise PermissionDenied, with ``words``, unless this person sees sagas, and it is allowed."""
    need_open(request)
    if not is_allowed:
        raise PermissionDenied(words)


def found(saga_id: int) -> SagaRecord:
    """The one of this id. Raises Http404."""
    row = SagaRecord.objects.filter(pk=saga_id).first() if saga_id < 2**63 else None
    if row is None:
        raise Http404(_("There is no such saga: it has aged out, or was never there."))
    return row


def to_page(request: HttpRequest, saga: Any) -> HttpResponse:
    """Lead to the page of one."""
    return HttpResponseRedirect(reverse("admin:saga", args=[saga], current_app=request.current_app))
