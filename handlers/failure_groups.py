"""What people do to failure groups, and what the scheduler writes of their lives."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import connections
from django.db.models import Q, QuerySet

from handlers import deploys
from handlers.audit import By, actor_name, audit, user_name
from handlers.conf import NEXT_VERSION, jobs_settings, version_problem
from handlers.exceptions import InvalidJob
from handlers.failures import clean, reason_text
from handlers.group_life import Resolved, Seen, regression
from handlers.lifecycle import database
from handlers.models import OPEN_STATES, FailureGroup, GroupEvent, GroupState
from handlers.models.sql import database_now, is_postgresql
from handlers.twins import twin
from handlers.wording import Figures, worded
from handlers.writing import writing

Kind = GroupEvent.Kind
LONGEST_NOTE = 2_000  # characters
MOST_NOTES = 100  # of one group
MOST_TIMES = 1_000_000_000
LONGEST = timedelta(days=3_650)
KEEP = timedelta(days=400)  # as long as the counts of days
PUT_AWAY = {"fixed_in": "", "fixed_after": "", "ignored_until": None, "ignored_to": None}
VERBS = tuple(f"{verb}_group" for verb in ("resolve", "ignore", "reopen", "assign", "note"))  # as the audit has them


class FailureGroupVerbs:
    """The part of the gateway that is about failure groups, which are known by their fingerprints.

    ``expect``: the ``mark`` that a page showed; a group that has moved on since is left alone. InvalidJob for an
    unknown group.
    """

    def resolve_group(
        self, fingerprint: str, version: str = "", *, by: By = None, reason: str = "", expect: str | None = None
    ) -> bool:
        """Put it away as mended; whether that changed anything. What fails later opens it again, as *regressed*.

        With ``version`` only failures of that version and of later ones do, as ``manage.py mark_deploy`` orders them;
        with ``"next"`` those of versions that are neither in use yet nor were seen in it.
        """
        if problem := "" if version == NEXT_VERSION else version_problem(version):
            raise InvalidJob(f"version: {problem}", field="version")
        ours = jobs_settings().version
        if version == NEXT_VERSION and not ours and not deploys.in_use():
            raise InvalidJob(
                worded('version: no version is known here: set JOBS["VERSION"], or mark deploys, or resolve it now'),
                field="version",
            )
        facts = {"fixed_in": version, "fixed_after": ours if version == NEXT_VERSION else ""}
        return _put(fingerprint, GroupState.RESOLVED, facts, Kind.RESOLVED, by, reason, expect)

    def ignore_group(
        self,
        fingerprint: str,
        *,
        until: datetime | None = None,
        times: int | None = None,
        by: By = None,
        reason: str = "",
        expect: str | None = None,
    ) -> bool:
        """Put it away: for good, until the aware time ``until``, or until it has happened ``times`` more times."""
        alias = database()
        now = database_now(connections[alias])
        if until is not None and (not isinstance(until, datetime) or until.utcoffset() is None):
            raise InvalidJob(
                worded("until: must be an aware datetime, not %(until)s", until=repr(until)), field="until"
            )
        if until is not None and not now < until <= now + LONGEST:
            raise InvalidJob(worded("until: must be a time to come, within ten years"), field="until")
        if times is not None and not (isinstance(times, int) and 0 < times <= MOST_TIMES):
            raise InvalidJob(
                worded(
                    "times: must be a whole number from 1 to %(most_times)s, not %(times)s",
                    most_times=Figures(f"{MOST_TIMES:,}"),
                    times=repr(times),
                ),
                field="times",
            )
        facts = {"ignored_until": until, "times": times}
        return _put(fingerprint, GroupState.IGNORED, facts, Kind.IGNORED, by, reason, expect)

    def reopen_group(self, fingerprint: str, *, by: By = None, reason: str = "", expect: str | None = None) -> bool:
        """Open one that was resolved or ignored; whether it was."""
        return _put(fingerprint, GroupState.OPEN, {}, Kind.REOPENED, by, reason, expect)

    def put_group_back(self, fingerprint: str, entry: Mapping[str, Any], *, by: By = None, reason: str = "") -> bool:
        """Undo what the audit's ``entry`` (its data) says of a resolve, an ignore or a reopen; whether that was done.

        Not where the group has moved on since. How often it may still happen counts from now.
        """
        was, expect = entry.get("was") or {}, str(entry.get("mark", ""))
        said: dict[str, Any] = {"by": by, "reason": reason, "expect": expect}
        if entry.get("from") == GroupState.RESOLVED:
            return self.resolve_group(fingerprint, was.get("version", ""), **said)
        if entry.get("from") == GroupState.IGNORED:
            until = datetime.fromisoformat(was["until"]) if was.get("until") else None
            return self.ignore_group(fingerprint, until=until, times=was.get("times"), **said)
        return self.reopen_group(fingerprint, **said)

    def assign_group(self, fingerprint: str, user: AbstractBaseUser | None, *, by: By = None, reason: str = "") -> bool:
        """Make it the business of ``user``, or nobody's; whether it was not. InvalidJob for an account that is off."""
        if user is not None and not isinstance(user, AbstractBaseUser):
            raise InvalidJob(f"user: must be a user, or None, not {repr(user)[:60]}", field="user")
        if user is not None and not user.is_active:
            raise InvalidJob(
                worded("user: the account %(user)s is not active", user=repr(user_name(user))), field="user"
            )
        with writing(database()):
            group = _locked(fingerprint)
            if group.assignee_id == (user.pk if user else None):
                return False
            group.assignee_id = user.pk if user else None
            group.save(update_fields=["assignee"])
            name = user_name(user) if user else ""
            _tell(group, Kind.ASSIGNED, by, name)
            _audit(by, "assign_group", group, reason, {"assignee": name or None})
        return True

    def note_group(self, fingerprint: str, text: str, *, by: By = None) -> GroupEvent:
        """Write a note beside it, of up to 2,000 characters, a hundred at most. InvalidJob for an empty one."""
        said = clean(str(text).strip(), LONGEST_NOTE + 1)
        if not said or len(said) > LONGEST_NOTE:
            raise InvalidJob(
                worded(
                    "text: a note has from 1 to %(longest_note)s characters", longest_note=Figures(f"{LONGEST_NOTE:,}")
                ),
                field="text",
            )
        with writing(database()):
            group = _locked(fingerprint)
            if _events().filter(group=group, kind=Kind.NOTE).count() >= MOST_NOTES:
                raise InvalidJob(
                    worded(
                        "text: a failure group has up to %(most_notes)s notes, and this one has", most_notes=MOST_NOTES
                    ),
                    field="text",
                )
            note = _tell(group, Kind.NOTE, by, said)
            _audit(by, "note_group", group, "", {"note": said[:200]})
        return note

    # --- for asynchronous callers

    aput_group_back = twin(put_group_back)
    aresolve_group = twin(resolve_group)
    aignore_group = twin(ignore_group)
    areopen_group = twin(reopen_group)
    aassign_group = twin(assign_group)
    anote_group = twin(note_group)


