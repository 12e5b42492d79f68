"""Read a stored traceback: which of its frames is the app's own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import handlers

_FRAME = re.compile(
    r'^  File "(?P<path>[^"\n]+)", line (?P<line>\d+)(?:, in (?P<name>[^\n]+))?\n(?P<code>    [^\n]+)?', re.MULTILINE
)
_LIBRARY = re.compile(r"[/\\](?:site|dist)-packages[/\\]|[/\\]lib[/\\]python\d|[/\\]Lib[/\\]|^<frozen ")
_ENGINE = f"{Path(handlers.__file__ or 'handlers').parent}/"
_LOOK_AT = 60_000  # characters from the traceback's end: the last frame is there


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


def app_frame(traceback: str) -> Frame | None:
    """The last frame that belongs to neither a library nor the engine; None where there is no such frame."""
    found = None
    for match in _FRAME.finditer(traceback[-_LOOK_AT:]):
        path = match["path"]
        if not _LIBRARY.search(path) and not path.startswith(_ENGINE):
            found = Frame(path, int(match["line"]), match["name"] or "", (match["code"] or "").strip())
    return found
