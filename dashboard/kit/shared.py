"""What one thread of this process found out a moment ago, for all who would look for the same.

Only what is the same for everybody, or for everybody whom the key names: a key holds how far a person reaches.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar
from weakref import WeakSet

from django.http import HttpRequest

Value = TypeVar("Value")

# A live page asks every 5 s, a little more or less. What it is told may be as old as that; a person who loads a page is
# told what is so now.
LIVE_SECONDS = 4.0
MOST = 200  # keys

_all: WeakSet[Shared[Any]] = WeakSet()


def is_live(request: HttpRequest) -> bool:
    """Whether a page asks by itself, and no person."""
    return "X-Live" in request.headers


class Shared(Generic[Value]):
    """Values by key, each for ``seconds``. Who comes while one is looked for waits for it, and does not look too."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._kept: dict[Hashable, tuple[float, Value]] = {}
        self._locks: dict[Hashable, threading.Lock] = {}
        self._lock = threading.Lock()
        _all.add(self)

    def get(self, key: Hashable, make: Callable[[], Value], *, seconds: float | None = None) -> Value:
        """The value of ``key``, from ``make`` unless there is one that is younger. ``seconds``: not the usual."""
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            now, known = time.monotonic(), self._kept.get(key)
            if known is not None and now - known[0] < (self._seconds if seconds is None else seconds):
                return known[1]
            value = make()
            self._keep(key, now, value)  # as old as the first look
            return value

    def keep(self, key: Hashable, value: Value) -> None:
        """Whoever asks for ``key`` next is told ``value``, which the caller has just found out."""
        self._keep(key, time.monotonic(), value)

    def forget(self) -> None:
        """Look anew."""
        with self._lock:
            self._kept.clear()

    def _keep(self, key: Hashable, at: float, value: Value) -> None:
        with self._lock:
            self._kept[key] = (at, value)
            while len(self._kept) > MOST:
                oldest = next(iter(self._kept))
                del self._kept[oldest]
                self._locks.pop(oldest, None)


def forget() -> None:
    """Look anew for everything."""
    for each in [*_all]:
        each.forget()
