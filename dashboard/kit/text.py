"""How the console writes things: durations in words, calls as code, and untrusted text made inert."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.utils.translation import gettext as _

from dashboard.kit.languages import in_language
from dashboard.kit.numbers import in_figures, thousands
from dashboard.kit.vocabulary import VERBS
from handlers.exceptions import InvalidJob

MAX_TEXT = 100_000  # characters of one text that a page shows
LONGEST_LINE = 100  # characters of a call in one line
MAX_CODE_VALUE = 120  # characters of one argument in a call shown as code

# Characters that move other text about or cannot be seen: C0 and C1 controls but tab and newline, the bidirectional
# controls, zero-width characters, lone surrogates. Shown as escapes, so that text cannot pretend to be something else.
_UNSEEN = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)


def inert(text: str, limit: int = MAX_TEXT) -> str:
    """``text`` with unseen and direction-changing characters as escapes, cut at ``limit`` characters. Not yet HTML."""
    cut = len(text) - limit
    shown = _UNSEEN.sub(lambda match: f"\\u{ord(match.group()):04x}", text[:limit])
    return f"{shown}\n{_('… %(count)s more characters') % {'count': thousands(cut)}}" if cut > 0 else shown


def one_line(text: str, limit: int = 200) -> str:
    """The first line of ``text``, inert, with an ellipsis where something was left out."""
    first = text.strip().split("\n", 1)[0]
    line = inert(first, len(first))
    return f"{line[: limit - 1]}…" if len(line) > limit else line


def in_words(verb: str) -> str:
    """A verb's name as people read it: ``pause_queue`` is *Pause queue*."""
    return str(VERBS.get(verb) or verb.replace("_", " ").capitalize())


def pretty_json(value: Any) -> str:
    """A JSON value as people read it."""
    return inert(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def duration(value: timedelta | float | None) -> str:
    """A length of time (timedelta, or seconds) in at most two units: ``1 h 20 min``, ``3.2 s``, ``45 ms``."""
    if value is None:
        return ""
    seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    if seconds < 0:
        seconds = 0.0
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return in_figures(f"{seconds:.1f}".removesuffix(".0")) + " s"
    left = round(seconds)
    parts = []
    for size, unit in ((86400, _("d")), (3600, "h"), (60, "min"), (1, "s")):
        if left >= size:
            parts.append(f"{left // size} {unit}")
            left %= size
    return " ".join(parts[:2])


def rough(seconds: float) -> str:
    """A length of time in one unit, for "… ago" and "in …"."""
    for size, unit in ((86400, _("d")), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def call(job_type: str, class_name: str, payload: Any, *, kind: str = "job", **options: Any) -> str:
    """The Python line that makes such a job: ``job_scheduler.enqueue(SendReceipt(order_id=7))``.

    ``options``: of the gateway's verb, None: not given, as ``queue`` where the job is on its type's own.
    ``class_name`` empty: the last part of ``job_type``.
    """
    given = {key: value for key, value in options.items() if value is not None}
    name = class_name or job_type.rpartition(".")[2]
    if isinstance(payload, dict) and all(isinstance(key, str) and key.isidentifier() for key in payload):
        arguments = [f"{key}={_value(value)}" for key, value in payload.items()]
    else:
        arguments = [_value(payload)]
    made = f"{name}({', '.join(arguments)})"
    if len(made) > LONGEST_LINE:
        made = f"{name}(\n        " + ",\n        ".join(arguments) + ",\n    )"
    verb = "job_scheduler.schedule" if "at" in given else "job_scheduler.enqueue"
    verb = "command_bus.send" if kind == "command" and not given else verb
    parts = [made, *(f"{key}={_option(value)}" for key, value in given.items())]
    line = f"{verb}({', '.join(parts)})"
    if "\n" in made:
        line = f"{verb}(\n    {', '.join(parts)},\n)"
    elif len(line) > LONGEST_LINE:
        line = f"{verb}(\n    " + ",\n    ".join(parts) + ",\n)"
    return inert(line, 20_000)


def _option(value: Any) -> str:
    """As one writes it in code: short names, and of a rule only what was said."""
    if isinstance(value, datetime):
        at = value.astimezone(UTC)
        parts = [at.year, at.month, at.day, at.hour, at.minute, *([at.second] if at.second else [])]
        return f"datetime({', '.join(map(str, parts))}, tzinfo=UTC)"
    if is_dataclass(value):
        said = {field.name: getattr(value, field.name) for field in fields(value)}
        unlike = [field.name for field in fields(value) if said[field.name] != field.default]
        return f"{type(value).__name__}({', '.join(f'{name}={_option(said[name])}' for name in unlike)})"
    return repr(value).removeprefix("datetime.")


def sentence(error: InvalidJob) -> str:
    """The engine's words, without the field's name before them."""
    words = inert(in_language(error).removeprefix(f"{error.field}: "))
    return f"{words[:1].upper()}{words[1:]}."


def _value(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= MAX_CODE_VALUE else f"{text[: MAX_CODE_VALUE - 1]}…"


def dotted(thing: Callable[..., Any] | type[Any] | object) -> str:
    """Where a class or function is defined, as ``module.name``."""
    named = thing if hasattr(thing, "__qualname__") else type(thing)
    return f"{named.__module__}.{named.__qualname__}"