def _put(
    fingerprint: str, state: GroupState, facts: dict[str, Any], kind: Kind, by: By, reason: str, expect: str | None
) -> bool:
    alias = database()
    with writing(alias):
        group = _locked(fingerprint)
        if expect is not None and expect != group.mark:
            return False
        facts = PUT_AWAY | facts
        times = facts.pop("times", None)
        facts["ignored_to"] = group.count + times if times else None
        same = group.is_open if state is GroupState.OPEN else group.state == state
        if same and all(getattr(group, name) == value for name, value in facts.items()):
            return False
        before, was = group.state, _said_of(group)
        _enter(group, state, database_now(connections[alias]), clean(actor_name(by), 150), facts)
        until = facts["ignored_until"]
        told = {"version": facts["fixed_in"], "until": until and until.isoformat(), "times": times}
        told = {name: value for name, value in told.items() if value}
        _tell(group, kind, by, reason_text(reason), {"from": before} | told)
        _audit(by, f"{VERB_OF[kind]}_group", group, reason, {"from": before, "was": was, "mark": group.mark} | told)
    return True


def _said_of(group: FailureGroup) -> dict[str, Any]:
    """How it is put away, as ``put_back`` reads it."""
    until, left = group.ignored_until, group.ignored_to
    was = {
        "version": group.fixed_in,
        "until": until and until.isoformat(),
        "times": left and max(left - group.count, 1),
    }
    return {name: value for name, value in was.items() if value}


VERB_OF = {Kind.RESOLVED: "resolve", Kind.IGNORED: "ignore", Kind.REOPENED: "reopen"}


