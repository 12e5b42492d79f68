"""An error as people paste it, out of a log, a ticket or this console: with colons, quotation marks, a whole traceback.

A job's row keeps its last failure as one line: the class without its path, and the message's first line, cut.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from handlers.selection.errors import InvalidSelection
from handlers.selection.language import check_text
from handlers.wording import worded

MAX_PASTED = 50_000  # characters of a traceback
KEPT = 200  # characters of the line that a job's row keeps: Failure.line

TRACEBACK = "Traceback (most recent call last):"
_CLASS = r"(?:[A-Za-z_]\w*\.)*(?:[A-Z]\w*|\w*(?:error|exception|timeout|interrupt|exit|warning))"
_HEAD = re.compile(rf"{_CLASS}:(?:\s|$)")
# A text field joins what was pasted, so that an error may stand right behind the last line of code.
_JOINED = re.compile(
    r"""(?:[A-Za-z_]\w*\.)+[A-Z]\w*(?=:\s|$)|(?<=[)\]}'"])[A-Z]\w*(?=:\s|$)|[A-Z]\w*(?:Error|Exception)(?=:\s|$)"""
)
_PATH = re.compile(r"\A(?:[A-Za-z_]\w*\.)+(?=\w+(?::|\Z))")
_FIRST = re.compile(r'\s*[A-Za-z][\w.\-\[\]]*[:=](?:"(?:[^"\\]|\\.)*"|[^\s"]+)(?=\s|$)', re.DOTALL)
_LAST = re.compile(r'[A-Za-z][\w.\-\[\]]*[:=][^\s"]+')


class Pasted(NamedTuple):
    """What was typed around an error, in the words of the search, and the error."""

    around: str
    error: str  # empty: none was pasted, and all of the text is ``around``


def split(text: str, narrows: Callable[[str], bool]) -> Pasted:
    """``text`` apart, if an error was pasted into it; ``narrows``: whether some text is a qualifier with its value.

    What narrows a search may stand before or after the error: ``state:failed KeyError: 'sku'``.
    """
    check_text(text, limit=MAX_PASTED)
    start, end = 0, len(text)
    while (match := _FIRST.match(text, start)) and narrows(match[0]):
        start = match.end()
    while (last := _last_word(text[start:end])) and _LAST.fullmatch(last) and narrows(last):
        end = start + len(text[start:end].rstrip()) - len(last)
    middle = text[start:end].strip()
    is_error = _HEAD.match(middle) or (TRACEBACK in middle and not middle.startswith('"'))
    return Pasted(f"{text[:start]} {text[end:]}", middle) if is_error else Pasted(text, "")


def line(error: str) -> str:
    """``error`` as the row of a job that failed with it has it. Raises InvalidSelection for a traceback without end."""
    _, traceback, after = error.rpartition(TRACEBACK)
    lines = after.splitlines()
    if not traceback:
        first = after.strip().splitlines()[0]
    elif len(lines) > 1:
        # After the code, which is indented, comes the error itself; of several tracebacks the last is what ended it.
        first = next((text for text in lines if text[:1].strip()), "")
    else:
        head = _JOINED.search(after, max(after.rfind('File "'), 0))
        first = after[head.start() :] if head else ""
    if not first.strip():
        raise InvalidSelection(
            "", worded("this is a traceback without its end: paste its last line, which names the error")
        )
    return _PATH.sub("", first.strip())[:KEPT].rstrip()


def _last_word(text: str) -> str:
    words = text.rsplit(None, 1)
    return words[-1] if words else ""
