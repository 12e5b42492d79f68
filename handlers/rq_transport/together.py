"""The runs of async handlers in one worker process: together on one event loop, in a thread beside the main one."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import selectors
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from handlers import execution, forks, logs, tidying
from handlers.cancellation import CancellationToken, CancelReason
from handlers.lifecycle import Claim
from handlers.rq_transport.marks import Marks
from handlers.rq_transport.outcomes import Outcomes

logger = logging.getLogger(__name__)

SYNC_THREADS = 32  # for what handlers do by asyncio.to_thread and the like: as many as Python has at most
AHEAD_SECONDS = 0.02  # jobs are claimed so long ahead of their turn, as far as runs end often enough,
PATIENCE_SECONDS = 0.1  # and given back when that takes longer after all
PACE_SECONDS = 0.05  # between two reckonings how often that is
LOOK_SECONDS = 0.05  # how often runs learn that they should stop


class Together:
    """Started and asked by the main thread; as many as the marks have room for."""

    def __init__(self, name: str, *, marks: Marks, outcomes: Outcomes) -> None:
        self._name, self._marks, self._outcomes, self.most = name, marks, outcomes, marks.beside
        self._loop: asyncio.AbstractEventLoop | None = None
        self._in_hand: set[int] = set()  # jobs
        self._runs: dict[int, _Run] = {}  # by slot; only the loop's thread changes it
        self._ready: deque[tuple[Claim, float]] = deque()  # to be run next, since when
        self._given = self._ended = 0  # runs; only the main thread counts the first, and others the second
        self._counting = threading.Lock()
        self._ahead = self._paced = 0  # how many may wait for their turn; and ended when that was last reckoned
        self._paced_at = 0.0
        self._went_on = threading.Event()  # set when a run ends
        self._cancels = 0
        self._looks = False

    @property
    def has_any(self) -> bool:
        """Whether runs go on, or are about to begin."""
        return self._given > self._ended

    @property
    def have_ended(self) -> int:
        """How many runs have come to their end."""
        return self._ended

    @property
    def room(self) -> int:
        """How many more may be started: at once, or as soon as some end, which is in a moment."""
        if (passed := (now := time.monotonic()) - self._paced_at) >= PACE_SECONDS:
            self._ahead = min(int((self._ended - self._paced) / passed * AHEAD_SECONDS), self.most)
            self._paced_at, self._paced = now, self._ended
        in_hand = self._given - self._ended
        return min(self.most + self._ahead - in_hand, self._marks.free_slots() - len(self._ready))

    def start(self, claims: Sequence[Claim]) -> None:
        """Start a run of each; there is room for them."""
        if self._loop is None:
            self._loop = self._begin()
        now = time.monotonic()
        self._in_hand.update(claim.job_id for claim in claims)
        self._given += len(claims)
        self._ready.extend((claim, now) for claim in claims)
        self._loop.call_soon_threadsafe(self._fill)

    def overdue(self, seconds: float = PATIENCE_SECONDS) -> list[Claim]:
        """Those that have waited so long for their turn, which they lose. For the thread that records outcomes."""
        found = []
        before = time.monotonic() - seconds
        with suppress(IndexError):  # the loop's thread takes from it, too
            while self._ready[0][1] <= before:
                found.append(self._ready.popleft()[0])
        return found

    def gave_back(self, claims: Sequence[Claim]) -> None:
        """The outcomes know of these, which are not going to run."""
        with self._counting:
            self._ended += len(claims)
        self._in_hand.difference_update(claim.job_id for claim in claims)
        self._went_on.set()

    def in_hand(self) -> set[int]:
        """The jobs that were started and whose runs have not ended."""
        return set(self._in_hand)

    def wait(self, seconds: float, until: Callable[[], bool]) -> bool:
        """Wait for runs to end, ``seconds`` at most, until there is what is waited for; whether there is."""
        deadline = time.monotonic() + seconds
        while not until():
            self._went_on.clear()
            if until():
                return True
            if (left := deadline - time.monotonic()) <= 0 or not self._went_on.wait(left):
                return until()
        return True

    def break_off(self) -> None:
        """Have whatever still runs stop: the worker has to."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._break_off)

    # --- in the loop's thread

    def _begin(self) -> asyncio.AbstractEventLoop:
        tidying.watch()
        loop = asyncio.SelectorEventLoop(_Selector(forks.process_id()))
        loop.set_task_factory(_make_task)
        loop.set_default_executor(tidying.TidyThreads(SYNC_THREADS))
        threading.Thread(target=self._serve, args=(loop,), name="event loop", daemon=True).start()
        return loop

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        while True:
            try:
                loop.run_forever()
            except (SystemExit, KeyboardInterrupt) as error:  # of a task that a handler started: it ends nothing else
                logger.warning("a task of an async handler raised %s", type(error).__name__)

    def _fill(self) -> None:
        while len(self._runs) < self.most and self._ready:
            try:
                claim, _ = self._ready.popleft()
            except IndexError:
                break
            slot = self._marks.take_slot()
            assert slot is not None  # who starts them asks for the room before
            logs.attach()
            run = self._runs[slot] = _Run(claim, slot, self._marks)
            context = contextvars.Context()
            context.run(_current.set, run)
            run.task = asyncio.Task(self._run(run), loop=self._loop, context=context)
        if not self._looks:
            self._looks = True
            self._look()

    async def _run(self, run: _Run) -> None:
        run.begin()
        outcome = await execution.arun(run.claim, run.token, worker=self._name)
        run.end_tasks()
        del self._runs[run.slot]
        self._marks.end(run.slot)
        self._outcomes.ended(run.slot, run.claim.job_id, outcome)
        self._in_hand.discard(run.claim.job_id)
        logs.detach()
        with self._counting:
            self._ended += 1
        self._went_on.set()
        self._fill()

    def _look(self) -> None:
        assert self._loop is not None
        if not self._runs:
            self._looks = False
            return
        self._loop.call_later(LOOK_SECONDS, self._look)
        if (cancels := self._marks.cancels) != self._cancels:
            self._cancels = cancels
            for run in list(self._runs.values()):
                run.heed()

    def _break_off(self) -> None:
        for run in list(self._runs.values()):
            run.token.cancel(CancelReason.STOPPING)
            run.cancel()


