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
from dashboard.kit.switching import switch_once, tell
from dashboard.kit.text import inert
from handlers import fleet
from handlers.exceptions import InvalidJob
from handlers.gateway import job_scheduler
from handlers.models import WorkerProcess
from handlers.registry import registry

STOP = "jobsite_jobs.stop_workerprocess"
MOST = 500  # rows on the page
SHOWN = 3  # jobs of a worker that are shown at once
NAMED = 5  # types that a worker does not know


class Slots(NamedTuple):
    """How many jobs of a kind a process runs, and how many more it could."""

    kind: str
    used: int
    most: int

    @property
    def free(self) -> int:
        """How many more; none where a run that is over still holds one."""
        return max(self.most - self.used, 0)


class Row(NamedTuple):
    """One process, as the page shows it."""

    process: WorkerProcess
    lost: bool  # it went silent without a goodbye
    running: int  # jobs
    runs: list[fleet.Run]  # those of them that it names
    slots: list[Slots]  # none where it does not say
    unknown: list[str]  # the first types that others may enqueue and it has no handler for
    more: int  # such types besides
    troubles: list[fleet.Trouble]  # of a scheduler

    @property
    def more_runs(self) -> int:
        """How many are not shown at once."""
        return self.running - SHOWN if len(self.runs) > SHOWN else 0


class Host(NamedTuple):
    """A host and its workers."""

    name: str
    rows: list[Row]
    busy: int  # processes that live
    running: int  # their jobs


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
    rows = [_row(process, process.is_silent, unknown.get(process.types, [])) for process in shown]
    context = {
        **site.each_context(request),
        "title": "Workers",
        "hosts": _by_host(row for row in rows if row.process.kind == "worker"),
        "schedulers": [row for row in rows if row.process.kind == "scheduler"],
        "cut": len(found) > MOST,
        "most": MOST,
        "shown": SHOWN,
        "may_stop": request.user.has_perm(STOP),
        "max_reason": verbs.MAX_REASON,
    }
    return TemplateResponse(request, "dashboard/workers/workers.html", context)


def _row(process: WorkerProcess, lost: bool, missing: list[str]) -> Row:
    running, runs = fleet.running(process), fleet.runs(process)
    return Row(
        process,
        lost,
        running,
        runs,
        _slots(process),
        missing[:NAMED],
        len(missing[NAMED:]),
        fleet.troubles(process),
    )


def _slots(process: WorkerProcess) -> list[Slots]:
    kinds = (
        ("async", process.running_async, process.max_async),
        ("sync", process.running_sync, process.threads),
    )
    return [Slots(kind, used, most) for kind, used, most in kinds if used is not None and most]


def _by_host(rows: Iterable[Row]) -> list[Host]:
    found = []
    for name, grouped in groupby(rows, key=lambda row: row.process.host):
        some = list(grouped)
        running = [row.running for row in some if row.running and not row.lost]
        found.append(Host(name, some, len(running), sum(running)))
    return found


@require_POST
def stop_worker(request: HttpRequest) -> HttpResponse:
    """Ask one worker to finish and stop."""
    if not request.user.has_perm(STOP):
        raise PermissionDenied("You may not stop workers.")
    name = request.POST.get("name", "").replace("\x00", "")[:100]
    reason = request.POST.get("reason", "")[: verbs.MAX_REASON]
    by = cast("AbstractBaseUser", request.user)  # nobody anonymous holds a permission
    try:
        found = switch_once(request, lambda: job_scheduler.stop_worker(name, by=by, reason=reason))
    except InvalidJob as error:
        messages.error(request, str(error))
    else:
        done = f"Worker {inert(name)} is asked to finish and stop; it stays until its jobs have ended."
        tell(request, found, done, f"Worker {inert(name)} had been asked to stop before; nothing was done.")
    return HttpResponseRedirect(reverse("admin:workers", current_app=request.current_app))
