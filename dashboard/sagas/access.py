"""Who may do what to sagas, and the one that an address names.

A role that is limited sees the sagas whose own type it names, without a queue: that it names them says that what they
know, which may come from jobs beyond, is for it. Of the jobs of their stories it sees those within, as everywhere.
"""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _

from dashboard.kit.reach import concerning, in_words
from dashboard.kit.verbs import RETRY
from handlers.models import SagaRecord
from handlers.selection import stored_names

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


def types_seen(request: HttpRequest) -> list[str] | None:
    """The types of the sagas that this person sees, by all names that are stored; None: every type."""
    parts = concerning(request, VIEW).parts
    if parts is None:
        return None
    named = {name for part in parts if not part.queues for name in part.types}
    return sorted({stored for name in named for stored in stored_names(name)})


def seen(request: HttpRequest) -> QuerySet[SagaRecord]:
    """The sagas that this person sees."""
    types = types_seen(request)
    return SagaRecord.objects.all() if types is None else SagaRecord.objects.filter(saga_type__in=types)


def may(request: HttpRequest, row: SagaRecord, *permissions: str) -> bool:
    """Whether this person sees ``row``, and ``permissions``, of whoever holds them, reach it."""
    return concerning(request, VIEW, *permissions).has_all_of_type(row.saga_type)


def found(request: HttpRequest, saga_id: int, *permissions: str) -> SagaRecord:
    """The one of this id. Raises Http404, and PermissionDenied where ``permissions`` do not reach it."""
    row = seen(request).filter(pk=saga_id).first() if saga_id < 2**63 else None
    if row is None:
        raise Http404(_("There is no such saga: it has aged out, or was never there."))
    if not may(request, row, *permissions):
        raise PermissionDenied(in_words(concerning(request, VIEW, *permissions)))
    return row


def to_page(request: HttpRequest, saga: Any) -> HttpResponse:
    """Lead to the page of one."""
    return HttpResponseRedirect(reverse("admin:saga", args=[saga], current_app=request.current_app))
