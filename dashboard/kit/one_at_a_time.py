"""By which rule there is one job at a time, in words."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from dashboard.kit.text import duration
from handlers.exceptions import InvalidJob
from handlers.job_types import JobType
from handlers.models import UniqueKey
from handlers.unique import DEBOUNCE, ENDED, ERROR, EXISTING, REPLACE, Unique

SECOND = {  # what follows for it
    EXISTING: gettext_lazy("a second one is not enqueued"),
    ERROR: gettext_lazy("a second one is refused"),
    REPLACE: gettext_lazy("a second one takes its place unless that was started"),
    DEBOUNCE: gettext_lazy("a second one gives it its own time and arguments while it is scheduled"),
}


def rule_in_words(rule: Unique) -> str:
    """A rule, such as "with the same shop_id, until it has ended; a second one is refused"."""
    until = _("until it has ended") if rule.until == ENDED else _("until it is started")
    period = _(", and for %(time)s in any case") % {"time": duration(rule.period)} if rule.period else ""
    return f"{_scope(rule)}, {until}{period}; {SECOND[rule.on_conflict]}"


def hold_in_words(held: UniqueKey, job_type: JobType | None, data: Any) -> str:
    """What a job that holds a key keeps others of its type from, such as "with the same shop_id, until it has ended".

    ``data``: its arguments. The row knows the key and not its fields: they are told where they are those of the type's
    rule, or all.
    """
    until = _("until it has ended") if held.until == ENDED else _("until it is started")
    if job_type is not None:
        for rule in (job_type.unique, Unique()):
            if rule is not None and held.key.hex in _keys(rule, job_type, data):
                return f"{_scope(rule)}, {until}"
    return _("by a rule of its own, %(until)s") % {"until": until}


def _scope(rule: Unique) -> str:
    if rule.key is None:
        return _("with the same arguments")
    *first, last = rule.key
    names = f"{', '.join(first)}{_(' and ')}{last}" if first else last
    return _("with the same %(names)s") % {"names": names}


def _keys(rule: Unique, job_type: JobType, data: Any) -> set[str]:
    with suppress(InvalidJob, KeyError, TypeError):  # arguments that another release wrote
        hold = job_type.hold_of(rule, data)
        return {hold.key, *hold.former}
    return set()
