"""The job that runs here and now: what its handler enqueues and logs belongs to it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

FIRST, NEWEST = 50, 150  # of an attempt's log lines those are kept

# ISO time, level, logger, message
LogLine = tuple[str, str, str, str]


@dataclass(slots=True)
class LogBuffer:
    """The first and the newest lines that one attempt logged."""

    count: int = 0
    first: list[LogLine] | None = None
    newest: deque[LogLine] | None = None

    def add(self, line: LogLine) -> None:
        """Keep ``line``; once there are too many, the oldest after the first ones goes."""
        self.count += 1
        if self.first is None:
            self.first = []
        if len(self.first) < FIRST:
            self.first.append(line)
            return
        if self.newest is None:
            self.newest = deque(maxlen=NEWEST)
        self.newest.append(line)

    def lines(self) -> tuple[LogLine, ...]:
        """What was kept, oldest first; one line says how many are missing where some are."""
        first, newest = tuple(self.first or ()), tuple(self.newest or ())
        if missing := self.count - len(first) - len(newest):
            first += ((newest[0][0], "", "", f"… {missing:,} lines left out …"),)
        return first + newest


@dataclass(slots=True, eq=False)
class CurrentJob:
    """One attempt while it runs. ``hide`` takes sensitive arguments out of a text, and never raises."""

    job_id: int
    attempt: int
    correlation: str = ""
    hide: Callable[[str], str] = str
    claim: Any = None  # the life cycle's, under which it runs
    worker: str = ""
    token: Any = None  # its CancellationToken
    log: LogBuffer | None = None  # from its first line on
    progress: tuple[float, float | None, str] | None = None  # done, of how much, and a message
    bars: str = ""  # why nothing may be enqueued or moved here, in words
    run: Any = None  # what its handler has of it, once it has asked
    is_over: bool = False
    is_noted: bool = False  # has something to tell that is not written yet
    on_line: Callable[[CurrentJob], None] | None = None  # hears of each line

    def keep(self, line: LogLine) -> None:
        """Keep a line that it logged."""
        if self.log is None:
            self.log = LogBuffer()
        self.log.add(line)
        if self.on_line is not None:
            self.on_line(self)

    @property
    def job_type(self) -> str:
        """Its type's name; empty where no claim is known."""
        return "" if self.claim is None else str(self.claim.job_type)

    @property
    def queue(self) -> str:
        """The queue that it was claimed from; empty where no claim is known."""
        return "" if self.claim is None else str(self.claim.queue)

    @property
    def family(self) -> str:
        """The correlation that the jobs enqueued by this one get: its own, else its id."""
        return self.correlation or str(self.job_id)


# Follows the handler into async code and asyncio.to_thread; None in threads that it starts by itself.
current: ContextVar[CurrentJob | None] = ContextVar("handlers_current_job", default=None)
