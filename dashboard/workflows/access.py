"""Who may do what to workflows, and the one that an address names."""

from __future__ import annotations

from collections.abc import Iterable

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _

from dashboard.kit.reach import concerning, in_words
from dashboard.kit.verbs import DELETE, RETRY
from dashboard.kit.workflows import is_within, kept
from handlers.models import Workflow

VIEW, CHANGE = "jobsite_jobs.view_workflow", "jobsite_jobs.change_workflow"
RETRYING, SKIPPING = (CHANGE, RETRY.permission), (RETRY.permission, DELETE.permission)


def need_open(request: HttpRequest) -> None:
    """Raise PermissionDenied unless this person sees workflows."""
    if not request.user.has_perm(VIEW):
        raise PermissionDenied(_("You may not see workflows."))


def may_change(request: HttpRequest) -> bool:
    """Whether this person pauses, resumes and cancels workflows."""
    return request.user.has_perm(CHANGE)


def may_retry(request: HttpRequest) -> bool:
    """Whether this person has a workflow's failed jobs run again, all at once."""
    return may_change(request) and RETRY.allowed(request.user)


def may_skip(request: HttpRequest) -> bool:
    """Whether this person has others go on as if a failed job had succeeded."""
    return RETRY.allowed(request.user) and DELETE.allowed(request.user)


def need(request: HttpRequest, is_allowed: bool, words: str) -> None:
    """Raise PermissionDenied, with ``words``, unless this person sees jobs and workflows, and it is allowed."""
    if not request.user.has_perm("jobsite_jobs.view_jobrecord"):
        raise PermissionDenied(_("You may not see jobs."))
    need_open(request)
    if not is_allowed:
        raise PermissionDenied(words)


def found(request: HttpRequest, workflow_id: int, *permissions: str) -> Workflow:
    """The one of this id. Raises Http404, and PermissionDenied where ``permissions`` do not reach all of its jobs."""
    row = Workflow.objects.filter(pk=workflow_id).first() if workflow_id < 2**63 else None
    if row is None or not is_within(concerning(request, VIEW), row):
        raise Http404(_("There is no such workflow: it has aged out, or was never there."))
    if not may(request, row, *permissions):
        raise PermissionDenied(in_words(concerning(request, VIEW, *permissions)))
    return row


def may(request: HttpRequest, row: Workflow, *permissions: str) -> bool:
    """Whether ``permissions`` reach all of its jobs, for whoever holds them."""
    reach = concerning(request, VIEW, *permissions)
    return reach == concerning(request, VIEW) or is_within(reach, row)


def seen_of(request: HttpRequest, rows: Iterable[Workflow]) -> list[Workflow]:
    """Those of ``rows`` that this person may see."""
    return kept(concerning(request, VIEW), rows)


def to_page(request: HttpRequest, workflow_id: int) -> HttpResponse:
    """Lead to the page of one."""
    return HttpResponseRedirect(reverse("admin:workflow", args=[workflow_id], current_app=request.current_app))
