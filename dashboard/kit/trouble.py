"""What the navigation says beside its entries: the trouble that a page leads to, as ``health`` knows it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, NamedTuple

from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from dashboard.kit import health, reach
from dashboard.kit.numbers import thousands
from dashboard.kit.queries import Count, Failing

RECENT = timedelta(minutes=10)  # for so long after a failure the favicon says that something fails


class Mark(NamedTuple):
    """What stands beside one entry of the navigation. ``words`` say what the number is."""

    number: str
    words: str
    is_grave: bool = False  # somebody should look now


def marks(request: HttpRequest) -> dict[str, Mark]:
    """What to say beside which page, by its name; nothing to those who may not see jobs."""
    user: Any = request.user
    if not user.is_active or not user.has_perm(health.VIEW_JOBS):
        return {}
    known, now = health.of(request), _failing(request)
    found = {}
    if now.failed.value:
        number = str(now.failed)
        words = ngettext("%(number)s job is failed now", "%(number)s jobs are failed now", now.failed.value)
        found["failures"] = Mark(number, words % {"number": number}, is_failing(now))
    if paused := now.paused_runs:
        words = ngettext("%(number)d run is paused", "%(number)d runs are paused", paused)
        found["bulk"] = Mark(str(paused), words % {"number": paused}, is_grave=True)
    if user.has_perm("jobsite_jobs.view_alertrule") and (wrong := now.incidents):
        words = ngettext("%(number)d thing is wrong now", "%(number)d things are wrong now", wrong)
        found["alerts"] = Mark(thousands(wrong), words % {"number": wrong}, is_grave=True)
    found |= _sagas(user, now.sagas)
    unserved = {waits.queue for waits in health.unserved(request)}
    if unserved or known.queues:
        said = []
        if unserved:
            words = ngettext("%(number)d without a worker", "%(number)d without a worker", len(unserved))
            said.append(words % {"number": len(unserved)})
        if known.queues:
            words = ngettext("%(number)d paused", "%(number)d paused", len(known.queues))
            said.append(words % {"number": len(known.queues)})
        found["queues"] = Mark(thousands(len(unserved.union(known.queues))), ", ".join(said), bool(unserved))
    if not known.fleet.workers or not known.fleet.schedulers:
        words = _("no worker is connected") if not known.fleet.workers else _("no scheduler is running")
        found["workers"] = Mark("!", words, is_grave=True)
    if known.types:
        words = ngettext("%(number)d paused", "%(number)d paused", len(known.types))
        found["job_types"] = Mark(thousands(len(known.types)), words % {"number": len(known.types)})
    return found


def _sagas(user: Any, stopped: int) -> dict[str, Mark]:
    if not stopped or not user.has_perm("jobsite_jobs.view_sagarecord"):
        return {}
    number = thousands(stopped)
    words = ngettext("%(number)s saga needs somebody", "%(number)s sagas need somebody", stopped)
    return {"sagas": Mark(number, words % {"number": number})}


def fails(request: HttpRequest) -> bool:
    """Whether something fails now: a job did within the last minutes, or work stands still."""
    user: Any = request.user
    if not user.is_active or not user.has_perm(health.VIEW_JOBS):
        return False
    fleet = health.of(request).fleet
    stands_still = bool(fleet.trouble or health.unserved(request) or not fleet.workers or not fleet.schedulers)
    return stands_still or is_failing(_failing(request))


def _failing(request: HttpRequest) -> Failing:
    """What fails, which is counted of all jobs: nothing to who sees some of them only."""
    return health.failing() if reach.seen(request).is_whole else Failing(Count(0), None, 0, 0)


def is_failing(now: Failing) -> bool:
    """Whether a job failed within the last minutes that still is failed."""
    return now.last_at is not None and timezone.now() - now.last_at < RECENT
