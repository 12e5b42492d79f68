"""The runs of async handlers in one worker process: together on one event loop, in a thread beside the main one."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from handlers import execution, tidying
from handlers.cancellation import CancelReason
from handlers.lifecycle import Claim
from handlers.rq_transport.blocking import BLOCKED_SECONDS, HeldUp
from handlers.rq_transport.event_loops import OfOneProcess, new_event_loop
from handlers.rq_transport.marks import Marks
from handlers.rq_transport.outcomes import Outcomes
from handlers.rq_transport.slots import PATIENCE_SECONDS, Slots, start
from handlers.rq_transport.stacks import Place, of_tasks

logger = logging.getLogger(__name__)

SYNC_THREADS = 32  # for what handlers do by asyncio.to_thread and the like: as many as Python has at most
LOOK_SECONDS = 0.05  # how often runs learn that they should stop
SILENT_SECONDS = 0.25  # a loop that has not answered for so long is given nothing more
LOOPS = (__name__, "asyncio.base_events", "selectors")  # modules in which the loop's thread is between two callbacks


class AsyncRuns(Slots):
    """Its event loop and thread are started with the first run.

    ``may_wait``: whether runs may still be waited for, once the worker was asked to stop.
    """

    is_async = True

    def __init__(
        self,
        name: str,
        most: int,
        *,
        may_wait: Callable[[], bool],
        marks: Marks,
        outcomes: Outcomes,
        ended: threading.Event,
    ) -> None:
        super().__init__(name, most, marks=marks, outcomes=outcomes, ended=ended)
        self._may_wait = may_wait
        self._loop: asyncio.AbstractEventLoop | None = None
        self._runs: dict[int, _Run] = {}  # by slot; only the loop's thread changes it
        self._thread: threading.Thread | None = None
        self._cancels = 0
        self._looks = False
        self._looked_at = 0.0  # monotonic
        self._turned_away: set[int] = set()  # jobs that went back since, because their turn did not come

    @property
    def room(self) -> int:
        """As of any slots, but while the event loop does not answer: what was claimed for it would only go back."""
        return 0 if self._silence() >= SILENT_SECONDS else super().room

    def overdue(self, seconds: float = PATIENCE_SECONDS) -> list[Claim]:
        """As of any slots."""
        found = super().overdue(seconds)
        self._turned_away.update(claim.job_id for claim in found)
        return found

    def _silence(self) -> float:
        return time.monotonic() - self._looked_at if self._looks else 0.0

    def held_up(self) -> HeldUp | None:
        """What keeps the event loop from answering, while others wait for it."""
        seconds, others = self._silence(), len(self._runs) - 1 + len(self._turned_away)
        if seconds < BLOCKED_SECONDS or others < 1 or not self._thread or not self._loop:
            return None
        frame = sys._current_frames().get(self._thread.ident or 0)
        task = asyncio.current_task(self._loop)
        if frame is None or (task is None and frame.f_globals.get("__name__") in LOOPS):
            return None  # it has just gone on
        runs = list(self._runs.copy().values())
        claim = next((run.claim for run in runs if task is run.task or task in run.tasks), None)
        return HeldUp(claim, seconds, others, frame)

    def place_of(self, slot: int) -> Place | None:
        """Where the run of this slot is."""
        run = self._runs.get(slot)
        if run is None or run.task is None or self._thread is None:
            return None
        return Place(run.claim, of_tasks([run.task, *run.tasks], self._thread.ident))

    def _wake(self, count: int) -> None:
        if self._loop is None:
            self._loop = self._begin()
        self._loop.call_soon_threadsafe(self._fill)

    # --- in the loop's thread

    def _begin(self) -> asyncio.AbstractEventLoop:
        loop = new_event_loop()
        loop.set_task_factory(_make_task)
        loop.set_default_executor(tidying.TidyThreads(SYNC_THREADS))
        self._thread = threading.Thread(target=self._serve, args=(loop,), name="event loop", daemon=True)
        self._thread.start()
        return loop

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        while True:
            try:
                loop.run_forever()
            except (SystemExit, KeyboardInterrupt) as error:  # of a task that a handler started: it ends nothing else
                logger.warning("a task of an async handler raised %s", type(error).__name__)

    def _fill(self) -> None:
        while len(self._runs) < self.most and (found := self._next()) is not None:
            claim, slot = found
            run = self._runs[slot] = _Run(claim, slot, self._marks)
            context = contextvars.Context()
            context.run(_current.set, run)
            run.task = asyncio.Task(OfOneProcess(self._run(run)), loop=self._loop, context=context)
        if not self._looks:
            self._looks = True
            self._looked_at = time.monotonic()
            self._look()

    async def _run(self, run: _Run) -> None:
        run.begin()
        outcome = await execution.arun(run.claim, run.token, worker=self._name)
        run.end_tasks()
        del self._runs[run.slot]
        self._end((run.claim,), run.slot, outcome)
        self._fill()

    def _look(self) -> None:
        assert self._loop is not None
        if not self._runs:
            self._looks = False
            return
        self._looked_at, self._turned_away = time.monotonic(), set()
        self._loop.call_later(LOOK_SECONDS, self._look)
        if (cancels := self._marks.cancels) != self._cancels:
            self._cancels = cancels
            for run in list(self._runs.values()):
                run.heed()
        if self._marks.is_hurried and not self._may_wait():  # here: the main thread may wait for Redis, or the database
            for run in list(self._runs.values()):
                run.break_off()


class _Run:
    """One run, while it goes on."""

    __slots__ = ("began", "claim", "is_told", "slot", "task", "tasks", "token")

    def __init__(self, claim: Claim, slot: int, marks: Marks) -> None:
        self.claim, self.slot = claim, slot
        self.task: asyncio.Task[None] | None = None
        self.tasks: list[asyncio.Task[Any]] = []  # that the handler has started
        self.began = self.is_told = False
        self.token = start(claim, marks, slot)

    def heed(self) -> None:
        """Stop if this run is asked to. While its worker stops, its grace is its own: it has its token."""
        if not self.is_told and self.token.reason not in (None, CancelReason.STOPPING):
            self.cancel()

    def break_off(self) -> None:
        """Stop: the worker has to, and this is the last moment to clean up."""
        if not self.is_told:
            self.token.cancel(CancelReason.STOPPING)
            self.cancel()

    def cancel(self) -> None:
        """Have the handler get asyncio.CancelledError where it waits."""
        self.is_told = True
        if self.began and self.task is not None:  # else its first step would not come to us
            self.task.cancel()

    def begin(self) -> None:
        """The first step of its task."""
        self.began = True
        if self.is_told:
            self.cancel()

    def has_started(self, task: asyncio.Task[Any]) -> None:
        """The handler has started this one."""
        if len(self.tasks) >= 64 and not len(self.tasks) % 64:
            self.tasks = [task for task in self.tasks if not task.done()]
        self.tasks.append(task)

    def end_tasks(self) -> None:
        """Cancel the tasks that the handler left behind, and say so in its log."""
        if left := [task for task in self.tasks if not task.done()]:
            names = ", ".join(sorted(task.get_name() for task in left)[:10])
            logger.warning("the handler left %d tasks behind, which are cancelled: %s", len(left), names)
            for task in left:
                task.cancel()


_current: contextvars.ContextVar[_Run | None] = contextvars.ContextVar("handlers_run", default=None)


def _make_task(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> asyncio.Task[Any]:
    task: asyncio.Task[Any] = asyncio.Task(OfOneProcess(coro), loop=loop, **options)
    if (run := _current.get()) is not None:
        run.has_started(task)
    return task
