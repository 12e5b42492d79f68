"""How long a worker process works: until it is told to stop, or until it has worked enough and another takes over."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

from handlers.processes import memory_bytes


@dataclass(frozen=True, slots=True)
class Lifetime:
    """When a worker process ends by itself; by default never. It does so between two jobs only."""

    max_jobs: int | None = None  # as many attempts
    max_memory: int | None = None  # MiB in RAM; looked at after each batch of short jobs and each long one
    burst: bool = False  # when there is nothing left to run, for good

    def room(self, ran: int) -> float:
        """How many more attempts a process that began so many may begin."""
        return math.inf if self.max_jobs is None else max(self.max_jobs - ran, 0)

    def spent(self, ran: int) -> str | None:
        """Why a process that ran so many attempts should make way for another; None while it should go on."""
        if not ran:  # whatever the limits, each process must get something done
            return None
        if self.room(ran) == 0:
            return f"it has run {ran} jobs"
        if self.max_memory is not None and (held := (memory_bytes(os.getpid()) or 0) >> 20) > self.max_memory:
            return f"it holds {held} MiB"
        return None


ENDLESS = Lifetime()
