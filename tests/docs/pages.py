"""The documentation as its tests read it: which pages there are, and what is in code on them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^( *)```(\S*)[^\n]*\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
# On the line before an example: it is no whole program, for the reason given, and is only compiled.
NOT_RUN = re.compile(r"<!-- not run: (.+?) -->\n\s*\Z")
# Before an example that is a file of its own, which has nothing of the examples above but by its imports.
NEW_FILE = re.compile(r"In a new file, `([\w/]+)\.py`:\n\s*\Z")
SPAN = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True)
class Example:
    """A fenced block of a page."""

    page: Path
    line: int  # of its first line, from 1
    language: str
    text: str
    not_run: str  # why it is only compiled; empty: it is run
    module: str  # what it is, if a file of its own: shop.tests

    @property
    def where(self) -> str:
        """For messages."""
        return f"{self.page.relative_to(ROOT)}, line {self.line}"


def examples(page: Path) -> Iterator[Example]:
    """The blocks of ``page``, in their order."""
    text = page.read_text()
    for found in FENCE.finditer(text):
        mark = NOT_RUN.search(text, 0, found.start())
        file = NEW_FILE.search(text, 0, found.start())
        indent = len(found.group(1))
        body = "".join(line[indent:] if line.strip() else line for line in found.group(3).splitlines(keepends=True))
        line = text.count("\n", 0, found.start()) + 2
        module = file.group(1).replace("/", ".") if file else ""
        yield Example(page, line, found.group(2), body, mark.group(1) if mark else "", module)


def spans(page: Path) -> Iterator[str]:
    """What stands in backticks within the sentences of ``page``."""
    yield from SPAN.findall(FENCE.sub("", page.read_text()))
