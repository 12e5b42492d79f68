"""One value of a search: a number, a moment, a state, a job type, an argument's value."""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from django.utils import timezone

from handlers.exceptions import InvalidJob, NoHandler
from handlers.priorities import HIGHEST, LOWEST
from handlers.registry import registry
from handlers.selection.errors import InvalidSelection
from handlers.states import State
from handlers.tagging import LONGEST, check_tag
from handlers.wording import worded

RETRYING = "retrying"  # not a state: scheduled, after a failure
STATES = (*(state.value for state in State), RETRYING)
MAX_ID = 2**63 - 1


class Number(NamedTuple):
    """A number as it was typed, since a job may hold it as text: a version 1.10 is not 1.1."""

    text: str


_AGO = re.compile(r"(\d{1,6})\s*(s|m|min|h|d|w)")
_DAY = re.compile(r"(\d{4}-\d\d-\d\d)(Z|[+-]\d\d:\d\d)?", re.ASCII)
_UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}
_EARLIEST, _LATEST = datetime(1970, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)


def number(field: str, text: str) -> int:
    """A job's or operation's id."""
    digits = text.removeprefix("#")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 25):
        raise InvalidSelection(field, worded("expects a number, not %(text)s", text=repr(text[:60])))
    if int(digits) > MAX_ID:
        raise InvalidSelection(field, worded("no id is as large as %(digits)s", digits=digits))
    return int(digits)


def priority(text: str) -> int:
    """A priority."""
    if not re.fullmatch(r"[+-]?[0-9]{1,3}", text) or not LOWEST <= int(text) <= HIGHEST:
        raise InvalidSelection(
            "priority",
            worded(
                "expects a whole number from %(lowest)s to %(highest)s, not %(text)s",
                lowest=LOWEST,
                highest=HIGHEST,
                text=repr(text[:60]),
            ),
        )
    return int(text)


def tag(text: str) -> str:
    """A tag, as it is written."""
    try:
        return check_tag(text)
    except InvalidJob:
        raise InvalidSelection(
            "tag",
            worded(
                "%(text)s is no tag: those have at most %(longest)s characters", text=repr(text[:60]), longest=LONGEST
            ),
        ) from None


def is_id(text: str) -> bool:
    """Whether ``text`` reads as an id: ``17`` or ``#17``."""
    digits = text.removeprefix("#")
    return digits.isascii() and digits.isdigit() and len(digits) <= 25 and int(digits) <= MAX_ID


def state(text: str) -> str:
    """A state, or ``retrying``."""
    name = text.casefold()
    if name not in STATES:
        raise InvalidSelection(
            "state",
            worded("there is no state %(text)s; there are %(states)s", text=repr(text[:60]), states=", ".join(STATES)),
        )
    return name


def job_types(text: str) -> tuple[str, ...]:
    """The types that ``text`` names: a name, a former name, or a part of registered names; else the text itself."""
    try:
        return (registry.get(text).name,)
    except NoHandler:
        part = text.casefold()
        names = [job_type.name for job_type in registry.all()]
        exact = [name for name in names if name.casefold() == part]
        return tuple(exact or [name for name in names if part in name.casefold()] or [text[:200]])


def stored_names(name: str) -> list[str]:
    """Every name under which jobs of the type ``name`` are stored."""
    try:
        job_type = registry.get(name)
    except NoHandler:
        return [name]
    return [job_type.name, *job_type.aliases]


def moment(field: str, text: str) -> datetime:
    """An ISO date or time (UTC where it names no zone), or how long ago: ``30m``, ``2h``, ``3d``, ``1w``.

    A date, which may name its zone too (``2026-11-24+01:00``), is its beginning; for ``until`` its end.
    """
    asked = text.strip()
    try:
        if ago := _AGO.fullmatch(asked.casefold()):
            at = timezone.now() - timedelta(seconds=int(ago[1]) * _UNITS[ago[2]])
        elif day := _DAY.fullmatch(asked):
            at = datetime.fromisoformat(f"{day[1]}T00:00{day[2] or 'Z'}") + timedelta(days=int(field == "until"))
        else:
            at = datetime.fromisoformat(asked)
            at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidSelection(
            field,
            worded("%(text)s is no time: say 2h, 3d, 2026-11-24, or 2026-11-24T10:30+01:00", text=repr(text[:60])),
        ) from None
    if not _EARLIEST <= at <= _LATEST:
        raise InvalidSelection(field, worded("%(text)s is too far away", text=repr(text[:60])))
    return at


def argument(text: str, *, quoted: bool) -> Any:
    """An argument's value: a number, true, false or null where it reads as one and is not quoted; else the text.

    A number is a Number where JSON would write it in another way.
    """
    if quoted:
        return text
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if value is None or isinstance(value, bool):
        return value
    if not isinstance(value, int | float) or (isinstance(value, float) and not math.isfinite(value)):
        return text
    return value if json.dumps(value) == text else Number(text)
