"""Is anything wrong with the whole? What every page says above its content: what happened, why, and what to try."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from dashboard.kit import hooks, queries, reach, shared
from dashboard.kit.moments import plain
from dashboard.kit.numbers import in_figures, thousands
from dashboard.kit.shared import LIVE_SECONDS, Shared, is_live
from dashboard.kit.text import inert
from handlers import fleet, stranded, told_hooks
from handlers.conf import SYSTEM_QUEUE, jobs_settings
from handlers.fleet import QUEUE_SERVER, LiveProcess
from handlers.gateway import job_scheduler
from handlers.models import HookTrouble, QueueSwitch, TypeSwitch
from handlers.queues import known_queues
from handlers.selection import Reach
from handlers.states import State
from handlers.stranded import Stranded

VIEW_JOBS = reach.VIEW_JOBS
KEPT_SECONDS = 2.5  # what one process found out serves its other pages for so long; those that are live longer
TROUBLE_CHARS = 300  # of what Redis says
NAMED = 5  # types or queues that one sentence names
HOOKS = 3  # hooks that have a sentence of their own
EACH = 2  # types of stranded jobs that have a sentence of their own


class Link(NamedTuple):
    """Where to go on."""

    words: str
    url: str


class Banner(NamedTuple):
    """One thing to know. ``level``: ``error`` (work stands still), ``warning``, or ``info`` (somebody wanted it)."""

    level: str
    text: str
    hint: str
    links: tuple[Link, ...] = ()


class Fleet(NamedTuple):
    """Who runs jobs now, and how Redis is."""

    workers: list[LiveProcess]
    schedulers: list[LiveProcess]
    unservable: list[str]
    stranded: list[Stranded]  # jobs that no worker so far could run, by type
    trouble: str  # why Redis takes no messages; empty when it does
    answered_at: datetime | None  # when Redis last answered this process


class Health(NamedTuple):
    """What one request knows about the whole."""

    fleet: Fleet
    queues: dict[str, QueueSwitch]  # paused
    types: dict[str, TypeSwitch]  # paused
    hooks: list[HookTrouble]  # that have gone wrong lately, first the last one


_fleets = Shared["Fleet"](KEPT_SECONDS)
_unserved_now = Shared[list[queries.Waits]](KEPT_SECONDS)
_failing = Shared[queries.Failing](KEPT_SECONDS)
_told_now = Shared[queries.Told](LIVE_SECONDS)
_wrong = Shared[list[HookTrouble]](KEPT_SECONDS)
_answered_at: datetime | None = None


def forget() -> None:
    """Look anew at the next page."""
    global _answered_at  # noqa: PLW0603 - what this process knows, and nobody else's business
    _answered_at = None
    shared.forget()


def of(request: HttpRequest) -> Health:
    """What is known now; found out once for one request."""
    known: Health | None = getattr(request, "_console_health", None)
    if known is None:
        workforce, now = _fleet(request), _told(request)
        hooks = _wrong.get((), lambda: told_hooks.lately(HOOKS + 1)) if now.hooks else []
        known = _within(Health(workforce, now.queues, now.types, hooks), reach.seen(request))
        request._console_health = known  # type: ignore[attr-defined]
    return known


def _within(known: Health, within: Reach) -> Health:
    """What of it is about jobs ``within``: numbers only where they count no other job."""
    if within.is_whole:
        return known
    types, queues, now = within.types(), within.queues(), known.fleet
    return Health(
        now._replace(
            unservable=[name for name in now.unservable if name in types],
            stranded=[each for each in now.stranded if within.has_all_of_type(each.job_type)],
        ),
        {name: switch for name, switch in known.queues.items() if name in queues},
        {name: switch for name, switch in known.types.items() if name in types},
        [],
    )


def unserved(request: HttpRequest) -> list[queries.Waits]:
    """The queues on which jobs wait and that no live worker serves, the longest wait first; found out once."""
    known: list[queries.Waits] | None = getattr(request, "_console_unserved", None)
    if known is None:
        workers, within = of(request).fleet.workers, reach.seen(request)
        found = _unserved_now.get((), lambda: _wait_in_vain(workers), seconds=_kept_seconds(request))
        known = [waits for waits in found if within.has_all_of_queue(waits.queue)]
        request._console_unserved = known  # type: ignore[attr-defined]
    return known


def queue_rows(request: HttpRequest) -> list[queries.QueueRow]:
    """Every queue as it is now. What this process says next of those that nobody serves is of the same look."""
    known = of(request)
    rows = queries.queue_rows(known.queues)
    _unserved_now.keep((), _wait_in_vain(known.fleet.workers, rows))
    return rows


def failing() -> queries.Failing:
    """What failed and which runs wait for somebody, as this process found it a moment ago."""
    return _failing.get((), queries.failing)


def banners(request: HttpRequest) -> list[Banner]:
    """What to say above the page's content, the worst first; nothing to those who may not see jobs."""
    user: Any = request.user
    if not user.is_active or not user.has_perm(VIEW_JOBS):
        return []
    known = of(request)
    found = [
        *_redis(known.fleet), *_processes(known.fleet), *_unserved(request), *_troubles(known.fleet),
        *_stranded(request, known.fleet), *_unservable(known.fleet), *_hooks(request, known.hooks),
        *_paused(known),
    ]  # fmt: skip
    return sorted(found, key=lambda banner: ("error", "warning", "info").index(banner.level))


