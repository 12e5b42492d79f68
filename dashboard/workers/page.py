"""Who runs jobs: worker processes and schedulers, and the button that asks one to stop."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import NamedTuple, cast

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import PermissionDenied
from django.db.models import BooleanField, ExpressionWrapper, Q
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.http import require_POST

from dashboard.kit import verbs
from dashboard.kit.text import inert
from handlers import fleet
from handlers.exceptions import InvalidJob
from handlers.gateway import job_scheduler
from handlers.models import WorkerProcess
from handlers.registry import registry

STOP = "jobs.stop_workerprocess"
MOST = 500  # rows on the page
NAMED = 5  # types that a worker does not know


class Row(NamedTuple):
    """One process, as the page shows it."""

    process: WorkerProcess
    lost: bool  # it went silent without a goodbye
    unknown: list[str]  # the first types that others may enqueue and it has no handler for
    more: int  # such types besides
    troubles: list[fleet.Trouble]  # of a scheduler


class Host(NamedTuple):
    """A host and its workers."""

    name: str
    rows: list[Row]
    busy: int


def workers(site: AdminSite, request: HttpRequest) -> TemplateResponse:
    """Every worker process and scheduler, the lost ones marked."""
    # Both by the database's clock, which is also that of the heartbeats.
    live = Q(heartbeat_at__range=(Now() - fleet.LIVE, Now() + fleet.LIVE))
    silent = ExpressionWrapper(~live, output_field=BooleanField())
    known = WorkerProcess.objects.filter(heartbeat_at__gte=Now() - fleet.LOST).annotate(is_silent=silent)
    found = list(known.order_by("host", "name")[: MOST + 1])
    shown = found[:MOST]
    types = fleet.known_types(shown)
    here = {job_type.name for job_type in registry.all()}
    unknown = {digest: sorted(here - names) for digest, names in types.items()}
    rows = [
        Row(process, process.is_silent, missing[:NAMED], len(missing[NAMED:]), fleet.troubles(process))
        for process in shown
        for missing in [unknown.get(process.types, [])]
    ]
    context = {
        **site.each_context(request),
        "title": "Workers",
        "hosts": _by_host(row for row in rows if row.process.kind == "worker"),
        "schedulers": [row for row in rows if row.process.kind == "scheduler"],
        "cut": len(found) > MOST,
        "most": MOST,
        "may_stop": request.user.has_perm(STOP),
        "max_reason": verbs.MAX_REASON,
    }
    return TemplateResponse(request, "dashboard/workers/workers.html", context)


def _by_host(rows: Iterable[Row]) -> list[Host]:
    grouped = [(name, list(some)) for name, some in groupby(rows, key=lambda row: row.process.host)]
    return [Host(name, some, sum(row.process.job_id is not None for row in some)) for name, some in grouped]


@require_POST
def stop_worker(request: HttpRequest) -> HttpResponse:
    """Ask one worker to finish and stop."""
    if not request.user.has_perm(STOP):
        raise PermissionDenied("You may not stop workers.")
    name = request.POST.get("name", "").replace("\x00", "")[:100]
    reason = request.POST.get("reason", "")[: verbs.MAX_REASON]
    by = cast("AbstractBaseUser", request.user)  # nobody anonymous holds a permission
    try:
        asked = job_scheduler.stop_worker(name, by=by, reason=reason)
    except InvalidJob as error:
        messages.error(request, str(error))
    else:
        if asked:
            messages.success(request, f"Worker {inert(name)} is asked to finish and stop; it stays until its job ends.")
        else:
            messages.warning(request, f"Worker {inert(name)} had been asked to stop before; nothing was done.")
    return HttpResponseRedirect(reverse("admin:workers", current_app=request.current_app))
