"""By which rule there is one job at a time, in words."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from dashboard.kit.text import duration
from handlers.exceptions import InvalidJob
from handlers.job_types import JobType
from handlers.models import UniqueKey
from handlers.unique import DEBOUNCE, ENDED, ERROR, EXISTING, REPLACE, Unique

SECOND = {  # what follows for it
    EXISTING: "a second one is not enqueued",
    ERROR: "a second one is refused",
    REPLACE: "a second one takes its place unless that was started",
    DEBOUNCE: "a second one gives it its own time and arguments while it is scheduled",
}


def rule_in_words(rule: Unique) -> str:
    """A rule, such as "with the same shop_id, until it has ended; a second one is refused"."""
    until = "until it has ended" if rule.until == ENDED else "until it is started"
    period = f", and for {duration(rule.period)} in any case" if rule.period else ""
    return f"{_scope(rule)}, {until}{period}; {SECOND[rule.on_conflict]}"


def hold_in_words(held: UniqueKey, job_type: JobType | None, data: Any) -> str:
    """What a job that holds a key keeps others of its type from, such as "with the same shop_id, until it has ended".

    ``data``: its arguments. The row knows the key and not its fields: they are told where they are those of the type's
    rule, or all.
    """
    until = "until it has ended" if held.until == ENDED else "until it is started"
    if job_type is not None:
        for rule in (job_type.unique, Unique()):
            if rule is not None and held.key.hex in _keys(rule, job_type, data):
                return f"{_scope(rule)}, {until}"
    return f"by a rule of its own, {until}"


def _scope(rule: Unique) -> str:
    if rule.key is None:
        return "with the same arguments"
    *first, last = rule.key
    return f"with the same {', '.join(first)}{' and ' if first else ''}{last}"


def _keys(rule: Unique, job_type: JobType, data: Any) -> set[str]:
    with suppress(InvalidJob, KeyError, TypeError):  # arguments that another release wrote
        hold = job_type.hold_of(rule, data)
        return {hold.key, *hold.former}
    return set()
