"""Undo: what a person did a moment ago, as the audit has it, is taken back as far as nothing went on from there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from dashboard.kit import verbs
from dashboard.kit.about import within
from dashboard.kit.became import newest_moves
from dashboard.kit.languages import in_language
from dashboard.kit.numbers import thousands
from dashboard.kit.reach import acting
from handlers.audit import actor_name
from handlers.exceptions import InvalidJob
from handlers.gateway import job_scheduler
from handlers.models import AuditEntry, JobRecord
from handlers.queues import targets
from handlers.states import State

WITHIN = timedelta(minutes=15)
MOST_JOBS = 1_000  # that an entry names
LOOKED_AT = 200  # pauses among which the one is looked for that was ended
PAUSE = "jobsite_jobs.pause_queueswitch"


@dataclass(frozen=True)
class Undone:
    """What came of it."""

    done: int
    asked: int
    words: str

    @property
    def is_whole(self) -> bool:
        """Whether all was taken back."""
        return self.done == self.asked


@dataclass(frozen=True)
class Way:
    """How one of the audit's verbs is undone: by whom, and how."""

    permission: str
    act: Callable[[AuditEntry, AbstractBaseUser], Undone]


def way_of(entry: AuditEntry) -> Way | None:
    """How ``entry`` is undone; None: it cannot be, or is too long ago."""
    is_recent = timezone.now() - entry.at <= WITHIN
    return WAYS.get(entry.verb) if is_recent and entry.count else None


def is_within(request: HttpRequest, entry: AuditEntry, permission: str) -> bool:
    """Whether all that ``entry`` is about is within this person's reach; False, too, where nobody can tell."""
    reach = acting(request, permission)
    return reach.is_whole or bool(within(reach, [entry], most_jobs=MOST_JOBS))


def _reason(entry: AuditEntry) -> str:
    return f"undo: {entry.verb.replace('_', ' ')}"


# --- jobs


def _as_left(entry: AuditEntry, by: AbstractBaseUser) -> dict[int, str]:
    """The jobs that ``entry`` moved and that nothing has moved since, with their tokens."""
    ids = [pk for pk in (entry.data or {}).get("job_ids", []) if isinstance(pk, int)][: verbs.MAX_TICKED]
    moves = newest_moves(ids)
    same = [pk for pk, move in moves.items() if move.at <= entry.at and move.actor == actor_name(by)]
    return dict(JobRecord.objects.filter(pk__in=same).values_list("pk", "token"))


def _take_back(entry: AuditEntry, by: AbstractBaseUser) -> Undone:
    expect = _as_left(entry, by)
    did = job_scheduler.take_back_many(list(expect), by=by, reason=_reason(entry), expect=expect) if expect else 0
    return _told(entry, did, _("It had begun: nothing to undo."), _("%(count)s had begun."))


def _restore(entry: AuditEntry, by: AbstractBaseUser) -> Undone:
    expect = _as_left(entry, by)
    did = job_scheduler.restore_many(list(expect), by=by, reason=_reason(entry), expect=expect) if expect else 0
    gone = _("It was running, or has moved on since: nothing to undo.")
    return _told(entry, did, gone, _("%(count)s were running, or have moved on since."))


def _move_back(entry: AuditEntry, by: AbstractBaseUser) -> Undone:
    expect, to = _as_left(entry, by), defaultdict[str, dict[int, str]](dict)
    for pk, move in newest_moves(list(expect)).items():
        to[(move.data or {}).get("old_queue", "")][pk] = expect[pk]
    did = 0
    for queue, some in to.items():
        if queue in targets():
            did += job_scheduler.move_many(list(some), queue, by=by, reason=_reason(entry), expect=some)
    return _told(entry, did, _("It has moved on since: nothing to undo."), _("%(count)s have moved on since."))


def _told(entry: AuditEntry, did: int, nothing: str, rest: str) -> Undone:
    left = entry.count - did
    if not did:
        return Undone(0, entry.count, nothing)
    words = ngettext("Undone: %(jobs)s is back as it was.", "Undone: %(jobs)s are back as they were.", did)
    words %= {"jobs": entry.target if entry.count == 1 else verbs.jobs_in_words(did)}
    return Undone(did, entry.count, f"{words} {rest % {'count': thousands(left)}}" if left else words)


# --- what is paused


def _paused_until(entry: AuditEntry, verb: str) -> datetime | None:
    """Until when it was paused before ``entry``."""
    newest = AuditEntry.objects.filter(pk__lt=entry.pk, verb=verb, count__gt=0).order_by("-pk")[:LOOKED_AT]
    was = next((str((each.data or {}).get("until") or "") for each in newest if each.target == entry.target), "")
    return datetime.fromisoformat(was) if was else None


