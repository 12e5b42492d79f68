"""Async handlers where jobs run one at a time, as under a stock rqworker: each in an event loop of its own.

The loop is in a thread beside the one that waits for it. What the coroutine asks of Django's ORM, and whatever else it
has ``sync_to_async`` do, is done in the thread that waits. So it goes by the same database connections as the work of
other handlers and is tidied like it, and none of it goes on when the run is over.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable
from contextlib import suppress
from contextvars import copy_context
from typing import Any

from asgiref.sync import async_to_sync

from handlers import forks
from handlers.conf import jobs_settings

logger = logging.getLogger(__name__)


def run_to_end(awaitable: Awaitable[Any]) -> Any:
    """What ``awaitable`` comes to; what it raises is raised. Its changes to context variables stay its own."""
    run = _Run(awaitable)
    try:
        return copy_context().run(async_to_sync(run.main))
    except BaseException:
        run.break_off()
        raise


class _Run:
    def __init__(self, awaitable: Awaitable[Any]) -> None:
        self._awaitable = awaitable
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self._over = threading.Event()

    async def main(self) -> Any:
        """The coroutine that the event loop runs."""
        process = forks.process_id()
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        try:
            return await self._awaitable
        finally:
            forks.end_unless(process)  # here, before it takes down the event loop that it shares with its parent
            self._over.set()

    def break_off(self) -> None:
        """Cancel what still runs: a signal, such as a time limit's, may have raised in the thread that waited."""
        if self._loop is None or self._task is None or self._over.is_set():
            return
        with suppress(RuntimeError):  # the loop has been closed just now
            self._loop.call_soon_threadsafe(self._task.cancel)
        if not self._over.wait(jobs_settings().timeout_grace_seconds):
            logger.warning("an async handler runs on, although its run was broken off and it was cancelled")
