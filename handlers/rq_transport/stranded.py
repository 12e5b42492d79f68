"""A worker's way to the jobs that others could not run: they are on no queue, the database knows them."""

from __future__ import annotations

import time
from collections.abc import Sequence

from django.db import Error

from handlers import stranded, tidying
from handlers.registry import registry
from handlers.rq_transport.marks import Marks
from handlers.transport import Message

SHORT_SECONDS = 0.01  # not 0, which Redis takes for ever
PAUSE_SECONDS = 1.0  # after there was nothing, or the database was away


class Stranded:
    """Asks the database while the supervisor says that there are some, and in turns with the queues."""

    def __init__(self, marks: Marks) -> None:
        self._marks = marks
        self._after = 0.0  # monotonic; not asked before
        self._is_turn = True

    @property
    def is_due(self) -> bool:
        """Whether there may be some to take now."""
        return self._marks.stranded and time.monotonic() >= self._after

    def patience(self, seconds: float) -> float:
        """How long to wait for the queues, which are empty, where that would be ``seconds`` without these."""
        self._is_turn = True
        return SHORT_SECONDS if self.is_due else seconds

    def take(self, queues: Sequence[str], most: int) -> list[Message]:
        """Messages of up to ``most`` jobs; none when it is the turn of the queues. Never raises."""
        if not self.is_due:
            return []
        self._is_turn = not self._is_turn
        if self._is_turn:
            return []
        try:
            messages = stranded.take(queues, registry.release, most)
        except Error:
            tidying.close_broken_connections()
            messages = []
        if not messages:
            self._after = time.monotonic() + PAUSE_SECONDS
        return messages