def _enter(group: FailureGroup, state: GroupState, now: datetime, by: str, facts: dict[str, Any]) -> None:
    facts = PUT_AWAY | facts | {"state": state.value, "state_at": now, "state_by": by}
    for name, value in facts.items():
        setattr(group, name, value)
    group.save(update_fields=list(facts))


# --- for the scheduler, in the transaction of its fold


def appeared(group: FailureGroup, now: datetime) -> None:
    """Note that a failure of its kind was never seen before."""
    _tell(group, Kind.NEW, "scheduler", at=now, data={"version": group.first_version} if group.first_version else None)


def happened(group: FailureGroup, failures: list[Seen], seen_before: frozenset[str], now: datetime) -> None:
    """Open the group, whose row is locked and counts ``failures`` already, if they are what people wait for."""
    if group.state == GroupState.RESOLVED:
        at = group.state_at or group.first_at
        resolved = Resolved(at, group.fixed_in, group.fixed_after, seen_before)
        versions = {seen.version for seen in failures} | {group.fixed_in}
        marks = deploys.first_marks(versions - {"", NEXT_VERSION}) if group.fixed_in else {}
        if (back := regression(resolved, failures, marks)) is None:
            return
        told = {"version": back.version, "resolved_by": group.state_by, "resolved_at": at.isoformat()}
        told |= {"fixed_in": group.fixed_in}
        _enter(group, GroupState.REGRESSED, now, "scheduler", {"regressed_at": back.at})
        _tell(group, Kind.REGRESSED, "scheduler", at=now, data={name: value for name, value in told.items() if value})
    elif group.state == GroupState.IGNORED and group.ignored_to is not None and group.count >= group.ignored_to:
        _unignore(group, now, {"count": group.count})


def end_ignoring(limit: int = 500) -> int:
    """Open up to ``limit`` groups that were to be ignored until a time that has come; how many."""
    alias = database()
    over = Q(state=GroupState.IGNORED, ignored_until__isnull=False)
    if not _groups().filter(over, ignored_until__lte=database_now(connections[alias])).exists():
        return 0
    with writing(alias):
        now = database_now(connections[alias])
        rows = _groups().filter(over, ignored_until__lte=now).order_by("pk")
        if is_postgresql(connections[alias]):
            rows = rows.select_for_update(skip_locked=True)
        found = list(rows[:limit])
        for group in found:
            until = group.ignored_until
            _unignore(group, now, {"until": until.isoformat() if until else None})
    return len(found)


def forget(limit: int = 1_000) -> bool:
    """Erase up to ``limit`` events that are past their time; whether there may be more. Notes stay."""
    before = database_now(connections[database()]) - KEEP
    old = _events().filter(at__lt=before).exclude(kind=Kind.NOTE).order_by("at")
    ids = list(old.values_list("pk", flat=True)[:limit])
    _events().filter(pk__in=ids).delete()
    return len(ids) == limit


def _unignore(group: FailureGroup, now: datetime, told: dict[str, Any]) -> None:
    told |= {"ignored_by": group.state_by} if group.state_by else {}
    _enter(group, GroupState.OPEN, now, "scheduler", {})
    _tell(group, Kind.UNIGNORED, "scheduler", at=now, data=told)


def _tell(
    group: FailureGroup, kind: Kind, by: By, text: str = "", data: Any = None, at: datetime | None = None
) -> GroupEvent:
    at = at or database_now(connections[database()])
    actor = clean(actor_name(by), 150)
    return _events().create(group=group, kind=kind.value, at=at, actor=actor, text=text, data=data or None)


def _audit(by: By, verb: str, group: FailureGroup, reason: str, data: dict[str, Any]) -> None:
    audit(by, verb, f"failure group {group.pk} ({group.exception})", 1, reason, data or None)


def _locked(fingerprint: object) -> FailureGroup:
    alias = database()
    name = str(fingerprint)
    rows = _groups().filter(pk=name) if "\0" not in name else _groups().none()
    if is_postgresql(connections[alias]):
        rows = rows.select_for_update()
    group = rows.first()
    if group is None:
        raise InvalidJob(worded("group: there is no failure group %(name)s", name=repr(name[:40])), field="group")
    return group


def _groups() -> QuerySet[FailureGroup]:
    return FailureGroup.objects.using(database())


def _events() -> QuerySet[GroupEvent]:
    return GroupEvent.objects.using(database())


__all__ = [
    "OPEN_STATES",
    "VERBS",
    "FailureGroupVerbs",
    "appeared",
    "end_ignoring",
    "forget",
    "happened",
]
