"""Read a stored traceback: which of its frames is the app's own, and which parts a reader may pass over.

What is stored is untrusted text of bounded length: it is read line by line, once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import handlers
from handlers.registry import registry

_FRAME = re.compile(
    r'^  File "(?P<path>[^"\n]+)", line (?P<line>\d+)(?:, in (?P<name>[^\n]+))?\n(?P<code>    [^\n]+)?', re.MULTILINE
)
_HEAD = re.compile(r'  File "([^"]+)", line \d+')
_INSTALLED = re.compile(r"[/\\](?:site|dist)-packages[/\\]")
_LIBRARY = re.compile(rf"{_INSTALLED.pattern}|[/\\]lib[/\\]python\d|[/\\]Lib[/\\]|^<frozen ")
_ENGINE = f"{Path(handlers.__file__ or 'handlers').parent}/"
_LOOK_AT = 60_000  # characters from the traceback's end: the last frame is there
_START = "Traceback (most recent call last):"
_CHAINS = (
    "The above exception was the direct cause of the following exception:",
    "During handling of the above exception, another exception occurred:",
)
MAX_PARTS = 300  # of one traceback; what follows stays one piece


class Frame(NamedTuple):
    """One line of a traceback."""

    path: str
    line: int
    name: str
    code: str

    @property
    def short_path(self) -> str:
        """The path's last three parts."""
        return "/".join(Path(self.path).parts[-3:]).lstrip("/")


class Part(NamedTuple):
    """A piece of a traceback, as it stands there. ``kind``: start, chain, app, library or error."""

    kind: str
    text: str
    frames: int = 0


def app_frame(traceback: str) -> Frame | None:
    """The last frame that belongs to neither a library nor the engine; None where there is no such frame."""
    found = None
    for match in _FRAME.finditer(traceback[-_LOOK_AT:]):
        if not _is_library(match["path"]):
            found = Frame(match["path"], int(match["line"][:9]), match["name"] or "", (match["code"] or "").strip())
    return found


def parts(traceback: str) -> list[Part]:
    """The whole traceback in pieces, in order: neighbours of a kind are one piece, and no line is lost."""
    told: list[tuple[str, list[str], int]] = []
    for kind, line, is_head in _lines(traceback):
        if told and (told[-1][0] == kind or (not line.strip() and kind == "error") or len(told) == MAX_PARTS):
            last, lines, frames = told[-1]
            lines.append(line)
            told[-1] = (last, lines, frames + is_head)
        elif line.strip():
            told.append((kind, [line], int(is_head)))
    return [Part(kind, "\n".join(lines).rstrip(), frames) for kind, lines, frames in told]


def _lines(traceback: str) -> Iterator[tuple[str, str, bool]]:
    """Each line with the kind of piece that it belongs to, and whether it begins a frame."""
    frame = ""
    for line in traceback.split("\n"):
        head = _HEAD.match(line)
        if head:
            frame = "library" if _is_library(head[1]) else "app"
        elif not (frame and line.startswith(("    ", "  [Previous line repeated"))):
            frame = ""  # a frame's code, and the marks below it, stand deeper than its head
        kind = "start" if line == _START else "chain" if line in _CHAINS else "error"
        yield frame or kind, line, head is not None


def _is_library(path: str) -> bool:
    if path.startswith(_ENGINE):
        return True
    if not _LIBRARY.search(path):
        return False
    _, *installed = _INSTALLED.split(path)
    module = re.sub(r"[/\\]", ".", installed[-1]) if installed else ""
    return not any(module.startswith(f"{package}.") for package in registry.packages())  # it declares job types
