"""Who runs jobs: worker processes and schedulers, and the button that asks one to stop."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
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
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from dashboard.kit import flat, hooks, verbs
from dashboard.kit.pages import why
from dashboard.kit.reach import kept, reach_of, seen
from dashboard.kit.switching import switch_once, tell
from dashboard.kit.text import inert
from handlers import fleet, told_hooks
from handlers.exceptions import InvalidJob
from handlers.gateway import job_scheduler
from handlers.models import HookTrouble, WorkerProcess
from handlers.registry import registry
from handlers.selection import Reach

STOP = "jobsite_jobs.stop_workerprocess"
MOST = 2_000  # processes that are looked at
PAGE = 100
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
    hooks: list[Hook]  # that went wrong in it

    @property
    def more_runs(self) -> int:
        """How many are not shown at once."""
        return self.running - SHOWN if len(self.runs) > SHOWN else 0


class Hook(NamedTuple):
    """Middleware or a receiver that went wrong."""

    title: str
    how: str
    told: HookTrouble

    @classmethod
    def of(cls, told: HookTrouble) -> Hook:
        """The same in words."""
        return cls(hooks.title(told), hooks.went(told), told)


class Known(NamedTuple):
    """One process, as far as all of them are looked at."""

    process: WorkerProcess
    lost: bool
    missing: list[str]  # types that it has no handler for
    runs: list[fleet.Run] | None = None  # of somebody who may see no other job

    @property
    def running(self) -> int:
        """Jobs that it runs, as far as anybody knows."""
        if self.runs is not None:
            return len(self.runs)
        return 0 if self.lost else fleet.running(self.process)

    @property
    def needs(self) -> int:
        """How much it needs somebody: 3 it is lost, 2 it cannot run some types, 1 it is asked to stop; 0 not."""
        if self.lost:
            return 3
        return 2 if self.missing else int(self.process.stop_requested_at is not None)


class Host(NamedTuple):
    """A host, and those of its workers that are shown together."""

    name: str
    rows: list[Row]
    workers: int  # all that it has
    busy: int  # of those that live
    running: int  # their jobs


COLUMNS: dict[str, flat.Column[Known]] = {
    "host": flat.Column(gettext_lazy("Worker"), lambda known: (known.process.host, known.process.name)),
    "running": flat.Column(gettext_lazy("Runs"), lambda known: known.running, falls=True),
    "heartbeat": flat.Column(gettext_lazy("Heartbeat"), lambda known: known.process.heartbeat_at),
    "done": flat.Column(gettext_lazy("Done"), lambda known: known.process.done, falls=True),
    "failed": flat.Column(gettext_lazy("Failed"), lambda known: known.process.failed, falls=True),
    "memory": flat.Column(gettext_lazy("Memory"), lambda known: known.process.memory_bytes, falls=True),
}

COUNTED = ("done", "failed")  # columns that count all jobs of a worker


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
    reach = seen(request)
    if reach.is_whole:
        every = [Known(process, process.is_silent, unknown.get(process.types, [])) for process in shown]
    else:
        every = within(request, reach, shown, unknown)
    columns = COLUMNS if reach.is_whole else {name: COLUMNS[name] for name in COLUMNS if name not in COUNTED}
    of_workers = [known for known in every if known.process.kind == "worker"]
    listed = flat.flat(request, of_workers, columns, text=_text, needs=lambda known: known.needs, size=PAGE)
    schedulers = [known for known in every if known.process.kind == "scheduler"]
    names = [known.process.name for known in (*listed.rows, *schedulers)]
    wrong, of = told_hooks.known(names) if reach.is_whole else ([], {})
    context = {
        **site.each_context(request),
        "title": _("Workers"),
        "hosts": _by_host(listed.rows, of_workers, of),
        "flat": listed,
        "schedulers": [_row(known, of) for known in schedulers],
        "hooks": [Hook.of(told) for told in wrong],
        "cut": len(found) > MOST,
        "is_whole": reach.is_whole,
        "most": MOST,
        "shown": SHOWN,
        "may_stop": reach_of(request.user, STOP).is_whole and reach.is_whole,
        "max_reason": verbs.MAX_REASON,
    }
    return TemplateResponse(request, "dashboard/workers/workers.html", context)


def within(
    request: HttpRequest, reach: Reach, processes: Iterable[WorkerProcess], unknown: Mapping[str, list[str]]
) -> list[Known]:
    """Those that serve queues within ``reach``, with what they tell of these; and schedulers, which serve all."""
    queues, types, found = reach.queues(), reach.types(), []
    for process in processes:
        process.queues = [name for name in process.queues if name in queues]
        if process.queues or process.kind == "scheduler":
            found.append(process)
    runs = {process.pk: fleet.runs(process) for process in found}
    ids = [run.job_id for some in runs.values() for run in some]
    ours = kept(request, dict.fromkeys(ids))
    return [
        Known(
            process,
            process.is_silent,  # type: ignore[attr-defined]
            [name for name in unknown.get(process.types, []) if name in types],
            [run for run in runs[process.pk] if run.job_id in ours],
        )
        for process in found
    ]


def _row(known: Known, of: Mapping[str, Sequence[HookTrouble]]) -> Row:
    process, missing = known.process, known.missing
    is_whole = known.runs is None
    return Row(
        process,
        known.lost,
        fleet.running(process) if known.runs is None else len(known.runs),
        fleet.runs(process) if known.runs is None else known.runs,
        _slots(process) if is_whole else [],
        missing[:NAMED],
        len(missing[NAMED:]),
        fleet.troubles(process) if is_whole else [],
        [Hook.of(told) for told in of.get(process.name, ())],
    )


def _slots(process: WorkerProcess) -> list[Slots]:
    kinds = (
        ("async", process.running_async, process.max_async),
        ("sync", process.running_sync, process.threads),
    )
    return [Slots(kind, used, most) for kind, used, most in kinds if used is not None and most]


def _text(known: Known) -> str:
    return " ".join([known.process.name, known.process.host, *known.process.queues])


def _by_host(shown: Sequence[Known], every: Sequence[Known], of: Mapping[str, Sequence[HookTrouble]]) -> list[Host]:
    """Those that are ``shown``, neighbours on a host together, with what is true of the whole host."""
    of_hosts: defaultdict[str, list[Known]] = defaultdict(list)
    for known in every:
        of_hosts[known.process.host].append(known)
    found = []
    for name, grouped in groupby(shown, key=lambda known: known.process.host):
        running = [known.running for known in of_hosts[name] if known.running]
        rows = [_row(known, of) for known in grouped]
        found.append(Host(name, rows, len(of_hosts[name]), len(running), sum(running)))
    return found


@require_POST
def stop_worker(request: HttpRequest) -> HttpResponse:
    """Ask one worker to finish and stop."""
    if not request.user.has_perm(STOP):
        raise PermissionDenied(_("You may not stop workers."))
    name = request.POST.get("name", "").replace("\x00", "")[:100]
    reason = why(request)
    by = cast("AbstractBaseUser", request.user)  # nobody anonymous holds a permission
    try:
        found = switch_once(request, lambda: job_scheduler.stop_worker(name, by=by, reason=reason))
    except InvalidJob as error:
        messages.error(request, str(error))
    else:
        told = {"name": inert(name)}
        done = _("Worker %(name)s is asked to finish and stop; it stays until its jobs have ended.") % told
        before = _("Worker %(name)s had been asked to stop before; nothing was done.") % told
        tell(request, found, done, before)
    return HttpResponseRedirect(reverse("admin:workers", current_app=request.current_app))