def _fleet(request: HttpRequest) -> Fleet:
    return _fleets.get((), _look, seconds=_kept_seconds(request))


def _kept_seconds(request: HttpRequest) -> float:
    return LIVE_SECONDS if is_live(request) else KEPT_SECONDS


def _look() -> Fleet:
    global _answered_at  # noqa: PLW0603
    trouble = job_scheduler.transport_trouble()
    if not trouble:
        _answered_at = timezone.now()
    live = fleet.live_briefly()
    workers = [process for process in live if process.kind == "worker"]
    return Fleet(
        workers,
        [process for process in live if process.kind == "scheduler"],
        fleet.unservable_types(workers) if workers else [],  # without one another sentence says all
        stranded.summary(),
        trouble,
        _answered_at,
    )


def _wait_in_vain(workers: list[LiveProcess], rows: list[queries.QueueRow] | None = None) -> list[queries.Waits]:
    """The queues that nobody serves, of ``rows`` where all have been looked at."""
    if not workers:  # another sentence says all
        return []
    served = {SYSTEM_QUEUE}.union(*(worker.queues for worker in workers))
    if rows is None:
        found = queries.waiting(served)
    else:
        waiting = (row for row in rows if row.waiting.value and row.name not in served)
        found = [queries.Waits(row.name, row.waiting, row.oldest_at) for row in waiting]
    return sorted(found, key=lambda waits: (waits.since is None, waits.since))


def _told(request: HttpRequest) -> queries.Told:
    # Read anew for a person: a page after "Queue x runs again" must not say that it is paused.
    return _told_now.get((), queries.told, seconds=None if is_live(request) else 0)


def _redis(now: Fleet) -> list[Banner]:
    if not now.trouble:
        return []
    text = f"{inert(now.trouble, TROUBLE_CHARS).rstrip('.')}."
    if now.answered_at:
        text += " " + _("Live data as of %(time)s.") % {"time": plain(now.answered_at, seconds=True)}
    hint = _(
        "Nothing is lost: what is enqueued is kept in the database, and published when Redis takes it. "
        "Look after the server at REDIS_URL; history is still readable."
    )
    return [Banner("error", text, hint)]


def _processes(now: Fleet) -> list[Banner]:
    found = []
    if not now.workers:
        text = _("No worker is connected: nothing runs, enqueued jobs wait.")
        hint = _("Start one with “python manage.py worker”, or look why its service ended.")
        found.append(Banner("error", text, hint))
    if not now.schedulers:
        text = _("No scheduler is running: scheduled jobs and retries do not become due, and lost jobs stay lost.")
        hint = _("Start one with “python manage.py scheduler”; two are fine, one works.")
        found.append(Banner("error", text, hint))
    return found


