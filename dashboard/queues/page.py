"""The Queues page: is each queue moving, and who serves it? And the switches that pause and resume one."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple, cast

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from dashboard.kit import flat, health, lately, metrics, queries, serving, verbs
from dashboard.kit.moments import plain
from dashboard.kit.pages import why
from dashboard.kit.reach import acting, in_words, seen
from dashboard.kit.switching import switch_once, tell
from handlers.conf import SYSTEM_QUEUE
from handlers.exceptions import InvalidJob
from handlers.gateway import job_scheduler
from handlers.queues import known_queues

PAUSE = "jobsite_jobs.pause_queueswitch"

# How long a pause may last: what the form sends, and words for it. Spans, because nobody does sums in UTC at night.
SPANS = {
    "": (gettext_lazy("until resumed"), None),
    "15m": (gettext_lazy("for 15 min"), timedelta(minutes=15)),
    "1h": (gettext_lazy("for 1 h"), timedelta(hours=1)),
    "8h": (gettext_lazy("for 8 h"), timedelta(hours=8)),
    "24h": (gettext_lazy("for 24 h"), timedelta(hours=24)),
}


class Fact(NamedTuple):
    """One queue, as the page shows it."""

    row: queries.QueueRow
    rate: metrics.Rate | None
    workers: int  # live ones that serve it

    @property
    def needs(self) -> int:
        """How much it needs somebody: 3 its jobs wait for nobody, 2 it is paused, 1 more comes than goes; 0 not."""
        if self.row.waiting.value and not self.workers:
            return 3
        if self.row.switch:
            return 2
        return int(self.rate is not None and self.rate.grows(self.row.waiting.value))


COLUMNS: dict[str, flat.Column[Fact]] = {
    "name": flat.Column(gettext_lazy("Queue"), lambda fact: fact.row.name),
    "waiting": flat.Column(gettext_lazy("Waiting"), lambda fact: fact.row.waiting.value, falls=True),
    "oldest": flat.Column(gettext_lazy("Oldest"), lambda fact: fact.row.oldest_at),
    "in": flat.Column(gettext_lazy("In/min"), lambda fact: fact.rate.in_per_minute if fact.rate else 0, falls=True),
    "out": flat.Column(gettext_lazy("Out/min"), lambda fact: fact.rate.out_per_minute if fact.rate else 0, falls=True),
    "running": flat.Column(gettext_lazy("Running"), lambda fact: fact.row.processing.value, falls=True),
    "scheduled": flat.Column(gettext_lazy("Scheduled"), lambda fact: fact.row.scheduled.value, falls=True),
    "workers": flat.Column(gettext_lazy("Workers"), lambda fact: fact.workers, falls=True),
}


def queues(site: AdminSite, request: HttpRequest) -> TemplateResponse:
    """Every queue, by pages: is it moving?"""
    rates, known = lately.queue_rates(), health.of(request)
    may_move = verbs.MOVE.allowed(request.user) and request.user.has_perm(verbs.RUN_BULK)
    serve = serving.by_queue(known.fleet.workers)
    may_pause, moving = acting(request, PAUSE), acting(request, verbs.RUN_BULK, verbs.MOVE.permission)
    is_seen = seen(request).has_all_of_queue  # of others the numbers would count what is beyond
    every = [Fact(row, rates.get(row.name), serve(row.name)) for row in health.queue_rows(request) if is_seen(row.name)]
    listed = flat.flat(request, every, COLUMNS, text=lambda fact: fact.row.name, needs=lambda fact: fact.needs)
    facts = [
        {
            "row": fact.row,
            "rate": fact.rate,
            "needs": fact.needs,
            "workers": fact.workers,
            "move_url": _move_url(site, fact.row) if may_move and moving.has_all_of_queue(fact.row.name) else "",
            "may_pause": may_pause.has_all_of_queue(fact.row.name),
        }
        for fact in listed.rows
    ]
    context = {
        **site.each_context(request),
        "title": _("Queues"),
        "facts": facts,
        "flat": listed,
        "spans": [(value, words) for value, (words, _length) in SPANS.items()],
        "max_reason": verbs.MAX_REASON,
    }
    return TemplateResponse(request, "dashboard/queues/queues.html", context)


def _move_url(site: AdminSite, row: queries.QueueRow) -> str:
    """Where all that waits on the queue is moved to another; empty where there is nothing to move."""
    if row.name == SYSTEM_QUEUE or not (row.waiting.value or row.scheduled.value or row.scheduled.is_unknown):
        return ""
    return f"{reverse('admin:bulk_new', current_app=site.name)}?{urlencode({'verb': 'move', 'queue': row.name})}"


@require_POST
def pause_queue(request: HttpRequest, name: str) -> HttpResponse:
    """Pause a queue, for a while or until it is resumed."""
    by, reason = _asked(request, name)
    span = request.POST.get("span", "")
    if span not in SPANS:
        messages.error(request, _("That is no length of time that a queue can be paused for; nothing was done."))
        return _back(request)
    length = SPANS[span][1]
    until: datetime | None = timezone.now() + length if length else None
    was_paused = name in job_scheduler.paused_queues()  # to undo a longer pause is not to end it
    try:
        found = switch_once(request, lambda: job_scheduler.pause_queue(name, until, by=by, reason=reason))
    except InvalidJob as error:
        messages.error(request, str(error))
    else:
        done = _("Paused queue %(name)s: what runs now ends, nothing new starts.") % {"name": name}
        if until:
            done += " " + _("It resumes by itself at %(time)s.") % {"time": plain(until)}
        tell(request, found, done, can_undo=not was_paused)
    return _back(request)


@require_POST
def resume_queue(request: HttpRequest, name: str) -> HttpResponse:
    """Let a queue run again."""
    by, reason = _asked(request, name)
    try:
        found = switch_once(request, lambda: job_scheduler.resume_queue(name, by=by, reason=reason))
    except InvalidJob as error:
        messages.error(request, str(error))
    else:
        tell(request, found, _("Queue %(name)s runs again.") % {"name": name})
    return _back(request)


def _asked(request: HttpRequest, name: str) -> tuple[AbstractBaseUser, str]:
    """Who asks, and why. Raises PermissionDenied, and Http404 for a queue that is none."""
    if not request.user.has_perm(PAUSE):
        raise PermissionDenied(_("You may not pause or resume queues."))
    if name not in known_queues() and name not in job_scheduler.paused_queues():
        raise Http404(_("There is no queue %(name)s.") % {"name": name})
    if not seen(request).has_all_of_queue(name):
        raise Http404(_("There is no queue %(name)s.") % {"name": name})
    if not acting(request, PAUSE).has_all_of_queue(name):
        raise PermissionDenied(in_words(acting(request, PAUSE)))
    by = cast("AbstractBaseUser", request.user)  # nobody anonymous holds a permission
    return by, why(request)


def _back(request: HttpRequest) -> HttpResponse:
    return HttpResponseRedirect(reverse("admin:queues", current_app=request.current_app))
