"""A selection of jobs in a sentence: ``jobs of shop.SendReceipt that failed, whose error has “timeout”``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext, pgettext_lazy

from dashboard.kit.moments import plain
from dashboard.kit.reach import parts_in_words
from dashboard.kit.text import one_line
from handlers.bounded import RETRYING
from handlers.models import FailureGroup
from handlers.selection import ANY, Selection
from handlers.selection.values import Number
from handlers.states import State

MOST = 5  # values of one kind that are named
LONGEST = 80  # characters of one value
CLOSE = 5  # seconds: a time that is so near to a whole number of hours ago is told as that
STATES = {
    State.FAILED.value: pgettext_lazy("jobs that", "failed"),
    State.SCHEDULED.value: pgettext_lazy("jobs that", "are scheduled"),
    RETRYING: pgettext_lazy("jobs that", "wait for their next attempt"),
    State.ENQUEUED.value: pgettext_lazy("jobs that", "wait on a queue"),
    State.PROCESSING.value: pgettext_lazy("jobs that", "are running"),
    State.WAITING.value: pgettext_lazy("jobs that", "wait for a signal"),
    State.SUCCEEDED.value: pgettext_lazy("jobs that", "succeeded"),
    State.DELETED.value: pgettext_lazy("jobs that", "were deleted"),
    State.AWAITING.value: pgettext_lazy("jobs that", "wait for other jobs"),
}


def in_words(selection: Selection, now: datetime | None = None) -> str:
    """Which jobs it means, for a person. ``now``: times near before it are told as "in the last 2 hours".

    What is sensitive in it must be hidden before (``handlers.selection.hidden``).
    """
    head = _("jobs")
    if selection.ids:
        head = ngettext("job %(ids)s", "jobs %(ids)s", len(selection.ids)) % {"ids": _some(selection.ids)}
    if selection.types:
        head = _("%(jobs)s of %(types)s") % {"jobs": head, "types": _some(selection.types)}
    if selection.queues:
        head = ngettext("%(jobs)s on queue %(queues)s", "%(jobs)s on queues %(queues)s", len(selection.queues)) % {
            "jobs": head, "queues": _some(selection.queues)
        }  # fmt: skip
    if selection.states:
        states = [str(STATES[state]) for state in selection.states if not _is_within(state, selection.states)]
        head = _("%(jobs)s that %(states)s") % {"jobs": head, "states": _either(states)}
    parts = [*_belonging(selection), *_times(selection, now), *_contents(selection)]
    return ", ".join([head, *parts])


def _is_within(state: str, states: Sequence[str]) -> bool:
    return state == RETRYING and State.SCHEDULED.value in states


def _belonging(selection: Selection) -> list[str]:
    parts = []
    if selection.within:
        parts.append(_("within: %(parts)s") % {"parts": parts_in_words(selection.within)})
    if selection.operation is not None:
        parts.append(_("that bulk operation %(number)d moved") % {"number": selection.operation})
    if selection.workflow is not None:
        parts.append(_("of workflow %(number)d") % {"number": selection.workflow})
    if selection.parent is not None:
        parts.append(_("that job %(number)d enqueued") % {"number": selection.parent})
    if selection.tags:
        words = ngettext("tagged %(tags)s", "tagged with each of %(tags)s", len(selection.tags))
        parts.append(words % {"tags": ", ".join(map(_cut, selection.tags))})
    if selection.correlation:
        parts.append(_("of correlation “%(text)s”") % {"text": _cut(selection.correlation)})
    if selection.fingerprint:
        parts.append(_("with the failure %(name)s") % {"name": _group(selection.fingerprint)})
    if selection.worker:
        parts.append(_("on worker %(name)s") % {"name": _cut(selection.worker)})
    if selection.priority is not None:
        parts.append(_("with priority %(number)d") % {"number": selection.priority})
    return parts


def _group(fingerprint: str) -> str:
    group = FailureGroup.objects.filter(pk=fingerprint).first()
    return _cut(str(group)) if group and group.exception else _("of group %(name)s") % {"name": _cut(fingerprint)}


def _times(selection: Selection, now: datetime | None) -> list[str]:
    since, until = selection.since, selection.until
    if since and not until and now and (words := _ago((now - since).total_seconds())):
        return [words]
    if since and until:
        return [_("created from %(since)s to %(until)s") % {"since": plain(since), "until": plain(until)}]
    if since:
        return [_("created since %(since)s") % {"since": plain(since)}]
    return [_("created before %(until)s") % {"until": plain(until)}] if until else []


def _ago(seconds: float) -> str:
    """Words for a time that is a whole number of minutes, hours or days ago; empty for any other."""
    whole = round(seconds / 60)
    if whole < 1 or abs(seconds - whole * 60) > CLOSE:
        return ""
    if whole % 1440 == 0 and whole > 1440:
        return _("created in the last %(count)d days") % {"count": whole // 1440}
    if whole % 60 == 0:
        words = ngettext("created in the last hour", "created in the last %(count)d hours", whole // 60)
        return words % {"count": whole // 60}
    words = ngettext("created in the last minute", "created in the last %(count)d minutes", whole)
    return words % {"count": whole}


def _contents(selection: Selection) -> list[str]:
    parts = []
    if selection.error:
        parts.append(_("whose error has “%(text)s”") % {"text": _cut(selection.error)})
    for path, value in selection.arguments:
        words = _("with an argument that is %(value)s") if path == ANY else _("whose %(argument)s is %(value)s")
        parts.append(words % {"argument": _cut(path), "value": _value(value)})
    if selection.text:
        texts = [f"“{_cut(word)}”" for word in selection.text]
        parts.append(_("with %(words)s in type, error or arguments") % {"words": _(" and ").join(texts)})
    return parts


def _value(value: Any) -> str:
    text = value.text if isinstance(value, Number) else value if isinstance(value, str) else json.dumps(value)
    return f"“{_cut(text)}”" if isinstance(value, str) else _cut(text)


def _some(values: Sequence[Any]) -> str:
    shown = [_cut(str(value)) for value in values[:MOST]]
    if len(values) > MOST:
        shown.append(_("%(count)d more") % {"count": len(values) - MOST})
    return _either(shown)


def _either(words: Sequence[str]) -> str:
    return _(" or ").join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _cut(text: str) -> str:
    return one_line(text, LONGEST)
