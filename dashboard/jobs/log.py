"""What the job page shows of an attempt's log: inert, and never more of it than a page can carry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dashboard.kit.text import inert

MAX_LINE = 2_000  # characters of a log line
MAX_LOG = 70_000  # characters of an attempt's log: above, its long lines are cut shorter
MAX_LINES = 201
SHORTEST = 200  # characters that stay of each line
LEVELS = ("INFO", "WARNING", "ERROR", "CRITICAL")


@dataclass(frozen=True)
class ShownLine:
    """One log line."""

    at: str
    level: str
    logger: str
    text: str

    @property
    def css(self) -> str:
        """The level as a class; nothing from the data gets in there."""
        return self.level.lower() if self.level in LEVELS else "other"

    @property
    def clock(self) -> str:
        """The time of day of an ISO time; of anything else nothing."""
        return self.at[11:23] if len(self.at) >= 23 and self.at[10] == "T" else ""


def shown_lines(stored: Any) -> list[ShownLine]:
    """The lines of one attempt."""
    rows = [line for line in stored if isinstance(line, list) and len(line) == 4] if isinstance(stored, list) else []
    lines = [[str(part) for part in line] for line in rows[:MAX_LINES]]
    limit = _limit([len(line[3]) for line in lines])
    return [
        ShownLine(inert(at, 40), inert(level, 20), inert(name, 100), inert(text, limit))
        for at, level, name, text in lines
    ]


def _limit(lengths: Sequence[int]) -> int:
    """How many characters of each line may be shown so that all of them stay within MAX_LOG."""
    limit = MAX_LINE
    while limit > SHORTEST and sum(min(length, limit) for length in lengths) > MAX_LOG:
        limit //= 2
    return max(limit, SHORTEST)
