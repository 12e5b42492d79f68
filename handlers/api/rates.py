"""How many requests a client may make: a window of a minute, which all processes of the site count in Redis.

A process counts some requests in advance, a hundredth of what the client may make, and asks Redis again when those are
used up. While Redis is away each process counts by itself, so that a client has its rate in each of them: nobody is
locked out by an outage.
"""

from __future__ import annotations

import math
import threading
import time
from typing import NamedTuple

from handlers.exceptions import TransportUnavailable
from handlers.rq_transport.windows import count_in

SECONDS = 60
SHARE = 100  # of a client's rate one process counts so many parts in advance


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


class _Counted(NamedTuple):
    """What this process has counted for a client: its next requests are ``number`` to ``last`` until ``until``."""

    number: int
    last: int
    until: float  # monotonic


_counted: dict[int, _Counted] = {}
_lock = threading.Lock()


def count_request(client_id: int, limit: int) -> Rate:
    """Count a request of this client, which may make ``limit`` a minute."""
    now = time.monotonic()
    with _lock:
        mine = _counted.get(client_id)
        if mine is None or mine.number > mine.last or mine.until <= now:
            mine = _ask(client_id, limit, mine, now)
        _counted[client_id] = mine._replace(number=mine.number + 1)
    return Rate(limit, mine.number, mine.until - now)


def forget() -> None:
    """Count anew, as after a start."""
    with _lock:
        _counted.clear()


def _ask(client_id: int, limit: int, before: _Counted | None, now: float) -> _Counted:
    """Count some more requests in Redis, or, while that is away, by what this process has counted so far."""
    more = max(limit // SHARE, 1)
    try:
        window = count_in(f"api:{client_id}", SECONDS, more)
    except TransportUnavailable:
        for gone in [key for key, counted in _counted.items() if counted.until <= now]:
            del _counted[gone]
        if before is None or before.until <= now:
            return _Counted(1, limit, now + SECONDS)
        return _Counted(before.number, before.number, before.until)
    return _Counted(window.number - more + 1, window.number, now + window.left_seconds)
