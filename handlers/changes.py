"""What a change altered, as the audit keeps it: each name with what was there before and after, and secrets masked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from handlers.failures import clean
from handlers.job_types import JobType
from handlers.masking import MASK, mask

MOST, LONGEST = 50, 300  # names of one change, and characters of a value
SEEN = 20  # characters before the first difference of long values

Texts = dict[str, str | None]  # None: there was no such value

_NONE: Any = object()


def of_arguments(before: Any, after: Any, old: JobType | None, new: JobType | None) -> dict[str, Texts]:
    """``before`` and ``after``: the arguments of a job as JSON, of the types ``old`` and ``new``; what differs of them.

    A secret that was changed is named, too. Arguments that are no object have the name ``""``.
    """
    if not (isinstance(before, dict) and isinstance(after, dict)):
        shown = _written({"": mask(old, before)}), _written({"": mask(new, after)})
        return of_values({"": before}, {"": after}, *shown)
    return of_values(before, after, _written(mask(old, before)), _written(mask(new, after)))


def of_values(
    before: Mapping[str, Any], after: Mapping[str, Any], shown_before: Any = None, shown_after: Any = None
) -> dict[str, Texts]:
    """Those of the values that differ. ``shown_before``, ``shown_after``: what may be kept of them, if that is less."""
    old, new = before if shown_before is None else shown_before, after if shown_after is None else shown_after
    names = [name for name in {**before, **after} if before.get(name, _NONE) != after.get(name, _NONE)][:MOST]
    pairs = {clean(str(name), 100): _cut(_text(old.get(name, _NONE)), _text(new.get(name, _NONE))) for name in names}
    return {
        "before": {name: one for name, (one, _other) in pairs.items()},
        "after": {name: other for name, (_one, other) in pairs.items()},
    }


def _written(arguments: dict[str, Any]) -> dict[str, Any]:
    """Texts as JSON has them, so that ``"7"`` is not ``7``."""
    return {
        name: json.dumps(value, ensure_ascii=False) if isinstance(value, str) and value != MASK else value
        for name, value in arguments.items()
    }


def _text(value: Any) -> str | None:
    if value is _NONE:
        return None
    if value is None or isinstance(value, bool | int | float | dict | list):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def _cut(one: str | None, other: str | None) -> tuple[str | None, str | None]:
    if one and other and one != other and one[:LONGEST] == other[:LONGEST]:  # the difference would be cut away
        place = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), LONGEST) - SEEN
        one, other = f"…{one[place:]}", f"…{other[place:]}"
    return one and clean(one, LONGEST), other and clean(other, LONGEST)