class _Run:
    """One run, while it goes on."""

    __slots__ = ("began", "claim", "is_told", "slot", "task", "tasks", "token")

    def __init__(self, claim: Claim, slot: int, marks: Marks) -> None:
        self.claim, self.slot = claim, slot
        self.task: asyncio.Task[None] | None = None
        self.tasks: list[asyncio.Task[Any]] = []  # that the handler has started
        self.began = self.is_told = False
        sequence = marks.start(claim.job_id, execution.timeout_of(claim), slot)
        self.token = CancellationToken(
            lambda: marks.cancel_reason(sequence, slot), job_id=claim.job_id, attempt=claim.attempt
        )

    def heed(self) -> None:
        """Stop if this run is asked to. While its worker stops, its grace is its own: it has its token."""
        if not self.is_told and self.token.reason not in (None, CancelReason.STOPPING):
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


class _Selector(selectors.DefaultSelector):
    """A process that a handler forked comes no further than to where it waits: what runs here is its parent's."""

    def __init__(self, owner: int) -> None:
        super().__init__()
        self._owner = owner

    def select(self, timeout: float | None = None) -> Any:
        """Wait for events."""
        if forks.process_id() != self._owner:
            forks.end_unless(self._owner)
        return super().select(timeout)


_current: contextvars.ContextVar[_Run | None] = contextvars.ContextVar("handlers_run", default=None)


def _make_task(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> asyncio.Task[Any]:
    task: asyncio.Task[Any] = asyncio.Task(coro, loop=loop, **options)
    if (run := _current.get()) is not None:
        run.has_started(task)
    return task
