"""What needs somebody, a line each, the worst first; and what is well, in one line however much of it there is."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from dashboard.kit import health, queries, serving
from dashboard.kit.metrics import Rate
from dashboard.kit.numbers import thousands
from dashboard.kit.serving import workers_in_words
from dashboard.kit.text import inert, rough
from handlers.fleet import LiveProcess
from handlers.models import FailureGroup
from handlers.states import State

MOST = 6  # lines of one kind
QUIET_NAMED = 12  # queues that the folded line names once it is open


class QueueLine(NamedTuple):
    """A queue and how it is."""

    row: queries.QueueRow
    workers: int  # live ones that serve it
    now: datetime
    stuck: bool  # jobs wait, and nobody comes for them
    rate: Rate | None = None  # present: more comes than goes

    @property
    def grows(self) -> bool:
        """Whether more comes than goes."""
        return self.rate is not None

    @property
    def words(self) -> str:
        """The same in words: of a thousand queues few are told."""
        return _words(self.row, self.workers, self.now, self.rate)

    @property
    def needs_somebody(self) -> bool:
        """Whether it is more than busy."""
        return self.stuck or self.grows or self.row.switch is not None


class Line(NamedTuple):
    """One trouble. ``tone``: bad (stands still, fails), some (somebody wanted it, or it gets worse)."""

    tone: str
    kind: str
    name: str
    url: str
    words: str


class Trouble(NamedTuple):
    """All of it, and what of the queues is well."""

    lines: list[Line]
    more: list[tuple[str, str]]  # what is not named: words and where it is
    quiet: list[QueueLine]  # the first of the queues that need nobody
    quiet_words: str


def queue_lines(
    rows: list[queries.QueueRow], workers: list[LiveProcess], now: datetime, rates: dict[str, Rate] | None = None
) -> list[QueueLine]:
    """Each queue in words, those that need somebody first. ``workers``: the live ones."""
    lines, serve = [], serving.by_queue(workers)
    for row in rows:
        number = serve(row.name)
        rate = (rates or {}).get(row.name)
        grows = bool(rate and number and not row.switch and rate.grows(row.waiting.value))
        lines.append(QueueLine(row, number, now, bool(row.waiting.value) and not number, rate if grows else None))
    return sorted(lines, key=_urgency)


def trouble(
    known: health.Health,
    queues: list[QueueLine],
    groups: list[FailureGroup],
    app: str | None,
    *,
    waiting: queries.Count | None = None,
) -> Trouble:
    """What needs somebody. ``queues``: all of them; ``groups``: the failure groups that came back; ``waiting``: the
    jobs that wait for a signal."""
    found = [*_queues(queues, app), *_groups(groups, app), *_types(known, app), *_waiting(waiting, app)]
    lines, more = [], []
    for kind in dict.fromkeys(line.kind for line in found):
        some = [line for line in found if line.kind == kind]
        lines += some[:MOST]
        if (left := len(some) - MOST) > 0:
            words = ngettext("%(count)s more: %(kind)s", "%(count)s more: %(kind)s", left)
            more.append((words % {"count": thousands(left), "kind": kind}, some[0].url.partition("#")[0]))
    quiet = [line for line in queues if not line.needs_somebody]
    words = ngettext("%(count)s queue moves", "%(count)s queues move", len(quiet)) % {"count": thousands(len(quiet))}
    waits = sum(line.row.waiting.value for line in quiet)
    if waits:
        words += ngettext(", %(count)s job waits there", ", %(count)s jobs wait there", waits) % {
            "count": thousands(waits)
        }
    return Trouble(lines, more, quiet[:QUIET_NAMED], words)


def _queues(lines: list[QueueLine], app: str | None) -> list[Line]:
    page = reverse("admin:queues", current_app=app)
    found = []
    for line in lines:
        if not line.needs_somebody:
            continue
        kind = _("Stands still") if line.stuck else _("Paused") if line.row.switch else _("Grows")
        query = urlencode({"q": line.row.name})
        tone = "bad" if line.stuck else "some"
        found.append(Line(tone, kind, line.row.name, f"{page}?{query}#queue-{line.row.name}", line.words))
    return found


def _waiting(waiting: queries.Count | None, app: str | None) -> list[Line]:
    if waiting is None or not waiting.value:
        return []
    jobs = reverse("admin:jobsite_jobs_jobrecord_changelist", current_app=app)
    words = ngettext("%(count)s job waits for an answer", "%(count)s jobs wait for an answer", waiting.value)
    url = f"{jobs}?{urlencode({'state': State.WAITING.value})}"
    return [Line("some", _("Waits"), words % {"count": waiting}, url, "")]


def _groups(groups: list[FailureGroup], app: str | None) -> list[Line]:
    return [
        Line(
            "bad",
            _("Came back"),
            inert(str(group), 120),
            reverse("admin:failure_group", args=[group.fingerprint], current_app=app),
            ngettext("%(count)s attempt in all", "%(count)s attempts in all", group.count)
            % {"count": thousands(group.count)},
        )
        for group in groups
    ]


def _types(known: health.Health, app: str | None) -> list[Line]:
    page = reverse("admin:job_types", current_app=app)
    jobs = reverse("admin:jobsite_jobs_jobrecord_changelist", current_app=app)
    found = []
    if stranded := known.fleet.stranded:
        number = sum(each.number for each in stranded)
        words = ngettext(
            "%(count)s job waits for a worker that can run it",
            "%(count)s jobs wait for a worker that can run them",
            number,
        )
        names = (
            stranded[0].job_type
            if len(stranded) == 1
            else ngettext("%(count)s type", "%(count)s types", len(stranded)) % {"count": thousands(len(stranded))}
        )
        which = {"state": State.ENQUEUED.value} | ({"type": stranded[0].job_type} if len(stranded) == 1 else {})
        line = Line(
            "bad", _("No worker"), inert(names, 120), f"{jobs}?{urlencode(which)}", words % {"count": thousands(number)}
        )
        found.append(line)
    for name, switch in sorted(known.types.items()):
        words = (
            _("type paused by %(who)s") % {"who": inert(switch.by.removeprefix("user:"), 60)}
            if switch.by
            else _("type paused")
        )
        query = urlencode({"q": name})
        found.append(Line("some", _("Paused"), inert(name, 120), f"{page}?{query}", words))
    return found


def _urgency(line: QueueLine) -> tuple[bool, bool, bool, bool, str]:
    row = line.row
    return not line.stuck, row.switch is None, not line.grows, not (row.waiting.value or row.processing.value), row.name


def _words(row: queries.QueueRow, workers: int, now: datetime, rate: Rate | None) -> str:
    """``214 waiting, oldest 9 min, no live worker serves it``."""
    parts = [_("%(count)s waiting") % {"count": row.waiting} if row.waiting.value else _("nothing waiting")]
    if row.waiting.value and row.oldest_at:
        parts.append(_("oldest %(time)s") % {"time": rough((now - row.oldest_at).total_seconds())})
    if rate:
        told = {"came": thousands(round(rate.in_per_minute)), "went": thousands(round(rate.out_per_minute))}
        parts.append(_("%(came)s come and %(went)s go a minute") % told)
    if row.processing.value:
        parts.append(_("%(count)s running") % {"count": row.processing})
    if row.switch:
        by = inert(row.switch.by.removeprefix("user:"), 60)
        parts.append(_("paused by %(who)s") % {"who": by} if by else _("paused"))
    if not row.known:
        parts.append(_("the code no longer names it"))
    parts.append(workers_in_words(workers) if workers else _("no live worker serves it"))
    return ", ".join(parts)
