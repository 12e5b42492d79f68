"""What changed since this person last looked: kept for each on the server, so on every device the same."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from dashboard.kit.numbers import thousands
from dashboard.kit.pages import person_of
from dashboard.kit.text import in_words, inert
from dashboard.models import Visit
from handlers.audit import user_name
from handlers.models import AuditEntry, Deploy, FailureGroup
from handlers.states import State

AWAY = timedelta(minutes=10)  # whoever comes back after it is told what happened meanwhile
OFTEN = timedelta(minutes=1)  # how often a visit is written down
LONGEST = timedelta(days=7)  # what came before is no news
FIRST = timedelta(days=1)  # what somebody is told who has never looked
MOST = 50  # of one kind that are counted
VIEW_AUDIT = "jobsite_jobs.view_auditentry"
NAMED = 3  # acts that are told one by one
# Acts that change what happens by itself. What people do with jobs shows in the jobs.
TELLING = (
    "pause_queue", "resume_queue", "pause_type", "resume_type", "stop_worker", "start_bulk", "stop_bulk",
    "pause_recurring", "resume_recurring", "set_limit", "save_policy",
)  # fmt: skip
PAUSED, RESUMED = gettext_lazy("%(what)s paused by %(who)s"), gettext_lazy("%(what)s resumed by %(who)s")
WORDS = {"pause_queue": PAUSED, "pause_type": PAUSED, "resume_queue": RESUMED, "resume_type": RESUMED}
ANY = gettext_lazy("%(verb)s: %(what)s, by %(who)s")


class News(NamedTuple):
    """One thing that is new, and where one sees it. ``is_bad``: it failed or stands still."""

    words: str
    url: str
    is_bad: bool = False


class Act(NamedTuple):
    """What somebody did, as the audit says."""

    at: datetime
    verb: str
    target: str
    username: str


class Since(NamedTuple):
    """What is new since ``at``; nothing in ``news``: nothing is."""

    at: datetime
    news: list[News]


def news_since(
    at: datetime,
    failed: int,
    marks: Sequence[Deploy],
    groups: Sequence[FailureGroup],
    acts: Sequence[Act],
    request: HttpRequest,
) -> Since:
    """What is new since ``at`` for this person.

    ``failed``: how many attempts did since; ``marks``: deploys of that time, oldest first; ``groups``: the failure
    groups that began or came back in that time and maybe before; ``acts``: from ``newest_acts``.
    """
    deployed = [mark for mark in marks if mark.at >= at]
    news = [
        *_groups(at, groups, request),
        *_failed(failed, request),
        *_deployed(deployed, request),
        *_acts(at, acts, request),
    ]
    return Since(at, news)


def visited(request: HttpRequest) -> datetime:
    """Since when this person knows nothing. Looking writes nothing: a visit is noted by what the page sends after."""
    known, now = Visit.objects.filter(person=person_of(request)).first(), timezone.now()
    return max(_since(known, now), now - LONGEST) if known else now - FIRST


def note_visit(request: HttpRequest) -> None:
    """Write down that this person looks now."""
    now, person = timezone.now(), person_of(request)
    known = Visit.objects.filter(person=person).first()
    if known is None or now - known.seen_at > OFTEN:
        since_at = _since(known, now) if known else now - FIRST
        Visit.objects.update_or_create(person=person, defaults={"seen_at": now, "since_at": since_at})


def caught_up(request: HttpRequest) -> None:
    """From now on only what comes next is new."""
    now = timezone.now()
    Visit.objects.update_or_create(person=person_of(request), defaults={"seen_at": now, "since_at": now})


def _since(known: Visit, now: datetime) -> datetime:
    """Whoever was away is told what came after they had looked for the last time."""
    return known.seen_at if now - known.seen_at > AWAY else known.since_at


def _groups(at: datetime, known: Sequence[FailureGroup], request: HttpRequest) -> list[News]:
    new = sum(group.first_at >= at for group in known)
    back = sum(group.first_at < at and group.regressed_at is not None and group.regressed_at >= at for group in known)
    page = reverse("admin:failures", current_app=getattr(request, "current_app", None))
    news = []
    if new:
        words = ngettext("%(count)s new kind of failure", "%(count)s new kinds of failure", new)
        news.append(News(words % {"count": _capped(new)}, page, is_bad=True))
    if back:
        words = ngettext("%(count)s kind of failure came back", "%(count)s kinds of failure came back", back)
        news.append(News(words % {"count": _capped(back)}, page, is_bad=True))
    return news


def _failed(failed: int, request: HttpRequest) -> list[News]:
    if not failed:
        return []
    jobs = reverse("admin:jobsite_jobs_jobrecord_changelist", current_app=getattr(request, "current_app", None))
    words = ngettext("%(count)s job failed", "%(count)s jobs failed", failed) % {"count": thousands(failed)}
    return [News(words, f"{jobs}?{urlencode({'state': State.FAILED.value})}", is_bad=True)]


def _deployed(marks: Sequence[Deploy], request: HttpRequest) -> list[News]:
    page = reverse("admin:index", current_app=getattr(request, "current_app", None))
    return [News(_("%(version)s deployed") % {"version": inert(mark.version, 40)}, page) for mark in marks[-NAMED:]]


def newest_acts() -> list[Act]:
    """The newest entries of the audit, the newest first."""
    rows = AuditEntry.objects.order_by("-pk").values_list("at", "verb", "target", "username")
    return [Act(*row) for row in rows[:MOST]]


def _acts(at: datetime, newest: Sequence[Act], request: HttpRequest) -> list[News]:
    """What other people changed, as far as this person may see the audit, among its newest entries."""
    user: Any = request.user
    if not user.has_perm(VIEW_AUDIT):
        return []
    own = user_name(user)
    acts = [act for act in newest if act.at >= at and act.verb in TELLING and act.username != own]
    audit = reverse("admin:jobsite_jobs_auditentry_changelist", current_app=getattr(request, "current_app", None))
    news = []
    for _at, verb, what, who in acts[:NAMED]:
        told = {"verb": in_words(verb).lower(), "what": inert(what, 60), "who": inert(who, 60)}
        news.append(News(str(WORDS.get(verb, ANY)) % told, audit))
    if (more := len(acts) - NAMED) > 0:
        words = ngettext("%(count)s more act", "%(count)s more acts", more)
        news.append(News(words % {"count": _capped(more)}, audit))
    return news


def _capped(count: int) -> str:
    return f"{thousands(count)}{'+' if count >= MOST else ''}"