def _unserved(request: HttpRequest) -> list[Banner]:
    """Queues whose jobs nobody comes for, though there are workers: with none the other sentence says all."""
    if not (found := unserved(request)):
        return []
    names, first = [waits.queue for waits in found], found[0]
    since = plain(first.since) if first.since else _("a time that nobody knows")
    told = {"names": _names(names), "number": first.number, "since": since}
    if len(names) > 1:
        text = _("No live worker serves queues %(names)s: their jobs wait, the first since %(since)s.") % told
    elif first.queue in known_queues():
        text = (
            ngettext(
                "No live worker serves queue %(names)s: %(number)s job waits there, the first since %(since)s.",
                "No live worker serves queue %(names)s: %(number)s jobs wait there, the first since %(since)s.",
                first.number.value,
            )
            % told
        )
    else:
        text = (
            ngettext(
                "No live worker serves queue %(names)s, which the code no longer names: %(number)s job waits there,"
                " the first since %(since)s.",
                "No live worker serves queue %(names)s, which the code no longer names: %(number)s jobs wait there,"
                " the first since %(since)s.",
                first.number.value,
            )
            % told
        )
    start = {"start": f"python manage.py worker --queues {','.join(names[:NAMED])}"}
    hint = _("Start one with “%(start)s”, or move the jobs to another queue.") % start
    page, jobs = (
        reverse(f"admin:{name}", current_app=getattr(request, "current_app", None))
        for name in ("queues", "jobsite_jobs_jobrecord_changelist")
    )
    links = [Link(_("Queue %(name)s") % {"name": name}, f"{page}#queue-{name}") for name in names[:NAMED]]
    query = urlencode({"queue": names[0], "state": State.ENQUEUED.value})
    return [
        Banner("error", text, hint, (*links, *([Link(_("Its jobs"), f"{jobs}?{query}")] if len(names) == 1 else [])))
    ]


def _troubles(now: Fleet) -> list[Banner]:
    """What schedulers cannot do; what several of them cannot is said once."""
    told = [trouble for scheduler in now.schedulers for trouble in fleet.troubles(scheduler)]
    oldest = {trouble.what: trouble for trouble in sorted(told, key=lambda trouble: trouble.since, reverse=True)}
    return [
        Banner(
            "warning",
            _("A scheduler has trouble with %(what)s since %(since)s: %(why)s")
            % {"what": inert(what, 80), "since": plain(since, seconds=True), "why": inert(reason, 200)},
            _("Its other duties go on, and this one is tried again every second. The scheduler's log says more."),
        )
        for what, since, reason in oldest.values()
        if not now.trouble or what != QUEUE_SERVER  # else the sentence about Redis says all
    ]


def _hooks(request: HttpRequest, wrong: list[HookTrouble]) -> list[Banner]:
    """Middleware and receivers that have gone wrong lately: they harm no job, and do not do what they are for."""
    page = reverse("admin:workers", current_app=getattr(request, "current_app", None))
    links = (Link(_("All hooks that went wrong"), f"{page}#hooks"),)
    hint = _("No job is harmed: it goes on without it. The log of the process says more.")
    if len(wrong) > HOOKS:
        names = _names(sorted({told.name for told in wrong}))
        return [Banner("warning", _("Middleware or receivers go wrong: %(names)s.") % {"names": names}, hint, links)]
    return [
        Banner(
            "warning",
            ngettext(
                "%(hook)s went wrong %(count)s time, at %(when)s: %(how)s.",
                "%(hook)s went wrong %(count)s times, for the last time at %(when)s: %(how)s.",
                told.count,
            )
            % {
                "hook": hooks.title(told), "count": thousands(told.count), "when": plain(told.last_at, seconds=True),
                "how": hooks.went(told)[:TROUBLE_CHARS],
            },
            hint,
            links,
        )
        for told in wrong
    ]  # fmt: skip


