"""How the console writes things: durations in words, calls as code, and untrusted text made inert."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

MAX_TEXT = 100_000  # characters of one text that a page shows
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
    return f"{shown}\n… {cut:,} more characters" if cut > 0 else shown


def one_line(text: str, limit: int = 200) -> str:
    """The first line of ``text``, inert, with an ellipsis where something was left out."""
    first = text.strip().split("\n", 1)[0]
    line = inert(first, len(first))
    return f"{line[: limit - 1]}…" if len(line) > limit else line


def in_words(verb: str) -> str:
    """A verb's name as people read it: ``pause_queue`` is *Pause queue*."""
    return verb.replace("_", " ").capitalize()


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
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    left = round(seconds)
    parts = []
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if left >= size:
            parts.append(f"{left // size} {unit}")
            left %= size
    return " ".join(parts[:2])


def rough(seconds: float) -> str:
    """A length of time in one unit, for "… ago" and "in …"."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def call(job_type: str, class_name: str, payload: Any, *, kind: str = "job", queue: str | None = None) -> str:
    """The Python line that makes such a job: ``job_scheduler.enqueue(SendReceipt(order_id=7))``.

    ``queue``: only where the job is not on its type's own queue. ``class_name`` empty: the last part of ``job_type``.
    """
    name = class_name or job_type.rpartition(".")[2]
    if isinstance(payload, dict) and all(isinstance(key, str) and key.isidentifier() for key in payload):
        arguments = [f"{key}={_value(value)}" for key, value in payload.items()]
    else:
        arguments = [_value(payload)]
    made = f"{name}({', '.join(arguments)})"
    if len(made) > 100:
        made = f"{name}(\n        " + ",\n        ".join(arguments) + ",\n    )"
    on_queue = f", queue={queue!r}" if queue else ""
    verb = "command_bus.send" if kind == "command" and not queue else "job_scheduler.enqueue"
    line = f"{verb}({made}{on_queue})"
    if "\n" in made:
        line = f"{verb}(\n    {made}{on_queue},\n)"
    return inert(line, 20_000)


def _value(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= MAX_CODE_VALUE else f"{text[: MAX_CODE_VALUE - 1]}…"


def dotted(thing: Callable[..., Any] | type[Any] | object) -> str:
    """Where a class or function is defined, as ``module.name``."""
    named = thing if hasattr(thing, "__qualname__") else type(thing)
    return f"{named.__module__}.{named.__qualname__}"
