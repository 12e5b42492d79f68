"""How many requests a client may make: a window of a minute, which all processes of the site count in Redis.

While Redis is away each process counts by itself, so that a client has its rate in each of them. Nobody is locked out.
"""

from __future__ import annotations

import math
import threading
import time
from typing import NamedTuple

from handlers.exceptions import TransportUnavailable
from handlers.rq_transport.windows import Window, count_in

SECONDS = 60


class Rate(NamedTuple):
    """Where a client stands in its window."""

    limit: int
    number: int
    left_seconds: float

    @property
    def is_over(self) -> bool:
        """Whether this request is one too many."""
        return self.number > self.limit

    @property
    def headers(self) -> dict[str, str]:
        """What the client is told."""
        return {
            "RateLimit-Policy": f"{self.limit};w={SECONDS}",
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(max(self.limit - self.number, 0)),
            "RateLimit-Reset": str(math.ceil(self.left_seconds)),
        }


def count_request(client_id: int, limit: int) -> Rate:
    """Count a request of this client, which may make ``limit`` a minute."""
    try:
        window = count_in(f"api:{client_id}", SECONDS)
    except TransportUnavailable:
        window = _own.count(client_id)
    return Rate(limit, window.number, window.left_seconds)


class _OwnWindows:
    """The windows of one process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._windows: dict[int, tuple[float, int]] = {}  # client -> when its window ends, and how many so far

    def count(self, client_id: int) -> Window:
        now = time.monotonic()
        with self._lock:
            until, count = self._windows.get(client_id, (0.0, 0))
            if until <= now:
                self._windows = {key: known for key, known in self._windows.items() if known[0] > now}
                until, count = now + SECONDS, 0
            self._windows[client_id] = until, count + 1
        return Window(count + 1, until - now)


_own = _OwnWindows()
