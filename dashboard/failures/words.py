"""What failure groups are called, and how they stand, in words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from dashboard.kit.moments import plain
from dashboard.kit.numbers import thousands
from dashboard.kit.queries import Count
from dashboard.kit.text import inert, one_line
from handlers.conf import NEXT_VERSION
from handlers.models import FailureGroup, GroupEvent, GroupState

NEW_SINCE = timedelta(days=1)
NAMED = 1  # types in a heading


def is_new(group: FailureGroup, now: datetime) -> bool:
    """Whether it is open, and was never seen before yesterday."""
    return group.state == GroupState.OPEN and group.first_at >= now - NEW_SINCE


def badge_of(group: FailureGroup, now: datetime) -> str:
    """The word on its badge: its state, or *new*."""
    return "new" if is_new(group, now) else str(group.state)


def heading(group: FailureGroup, types: Sequence[str], *, is_short: bool = False) -> str:
    """What it is called: its exception, and whose it is, so that many of one exception are told apart.

    ``is_short``: without the exception's module.
    """
    name = group.exception.rpartition(".")[2] if is_short else group.exception
    what = one_line(name, 120) or _("Failure")
    whose = ", ".join(one_line(name, 100) for name in types[:NAMED]) or one_line(group.job_type, 100)
    if not whose:
        return what
    more = len(types) - NAMED
    if more > 0:
        # Translators: the name of a job type, and the number of further ones.
        whose = ngettext("%(type)s and %(number)d more", "%(type)s and %(number)d more", more) % {
            "type": whose,
            "number": more,
        }
    return _("%(exception)s in %(types)s") % {"exception": what, "types": whose}


def retry_words(failed: Count) -> str:
    """What the button says: how many jobs it is about."""
    return ngettext("Retry %(number)s job …", "Retry %(number)s jobs …", failed.value) % {"number": str(failed)}


def place(group: FailureGroup) -> str:
    """The line of the app's code."""
    return one_line(group.frame) or _("outside the app's code")


def standing(group: FailureGroup) -> str:
    """What its state means for the failures to come."""
    if group.state == GroupState.REGRESSED:
        return _("It was resolved, and came back.")
    if group.state == GroupState.IGNORED:
        return _ignored(group)
    if group.state != GroupState.RESOLVED:
        return ""
    if group.fixed_in == NEXT_VERSION:
        after = inert(group.fixed_after, 64)
        known = _("A failure of a version that comes after %(version)s opens it again.") % {"version": after}
        return known if after else _("A failure of a version that is not in use yet opens it again.")
    if group.fixed_in:
        return _("A failure of version %(version)s, or of a later one, opens it again.") % {
            "version": inert(group.fixed_in, 64)
        }
    return _("The next failure opens it again.")


def _ignored(group: FailureGroup) -> str:
    if group.ignored_until is not None:
        return _("It stays so until %(time)s.") % {"time": plain(group.ignored_until)}
    if group.ignored_to is not None:
        left = max(group.ignored_to - group.count, 1)
        return ngettext(
            "It stays so until %(number)s more attempt fails.", "It stays so until %(number)s more attempts fail.", left
        ) % {"number": thousands(left)}
    return _("It stays so until somebody opens it again.")


def event_words(event: GroupEvent) -> str:
    """What happened, as its diary says it."""
    data = event.data if isinstance(event.data, dict) else {}
    version, times, until = (inert(str(data.get(name) or ""), 64) for name in ("version", "times", "until"))
    match event.kind:
        case GroupEvent.Kind.NEW:
            return (
                _("seen for the first time, in version %(version)s") % {"version": version}
                if version
                else _("seen for the first time")
            )
        case GroupEvent.Kind.REGRESSED:
            return _("came back, in version %(version)s") % {"version": version} if version else _("came back")
        case GroupEvent.Kind.UNIGNORED:
            return _("is ignored no longer")
        case GroupEvent.Kind.RESOLVED if version == NEXT_VERSION:
            return _("resolved it in the next version")
        case GroupEvent.Kind.RESOLVED:
            return _("resolved it in version %(version)s") % {"version": version} if version else _("resolved it")
        case GroupEvent.Kind.IGNORED if times:
            return _("ignored it until %(number)s more fail") % {"number": times}
        case GroupEvent.Kind.IGNORED:
            return (
                _("ignored it until %(time)s") % {"time": f"{until[:16].replace('T', ' ')} UTC"}
                if until
                else _("ignored it")
            )
        case GroupEvent.Kind.REOPENED:
            return _("opened it again")
        case GroupEvent.Kind.ASSIGNED:
            name = inert(event.text, 150)
            return _("assigned it to %(name)s") % {"name": name} if name else _("took the assignee away")
        case _kind:
            return _("noted")
