"""Log records that say which job they belong to, as JSON where that is wanted: one object a line.

    LOGGING = {
        "filters": {"job": {"()": "handlers.structured_logs.JobFields"}},
        "formatters": {"json": {"()": "handlers.structured_logs.JsonFormatter"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "filters": ["job"], "formatter": "json"}},
        ...
    }

Standard library only. A thread that a handler starts by itself has no job, as nobody can tell.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from handlers.current import current
from handlers.masking import MASK

DEEPEST = 8  # levels of what ``extra`` holds; what lies below is one text
FIELDS = ("job_id", "job_type", "attempt", "correlation", "queue")
# What every record has; whatever else is there somebody has said by ``extra``.
_OF_ALL = frozenset({*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"})
_OWN = frozenset({*FIELDS, "process"})  # numbers that are nobody's argument
# What holds live objects: a request, a socket, a response.
_LIVE = frozenset({"request", "response", "sock"})


class JobFields(logging.Filter):
    """Gives each record the fields of the job that runs here and now; lets every record pass.

    Without a job they are empty, so that a format may name them. What a record says by itself, it keeps.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Always true."""
        job = current.get()
        for name in FIELDS:
            if not hasattr(record, name):
                setattr(record, name, "" if job is None else getattr(job, name))
        return True


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON: time, level, logger, message, process, the job's fields and what ``extra`` says.

    Sensitive arguments of the job that runs are taken out of all of these.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end. Never raises for what a record holds."""
        job = current.get()
        told: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": _message(record),
            "process": record.process,
        }
        if job is not None:
            told |= {name: getattr(job, name) for name in FIELDS}
        told |= {name: value for name, value in vars(record).items() if name not in _OF_ALL | _LIVE and value != ""}
        if record.exc_info and record.exc_info[0] is not None:
            told["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            told["stack"] = self.formatStack(record.stack_info)
        hide = str if job is None else job.hide
        told = {
            name: value if name in _OWN and isinstance(value, int) else _hidden(value, hide)
            for name, value in told.items()
        }
        # Escaped: a lone surrogate is written somehow, and no line end of a text ends the line.
        return json.dumps(told, default=_text, skipkeys=True)


def _hidden(value: Any, hide: Callable[[str], str], depth: int = 0) -> Any:
    """``value`` as JSON can have it, without what ``hide`` takes out, however deep that lies in it."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float) and math.isfinite(value):
        text = _text(value)
        return value if hide(text) == text else MASK
    if depth < DEEPEST and isinstance(value, dict):
        return {hide(_text(name)): _hidden(item, hide, depth + 1) for name, item in value.items()}
    if depth < DEEPEST and isinstance(value, list | tuple | set | frozenset):
        return [_hidden(item, hide, depth + 1) for item in value]
    return hide(_text(value))


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - arguments that do not fit their template, or cannot be printed
        return f"{record.msg!s} (its arguments do not fit)"


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - its own __str__ may raise anything
        return f"(a {type(value).__qualname__} that cannot be shown)"