def _stranded(request: HttpRequest, now: Fleet) -> list[Banner]:
    """Jobs that workers gave back because their code cannot run them, as in the middle of a deploy."""
    found = []
    hours = in_figures(f"{jobs_settings().unknown_type_hours:g} h")
    page = reverse("admin:jobsite_jobs_jobrecord_changelist", current_app=getattr(request, "current_app", None))
    if len(now.stranded) > EACH:
        return [_many_stranded(now.stranded, hours, f"{page}?{urlencode({'state': State.ENQUEUED.value})}")]
    for each in now.stranded:
        if each.lacking:
            text = ngettext(
                "%(number)s job of type %(name)s waits for a worker that has a handler for its type, the first since"
                " %(since)s.",
                "%(number)s jobs of type %(name)s wait for a worker that has a handler for its type, the first since"
                " %(since)s.",
                each.number,
            )
        else:
            text = ngettext(
                "%(number)s job of type %(name)s waits for a worker whose code reads arguments of another release, the"
                " first since %(since)s.",
                "%(number)s jobs of type %(name)s wait for a worker whose code reads arguments of another release, the"
                " first since %(since)s.",
                each.number,
            )
        since = plain(each.since)
        text %= {"number": thousands(each.number), "name": inert(each.job_type, 80), "since": since}
        hint = _(
            "Deploy workers of the release that can run them. What waits for %(hours)s fails, with this as its reason."
        ) % {"hours": hours}
        query = urlencode({"type": each.job_type, "state": State.ENQUEUED.value})
        found.append(Banner("warning", text, hint, (Link(_("Its jobs"), f"{page}?{query}"),)))
    return found


def _many_stranded(some: list[Stranded], hours: str, url: str) -> Banner:
    """Of so many types, as after a deploy that went wrong, that a sentence for each would fill the page."""
    names, first = _names([each.job_type for each in some]), min(each.since for each in some)
    text = _(
        "%(number)s jobs of %(types)s types wait for a worker that can run them, the first since %(since)s:"
        " %(names)s."
    ) % {
        "number": thousands(sum(each.number for each in some)), "types": thousands(len(some)),
        "since": plain(first), "names": names,
    }  # fmt: skip
    hint = _(
        "Deploy workers of the release that has their handlers. What waits for %(hours)s fails, with this as its"
        " reason."
    ) % {"hours": hours}
    return Banner("warning", text, hint, (Link(_("What is enqueued"), url),))


def _unservable(now: Fleet) -> list[Banner]:
    said = {each.job_type for each in now.stranded}
    names = [name for name in now.unservable if name not in said]
    if not names or not now.workers:  # without a worker the other sentence says all
        return []
    text = ngettext(
        "No live worker can run %(names)s: its jobs wait.", "No live worker can run %(names)s: their jobs wait.",
        len(names),
    ) % {"names": _names(names)}  # fmt: skip
    hint = _(
        "Workers run the code that they were started with: deploy the release that has the handler, and restart them."
    )
    return [Banner("warning", text, hint)]


def _paused(now: Health) -> list[Banner]:
    found = []
    if names := sorted(now.queues):
        text = ngettext(
            "Queue %(names)s is paused: nothing new starts there.",
            "Queues %(names)s are paused: nothing new starts there.",
            len(names),
        ) % {"names": _names(names)}
        hint = _("The page Queues says who did it and why, and has the button to resume.")
        found.append(Banner("info", text, hint))
    if names := sorted(now.types):
        text = ngettext(
            "Job type %(names)s is paused: nothing new starts there.",
            "Job types %(names)s are paused: nothing new starts there.",
            len(names),
        ) % {"names": _names(names)}
        hint = _("The page Job types says who did it and why, and has the button to resume.")
        found.append(Banner("info", text, hint))
    return found


def _names(names: list[str]) -> str:
    """``a``, ``a and b``, ``a, b, c and 4 more``."""
    shown = [inert(name, 80) for name in names[:NAMED]]
    if len(names) > NAMED:
        return _("%(names)s and %(count)s more") % {"names": ", ".join(shown), "count": thousands(len(names) - NAMED)}
    return _(" and ").join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)
