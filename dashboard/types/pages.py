"""The job types page, and one page for each type: what can run here, and how does it go?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple, cast

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from dashboard.kit import catalogue, flat, health, lately, metrics, serving, verbs
from dashboard.kit.catalogue import TypeRow
from dashboard.kit.one_at_a_time import rule_in_words
from dashboard.kit.pages import why
from dashboard.kit.payload_page import ENQUEUE, is_engines_own
from dashboard.kit.reach import acting, in_words, seen
from dashboard.kit.slots import terms_in_words
from dashboard.kit.switching import switch_once, tell
from handlers import fleet
from handlers.admission.terms import terms_of
from handlers.exceptions import InvalidJob
from handlers.fleet import LiveProcess
from handlers.gateway import job_scheduler
from handlers.job_types import JobType
from handlers.models import BlockingCall
from handlers.models.kept import database
from handlers.policies import Effective, effective_many

PAUSE = "jobsite_jobs.pause_queueswitch"
NONE = metrics.TypeCounts(0, 0)
BAD_SHARE = 0.2  # of the attempts of a day that failed, above which somebody should look


class Fact(NamedTuple):
    """One type, as far as all of them are looked at: what the list is sorted by."""

    row: TypeRow
    counts: metrics.TypeCounts
    paused: bool
    workers: int  # live ones that know it
    served: int  # live ones that serve its queue

    @property
    def needs(self) -> int:
        """How much it needs somebody: 3 no worker can run it, 2 it is paused, 1 many of its attempts fail; 0 not."""
        if not self.workers or not self.served:
            return 3
        return 2 if self.paused else int(self.counts.share > BAD_SHARE)


COLUMNS: dict[str, flat.Column[Fact]] = {
    "name": flat.Column(gettext_lazy("Type"), lambda fact: fact.row.job_type.name),
    "queue": flat.Column(gettext_lazy("Queue"), lambda fact: fact.row.job_type.queue),
    "runs": flat.Column(gettext_lazy("Runs"), lambda fact: fact.counts.runs, falls=True),
    "failures": flat.Column(gettext_lazy("Failures"), lambda fact: fact.counts.failures, falls=True),
    "workers": flat.Column(gettext_lazy("Workers"), lambda fact: fact.workers),
}


def job_types(site: AdminSite, request: HttpRequest) -> TemplateResponse:
    """Every registered type, by pages."""
    counts, paused, workers = lately.type_counts(), job_scheduler.paused_types(), health.of(request).fleet.workers
    known, serve = _known_by_workers(workers), serving.by_queue(workers)
    types, is_whole = seen(request).types(), seen(request).has_all_of_type
    every = [
        Fact(
            row,
            counts.get(name, NONE) if is_whole(name) else NONE,
            name in paused,
            known[name],
            serve(row.job_type.queue),
        )
        for row in catalogue.types()
        for name in (row.job_type.name,)
        if name in types
    ]
    listed = flat.flat(request, every, COLUMNS, text=lambda fact: fact.row.job_type.name, needs=lambda fact: fact.needs)
    shown = [fact.row.job_type for fact in listed.rows]
    policies, stats = effective_many(shown), metrics.type_stats([job_type.name for job_type in shown])
    rows = [
        {
            "row": fact.row,
            "policy": policies.get(fact.row.job_type.name, Effective(fact.row.job_type.retry)),
            "stats": stats.get(fact.row.job_type.name) if is_whole(fact.row.job_type.name) else None,
            "is_whole": is_whole(fact.row.job_type.name),
            "paused": fact.paused,
            "workers": fact.workers,
            "served": fact.served,
            "needs": fact.needs,
        }
        for fact in listed.rows
    ]
    context = {"rows": rows, "flat": listed, "total": len(every), "q": listed.q, "title": _("Job types")}
    return TemplateResponse(request, "dashboard/types/types.html", {**site.each_context(request), **context})


def job_type(site: AdminSite, request: HttpRequest, name: str) -> TemplateResponse:
    """One type, with its schema."""
    found = _find(request, name)
    if found is None:
        raise Http404(_("There is no job type %(name)s.") % {"name": name[:100]})
    facts = _facts(request, [TypeRow(found)])[0]
    context = {
        "title": found.name,
        "fact": facts,
        "row": facts["row"],
        "blocked": BlockingCall.objects.filter(job_type__in=(found.name, *found.aliases)).order_by("-at").first(),
        "sensitive": sorted(found.sensitive_fields),
        "limits": _limits(found),
        "one_at_a_time": rule_in_words(found.unique) if found.unique else "",
        "may_pause": acting(request, PAUSE).has_all_of_type(found.name),
        "may_enqueue": acting(request, ENQUEUE).queues_of(found.name) != frozenset() and not is_engines_own(found),
        "max_reason": verbs.MAX_REASON,
    }
    return TemplateResponse(request, "dashboard/types/type.html", {**site.each_context(request), **context})


@require_POST
def pause_type(request: HttpRequest, name: str) -> HttpResponse:
    """Let no worker start jobs of this type."""
    return _switch(request, name, pause=True)


@require_POST
def resume_type(request: HttpRequest, name: str) -> HttpResponse:
    """Let jobs of this type run again."""
    return _switch(request, name, pause=False)


def _find(request: HttpRequest, name: str) -> JobType | None:
    """The type, if this person may see some of its jobs."""
    found = catalogue.find(name)
    return found if found is not None and found.name in seen(request).types() else None


def _limits(found: JobType) -> list[dict[str, Any]]:
    """The type's limits, with what holds now."""
    terms = terms_of([limit.name for limit in found.limits], database())
    return [{"limit": limit, "words": terms_in_words(terms[limit.name])} for limit in found.limits]


