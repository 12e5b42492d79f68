"""What is written: tables for people, one JSON object on a line for scripts, a bar while something goes on."""

from __future__ import annotations

import json
import os
import shutil
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TextIO

CUT = "\N{HORIZONTAL ELLIPSIS}"
GAP = "  "
BAR = 30  # characters
LEAST = 8  # columns that the last one of a table keeps


class Screen:
    """Standard output and standard error of one command."""

    def __init__(self, out: TextIO, err: TextIO, *, as_json: bool = False, acts: bool = False) -> None:
        """``acts``: of a command that changes something, which goes on when nobody reads any more."""
        self._out, self._err, self.as_json, self._acts = out, err, as_json, acts
        self._is_terminal = _is_terminal(out)

    def say(self, text: str) -> None:
        """A line for people; of a command that answers in JSON nobody reads it."""
        if not self.as_json:
            self._write(f"{plain(text)}\n", replaced=True)

    def block(self, text: str) -> None:
        """Several lines, as they are."""
        for line in text.splitlines():
            self.say(line)

    def warn(self, text: str) -> None:
        """A line on standard error."""
        self._err.write(f"{plain(text)}\n")

    def row(self, data: Mapping[str, Any]) -> None:
        """One object on a line."""
        try:
            self._write(f"{json.dumps(data, ensure_ascii=False, default=_as_json)}\n")
        except UnicodeEncodeError:  # not every terminal's encoding has all characters
            self._write(f"{json.dumps(data, default=_as_json)}\n")
        self.flush()

    def table(self, heads: Sequence[str], rows: Iterable[Sequence[Any]], *, headless: bool = False) -> None:
        """``rows`` in columns as wide as they must be. On a terminal the last one is cut where the line ends."""
        lines = [[plain(_cell(cell)) for cell in row] for row in rows]
        shown = lines if headless else [list(heads), *lines]
        widths = [max((_width(row[at]) for row in shown), default=0) for at in range(len(heads) - 1)]
        room = shutil.get_terminal_size().columns - sum(widths) - len(GAP) * len(widths) if self._is_terminal else None
        for row in shown:
            cells = [_padded(cell, width) for cell, width in zip(row, widths, strict=False)]
            last = row[-1] if room is None else _cut(row[-1], max(room, LEAST))
            self._write(f"{GAP.join([*cells, last]).rstrip()}\n", replaced=True)
        self.flush()

    def flush(self) -> None:
        """Have it read. Raises BrokenPipeError where nobody reads, unless the command goes on all the same."""
        try:
            self._out.flush()
        except BrokenPipeError:
            leave(self._out)
            if not self._acts:
                raise

    def _write(self, text: str, *, replaced: bool = False) -> None:
        try:
            self._out.write(text)
        except UnicodeEncodeError as error:
            if not replaced:
                raise
            self._out.write(text.encode(error.encoding, "backslashreplace").decode(error.encoding))
        except BrokenPipeError:
            leave(self._out)
            if not self._acts:
                raise

    def progress(self, done: int, total: int | None) -> None:
        """A bar on standard error, where that is a terminal; ``end_progress`` takes it away."""
        if not _is_terminal(self._err):
            return
        share = min(done / total, 1.0) if total else 0.0
        full = int(share * BAR)
        of = f"{done:,} of {total:,}" if total else f"{done:,}"
        self._err.write(f"\r[{'#' * full}{' ' * (BAR - full)}] {share * 100:3.0f} %  {of}\x1b[K")
        self._err.flush()

    def end_progress(self) -> None:
        """Take the bar away."""
        if _is_terminal(self._err):
            self._err.write("\r\x1b[K")
            self._err.flush()


def leave(out: TextIO) -> None:
    """Whoever read has seen enough: what is written from now on, also as Python ends, goes nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, out.fileno())
    os.close(nowhere)


def plain(text: str) -> str:
    """``text`` in one line, with nothing in it that a terminal would obey."""
    return "".join(
        char if char.isprintable() else " " if char.isspace() else "\N{REPLACEMENT CHARACTER}" for char in text
    )


def age(at: datetime | None, now: datetime) -> str:
    """How long ago, or ahead, in one unit: ``3m``, ``in 2h``; empty for no time."""
    if at is None:
        return ""
    seconds = (now - at).total_seconds()
    text = span(timedelta(seconds=abs(seconds)))
    return text if seconds >= 0 else f"in {text}"


def span(length: timedelta) -> str:
    """A length of time in its largest unit."""
    seconds = int(length.total_seconds())
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def moment(at: datetime | None) -> str:
    """A time for people, UTC; empty for none."""
    return "" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def _is_terminal(stream: TextIO) -> bool:
    isatty = getattr(stream, "isatty", None)
    return bool(isatty and isatty())


def _as_json(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    return f"{value:,}" if isinstance(value, float) else "" if value is None else str(value)


def _width(text: str) -> int:
    return len(text) if text.isascii() else sum(map(_columns, text))


def _columns(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _padded(text: str, width: int) -> str:
    return text + " " * (width - _width(text))


def _cut(text: str, width: int) -> str:
    if _width(text) <= width:
        return text
    found, used = [], 1
    for char in text:
        used += _columns(char)
        if used > width:
            break
        found.append(char)
    return "".join(found) + CUT
