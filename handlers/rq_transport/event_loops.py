"""The event loop on which a worker process runs its async handlers: uvloop's where there is one, else asyncio's own."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from handlers import forks
from handlers.conf import ASYNCIO, jobs_settings

try:
    import uvloop
except ImportError:
    uvloop = None  # type: ignore[assignment]


def new_event_loop() -> asyncio.AbstractEventLoop:
    """A loop as ``JOBS["EVENT_LOOP"]`` says."""
    if uvloop is None or jobs_settings().event_loop == ASYNCIO:
        return asyncio.SelectorEventLoop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


class OfOneProcess(Coroutine[Any, Any, Any]):
    """A coroutine that a process which was forked in it leaves where it waits next: what runs then is its parent's."""

    __slots__ = ("_coroutine", "_owner")

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._coroutine, self._owner = coroutine, forks.process_id()

    def send(self, value: Any) -> Any:
        """As a coroutine's."""
        awaited = self._coroutine.send(value)
        if forks.process_id() != self._owner:
            forks.end_unless(self._owner)
        return awaited

    def throw(self, *error: Any) -> Any:
        """As a coroutine's."""
        awaited = self._coroutine.throw(*error)
        if forks.process_id() != self._owner:
            forks.end_unless(self._owner)
        return awaited

    def close(self) -> None:
        """As a coroutine's."""
        self._coroutine.close()

    def __await__(self) -> Any:
        return self._coroutine.__await__()

    def __getattr__(self, name: str) -> Any:
        """Where it is, and what it waits for: ``cr_frame`` and its like."""
        return getattr(self._coroutine, name)
