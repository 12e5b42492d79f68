"""Claimed jobs of types that run many in one call: they wait in their worker process for company."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Sequence

from handlers.lifecycle import Claim
from handlers.many.types import ManyType


class Gathering:
    """Of one worker process. Its main thread adds and takes; its keeper takes what goes back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._full: deque[tuple[float, list[Claim]]] = deque()  # since when
        self._waiting: dict[str, tuple[float, list[Claim]]] = {}  # by type: when they are due, full or not

    @property
    def has_any(self) -> bool:
        """Whether any wait."""
        return bool(self._full or self._waiting)

    def add(self, claim: Claim, job_type: ManyType, now: float) -> None:
        """One more waits."""
        with self._lock:
            _, claims = self._waiting.setdefault(job_type.name, (now + job_type.wait.total_seconds(), []))
            claims.append(claim)
            if len(claims) >= job_type.size:
                del self._waiting[job_type.name]
                self._full.append((now, claims))

    def seconds(self) -> float:
        """How long until the next are due; 0 if some are, infinite when none wait."""
        with self._lock:
            if self._full:
                return 0.0
            due_at = min((due_at for due_at, _ in self._waiting.values()), default=math.inf)
        return max(due_at - time.monotonic(), 0.0)

    def take(self, before: float) -> Sequence[Claim]:
        """Some for one call that are due by then (monotonic seconds), full ones first; none when none are."""
        with self._lock:
            if self._full and self._full[0][0] <= before:
                return self._full.popleft()[1]
            for name, (due_at, claims) in self._waiting.items():
                if due_at <= before:
                    del self._waiting[name]
                    return claims
        return ()

    def take_all(self, before: float) -> list[Claim]:
        """All that are due by then."""
        found: list[Claim] = []
        while claims := self.take(before):
            found += claims
        return found

    def in_hand(self) -> set[int]:
        """The jobs that wait."""
        with self._lock:
            waiting = [claims for _, claims in (*self._full, *self._waiting.values())]
        return {claim.job_id for claims in waiting for claim in claims}
