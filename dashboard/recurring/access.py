"""Who may do what to recurring jobs, and the one that an address names."""

from __future__ import annotations

from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _

from dashboard.kit import catalogue
from dashboard.kit.payload_page import ENQUEUE, OWN
from dashboard.kit.reach import concerning, covers_kind, in_words, rows_within
from dashboard.kit.text import inert
from handlers.conf import ENGINE_TYPES
from handlers.models import RecurringJob
from handlers.selection import Reach

VIEW, ADD, CHANGE, DELETE, TRIGGER, PAUSE = (
    f"jobsite_jobs.{verb}_recurringjob" for verb in ("view", "add", "change", "delete", "trigger", "pause")
)


def may_open(request: HttpRequest) -> bool:
    """Whether this person sees recurring jobs."""
    return request.user.has_perm(VIEW) or request.user.has_perm(CHANGE)


def need_open(request: HttpRequest) -> None:
    """Raise PermissionDenied unless this person sees recurring jobs."""
    if not may_open(request):
        raise PermissionDenied(_("You may not see recurring jobs."))


def need(request: HttpRequest, permission: str, words: str) -> None:
    """Raise PermissionDenied, with ``words``, unless this person sees recurring jobs and holds ``permission``."""
    need_open(request)
    if not request.user.has_perm(permission):
        raise PermissionDenied(words)


def need_target(request: HttpRequest, name: str = "") -> None:
    """Raise PermissionDenied unless this person may have jobs run, and those of the type ``name``."""
    if not request.user.has_perm(ENQUEUE):
        raise PermissionDenied(_("You may not enqueue jobs, so neither by having them recur."))
    job_type = catalogue.find(name)
    known = job_type.name if job_type else name  # of one that is not registered here the name alone tells
    if known.startswith(ENGINE_TYPES):
        raise PermissionDenied(OWN % {"name": inert(known)})


def reach_of(request: HttpRequest, *permissions: str) -> Reach:
    """Whose recurring jobs this person may see, with ``permissions`` also change: those that enqueue jobs within."""
    views = [name for name in (VIEW, CHANGE) if request.user.has_perm(name)][:1]
    return concerning(request, *views, *permissions)


def seen(request: HttpRequest) -> QuerySet[RecurringJob]:
    """Those that this person may see."""
    return RecurringJob.objects.filter(rows_within(reach_of(request)))


def may(request: HttpRequest, row: RecurringJob, *permissions: str) -> bool:
    """Whether this person holds ``permissions``, and they reach what ``row`` enqueues."""
    held = all(request.user.has_perm(name) for name in permissions)
    return held and covers_kind(reach_of(request, *permissions), row.job_type, row.queue)


def found(request: HttpRequest, entry_id: int, *permissions: str) -> RecurringJob:
    """The one of this id. Raises Http404, and PermissionDenied where ``permissions`` do not reach it."""
    row = seen(request).filter(pk=entry_id).first() if entry_id < 2**63 else None
    if row is None:
        raise Http404(_("There is no such recurring job: it was removed, or never there."))
    reach = reach_of(request, *permissions)
    if not covers_kind(reach, row.job_type, row.queue):
        raise PermissionDenied(in_words(reach))
    return row


def to_page(request: HttpRequest, entry_id: int) -> HttpResponse:
    """Lead to the page of one."""
    return HttpResponseRedirect(reverse("admin:recurring_job", args=[entry_id], current_app=request.current_app))


def to_list(request: HttpRequest) -> HttpResponse:
    """Lead to the list."""
    return HttpResponseRedirect(reverse("admin:recurring", current_app=request.current_app))