def _switched(act: Callable[[str, datetime | None, AbstractBaseUser, str], Any], words: Any) -> Callable[..., Undone]:
    def undo(entry: AuditEntry, by: AbstractBaseUser) -> Undone:
        kind, _space, name = entry.target.partition(" ")
        pair = (f"pause_{kind}", f"resume_{kind}")
        since = AuditEntry.objects.filter(pk__gt=entry.pk, target=entry.target, verb__in=pair, count__gt=0)
        if since.exists():
            return Undone(0, 1, _("It was paused or resumed again since: nothing to undo."))
        until = _paused_until(entry, pair[0]) if entry.verb == pair[1] else None
        if until is not None and until <= timezone.now():
            return Undone(0, 1, _("The pause would be over by now: nothing to undo."))
        try:
            done = act(name, until, by, _reason(entry))
        except InvalidJob as error:
            return Undone(0, 1, in_language(error))
        if done is False:
            return Undone(0, 1, _("It has changed since: nothing to undo."))
        return Undone(1, 1, str(words) % {"name": entry.target})

    return undo


# --- failure groups


def _group_back(entry: AuditEntry, by: AbstractBaseUser) -> Undone:
    name = entry.target.removeprefix("failure group ").partition(" ")[0]
    try:
        done = job_scheduler.put_group_back(name, entry.data or {}, by=by, reason=_reason(entry))
    except InvalidJob as error:
        return Undone(0, 1, in_language(error))
    if not done:
        return Undone(0, 1, _("It has changed since: nothing to undo."))
    return Undone(1, 1, _("Undone: the failure group is as it was."))


_GROUP = Way("jobsite_jobs.change_failuregroup", _group_back)
_PAUSED, _RUNS = gettext_lazy("Undone: %(name)s is paused again."), gettext_lazy("Undone: %(name)s runs again.")
_VIA = job_scheduler
WAYS: Mapping[str, Way] = {
    "retry": Way(verbs.RETRY.permission, _take_back),
    "edit_and_retry": Way(verbs.RETRY.permission, _take_back),
    "requeue": Way(verbs.REQUEUE.permission, _take_back),
    "delete": Way(verbs.RESTORE.permission, _restore),
    "move": Way(verbs.MOVE.permission, _move_back),
    "resolve_group": _GROUP,
    "ignore_group": _GROUP,
    "reopen_group": _GROUP,
    "pause_queue": Way(PAUSE, _switched(lambda name, _, by, why: _VIA.resume_queue(name, by=by, reason=why), _RUNS)),
    "resume_queue": Way(
        PAUSE, _switched(lambda name, until, by, why: _VIA.pause_queue(name, until, by=by, reason=why), _PAUSED)
    ),
    "pause_type": Way(PAUSE, _switched(lambda name, _, by, why: _VIA.resume_type(name, by=by, reason=why), _RUNS)),
    "resume_type": Way(
        PAUSE, _switched(lambda name, until, by, why: _VIA.pause_type(name, until, by=by, reason=why), _PAUSED)
    ),
    "pause_recurring": Way(
        "jobsite_jobs.pause_recurringjob",
        _switched(lambda name, _, by, why: _VIA.resume_recurring(name, by=by, reason=why), _RUNS),
    ),
    "resume_recurring": Way(
        "jobsite_jobs.pause_recurringjob",
        _switched(lambda name, until, by, why: _VIA.pause_recurring(name, until, by=by, reason=why), _PAUSED),
    ),
    "pause_workflow": Way(
        "jobsite_jobs.change_workflow",
        _switched(lambda name, _, by, why: _VIA.resume_workflow(int(name), by=by, reason=why), _RUNS),
    ),
    "resume_workflow": Way(
        "jobsite_jobs.change_workflow",
        _switched(lambda name, _, by, why: _VIA.pause_workflow(int(name), by=by, reason=why), _PAUSED),
    ),
}


def offered(entries: Sequence[int]) -> AuditEntry | None:
    """The entry among ``entries`` that can be undone; None: there is none."""
    entry = AuditEntry.objects.filter(pk__in=list(entries), verb__in=list(WAYS), count__gt=0).order_by("pk").first()
    if entry is None or (entry.verb == "delete" and set((entry.data or {}).get("from", ())) == {State.PROCESSING}):
        return None  # what was running when it was deleted is not restored
    return entry