def _switch(request: HttpRequest, name: str, *, pause: bool) -> HttpResponse:
    if not request.user.has_perm(PAUSE):
        raise PermissionDenied(_("You may not pause or resume job types."))
    found = _find(request, name)
    if found is None:
        raise Http404(_("There is no job type %(name)s.") % {"name": name[:100]})
    if not acting(request, PAUSE).has_all_of_type(found.name):
        raise PermissionDenied(in_words(acting(request, PAUSE)))
    reason = why(request)
    by = cast("AbstractBaseUser", request.user)  # nobody anonymous holds a permission
    act: Callable[..., Any] = job_scheduler.pause_type if pause else job_scheduler.resume_type
    was_paused = found.name in job_scheduler.paused_types()
    try:
        switched = switch_once(request, lambda: act(found.name, by=by, reason=reason))
    except InvalidJob as error:
        messages.error(request, str(error))
    else:
        done = _("Paused %(name)s: what runs now ends, nothing new starts.") if pause else _("%(name)s runs again.")
        tell(request, switched, done % {"name": found.name}, can_undo=was_paused != pause)
    return HttpResponseRedirect(reverse("admin:job_type", args=[found.name], current_app=request.current_app))


def _facts(request: HttpRequest, rows: list[TypeRow]) -> list[dict[str, Any]]:
    """Each type with what is known of it at this moment."""
    policies = effective_many([row.job_type for row in rows])
    stats = metrics.type_stats([row.job_type.name for row in rows])
    paused = job_scheduler.paused_types()
    known = _known_by_workers(health.of(request).fleet.workers)
    return [
        {
            "row": row,
            "policy": policies.get(row.job_type.name, Effective(row.job_type.retry)),
            "stats": stats.get(row.job_type.name) if seen(request).has_all_of_type(row.job_type.name) else None,
            "is_whole": seen(request).has_all_of_type(row.job_type.name),
            "paused": paused.get(row.job_type.name),
            "workers": known[row.job_type.name],
            "service": serving.of(request, row.job_type.queue),
        }
        for row in rows
    ]


def _known_by_workers(workers: list[LiveProcess]) -> Counter[str]:
    """How many of ``workers`` know each type."""
    known: Counter[str] = Counter()
    alike = Counter(worker.types for worker in workers)  # nearly all know the same
    for digest, names in fleet.known_types(workers).items():
        known.update(dict.fromkeys(names, alike[digest]))
    return known
