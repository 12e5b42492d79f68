"""An error as text that can be stored: whatever a handler raises is described, cleaned and bounded."""

from __future__ import annotations

import hashlib
import os
import re
import sysconfig
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from handlers.conf import jobs_settings
from handlers.exceptions import InvalidJob
from handlers.registry import registry

# PostgreSQL stores no NUL, and neither database a lone surrogate; the other controls (ANSI escapes) only mislead.
UNSTORABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed attempt's error, cleaned and bounded: class path, message, traceback, last line of app code."""

    exception: str
    message: str
    traceback: str = ""
    frame: str = ""  # "shop/jobs.py:42 in handle"; empty where the app's code had no part
    job_type: str = ""  # whose attempt it was, and which
    queue: str = ""
    attempt: int = 0
    correlation: str = ""
    version: str = ""  # of the code that ran it, where that is known

    @property
    def fingerprint(self) -> str:
        """What failures of the same cause share: 16 hex digits of the class and the place, without its line number.

        Without the line, since an edit elsewhere in the file must not make an old trouble look new. Where the app's
        code had no part (a hard timeout, a lost worker, a missing handler), the job's type is the place.
        """
        place = re.sub(r":\d+ in ", " in ", self.frame) or f"\n{self.job_type}"
        return _digest(f"{self.exception}\n{place}")

    @property
    def former_fingerprint(self) -> str:
        """The one that it had while a failure without a frame shared its group with those of all types; else empty."""
        return "" if self.frame else _digest(f"{self.exception}\n")

    @property
    def line(self) -> str:
        """The failure in one line of at most 200 characters."""
        first = self.message.strip().splitlines()[0] if self.message.strip() else ""
        name = self.exception.rpartition(".")[2]
        return (f"{name}: {first}" if first else name)[:200]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]


def clean(text: str, limit: int | None = None) -> str:
    """``text`` without what a database cannot store, at most ``limit`` characters (default: JOBS MAX_ERROR_CHARS).

    Of a text that is too long the beginning and the end are kept: the end of a traceback says what happened.
    """
    limit = jobs_settings().max_error_chars if limit is None else limit
    if len(text) > limit:
        gap = f"\n... {len(text) - limit:,} characters left out ...\n"
        # A column's limit counts the gap too; a limit that has no room for it just cuts.
        half = (limit - len(gap)) // 2
        text = f"{text[:half]}{gap}{text[-half:]}" if half > 0 else text[:limit]
    return UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def reason_text(reason: object) -> str:
    """What somebody gives as a reason, as a column keeps it. Raises InvalidJob (``reason``) for what is no text."""
    if not isinstance(reason, str):
        raise InvalidJob(f"reason: must be text, empty where there is none, not {repr(reason)[:60]}", field="reason")
    return clean(reason, 500)


def class_path(error: BaseException) -> str:
    """The dotted path of the error's class; builtins by their bare name."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return clean(name, 200)


def describe(error: BaseException, hide: Callable[[str], str] = str, **attempt: Any) -> Failure:
    """``error`` as a Failure; ``attempt``: the fields that say whose. Never raises, whatever the error's methods do.

    ``hide`` takes what must not be recorded out of a text; it comes before any cut, which could halve a secret.
    """
    if isinstance(error, MemoryError):
        _free(error)
    try:
        return _described(error, hide, attempt)
    except Exception:  # noqa: BLE001 - MemoryError: there is no room for so many words
        _free(error)
    try:
        return _described(error, hide, attempt)
    except Exception as second:  # noqa: BLE001
        return Failure(class_path(error), f"(describing it raised {class_path(second)})", **attempt)


def _described(error: BaseException, hide: Callable[[str], str], attempt: dict[str, Any]) -> Failure:
    message, trace = hide(_message(error)), hide(_traceback(error))
    return Failure(class_path(error), clean(message), clean(trace), clean(_frame(error), 300), **attempt)


def _free(error: BaseException) -> None:
    """Let go of the local variables of the handler's frames, which the error holds; no text shows them."""
    chain: BaseException | None = error
    seen: set[int] = set()
    while chain is not None and id(chain) not in seen:
        seen.add(id(chain))
        traceback.clear_frames(chain.__traceback__)
        chain = chain.__cause__ or chain.__context__


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException as second:  # noqa: BLE001 - a handler's __str__ may raise anything at all
        return f"(its __str__ raised {class_path(second)})"


def _traceback(error: BaseException) -> str:
    trace = error.__traceback__
    # The engine's own frames come first in each and say nothing; without any others (a timeout) they stay.
    while trace is not None and trace.tb_frame.f_globals.get("__name__", "").startswith("handlers."):
        trace = trace.tb_next
    try:
        return "".join(traceback.format_exception(type(error), error, trace or error.__traceback__))
    except BaseException:  # noqa: BLE001 - formatting asks the error for its text, again
        return "".join(traceback.format_tb(trace))


# Code that is installed, rather than written for this project.
_PATHS = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
_LIBRARIES = (*(f"{path}{os.sep}" for path in _PATHS), "<")
_INSTALLED = re.compile(r"[/\\](?:site|dist)-packages[/\\]")


def _frame(error: BaseException) -> str:
    """The last line of app code that the error went through."""
    trace: TracebackType | None = error.__traceback__
    found = ""
    while trace is not None:
        code, module = trace.tb_frame.f_code, str(trace.tb_frame.f_globals.get("__name__", ""))
        if _is_app_code(module, code.co_filename):
            found = f"{'/'.join(Path(code.co_filename).parts[-2:])}:{trace.tb_lineno} in {code.co_name}"
        trace = trace.tb_next
    return found


def _is_app_code(module: str, path: str) -> bool:
    """Whether it is a line of this project, or of an app that declares job types, which pip may have installed."""
    if module.startswith("handlers."):
        return False
    if not path.startswith(_LIBRARIES) and not _INSTALLED.search(path):
        return True
    return any(module == package or module.startswith(f"{package}.") for package in registry.packages())
