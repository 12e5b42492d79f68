"""The batch that a worker's main thread has in hand: what waits, and what runs."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from django.db import Error, connections

from handlers.lifecycle import Claim, Move, handed_back
from handlers.rq_transport import slow_types
from handlers.rq_transport.database_limits import limit_worker_thread
from handlers.rq_transport.outcomes import Broken, Outcomes

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.015
LATE_SECONDS = 0.01  # after outcomes are due: by then the main thread records them, unless it is in a run


class Batch:
    """Claims in order, taken one at a time by the worker's main thread.

    A keeper thread, with a database connection of its own, records what is done and gives back what waits as soon as
    the running job turns out slow: so a long job never holds others, neither their outcomes nor their turn.
    """

    def __init__(
        self, claims: Sequence[Claim], outcomes: Outcomes, *, on_slow: Callable[[], None] = lambda: None
    ) -> None:
        self._waiting = deque(claims)
        self._begun: set[int] = set()  # the jobs among them that have run, and do again
        self._running_since: float | None = None
        self._outcomes, self._lock = outcomes, outcomes.lock  # it guards the fields above, too
        self._on_slow = on_slow

    def take(self) -> tuple[Claim, float] | None:
        """The next job to run, and the time; None when none is left."""
        with self._lock:
            if not self._waiting:
                return None
            self._running_since = now = time.monotonic()
            return self._waiting.popleft(), now

    def put_back(self, claims: Sequence[Claim]) -> None:
        """These, which have run, are to be taken again, next."""
        with self._lock:
            self._begun.update(claim.job_id for claim in claims)
            self._waiting.extendleft(reversed(claims))

    def finish(self, move: Move | None, *, may_flush: bool = True) -> float:
        """The taken job has run to its end; ``move`` is to be recorded, if anything. How many seconds it took.

        ``may_flush``: whether this thread may record now what has ended.
        """
        now = time.monotonic()
        with self._lock:
            seconds = now - (self._running_since or now)
            self._running_since = None
            if move is not None:
                self._outcomes.add(move, now)
            due = may_flush and self._outcomes.is_due(now)
        if due:
            self._outcomes.flush()
        return seconds

    def handed_back(self, claim: Claim, reason: str) -> Move:
        """What returns one of these that does not run now."""
        return handed_back(claim, reason, started=claim.job_id in self._begun)

    def give_back(self, reason: str) -> None:
        """Record what is done and return what waits."""
        with self._outcomes.recording:
            now = time.monotonic()
            with self._lock:
                for claim in self._waiting:
                    self._outcomes.add(self.handed_back(claim, reason), now)
                self._waiting.clear()
            self._outcomes.flush()

    def relieve(self) -> None:
        """Called by the keeper: let no one wait for a job that runs long, nor an outcome for any job."""
        with self._lock:
            since, now = self._running_since, time.monotonic()
            slow = since is not None and now - since >= slow_types.SLOW_SECONDS
            behind, late = slow and bool(self._waiting), self._outcomes.is_due(now - LATE_SECONDS)
        if behind:
            self.give_back("the job before it took long")
        elif late:
            self._outcomes.flush()
        if slow:
            self._on_slow()


class Keeper(threading.Thread):
    """Watches what is in hand; sleeps while there is nothing.

    ``on_look`` is called while there are runs beside the main thread, and says whether what is done should be recorded
    at once; ``on_turn`` whenever it is awake, and raises nothing. ``broken``: why this process cannot go on.
    """

    def __init__(self, outcomes: Outcomes, *, on_look: Callable[[], bool], on_turn: Callable[[], None]) -> None:
        super().__init__(name="keeper", daemon=True)
        self._outcomes, self._on_look, self._on_turn = outcomes, on_look, on_turn
        self._batch: Batch | None = None
        self._beside = False
        self._work = threading.Event()
        self.broken: Broken | None = None

    def watch(self, batch: Batch | None, *, beside: bool) -> None:
        """Look after ``batch``, and after the runs ``beside`` the main thread, if there are any, from now on."""
        self._batch, self._beside = batch, beside
        (self._work.set if batch is not None or beside else self._work.clear)()

    def watch_beside(self) -> None:
        """There are runs beside the main thread from now on."""
        self._beside = True
        self._work.set()

    def run(self) -> None:
        """The thread: never ends."""
        limit_worker_thread()
        while True:
            self._work.wait()
            time.sleep(POLL_SECONDS)
            self._on_turn()
            try:
                if (batch := self._batch) is not None:
                    batch.relieve()
                if self._beside and (self._on_look() or self._outcomes.is_due(time.monotonic())):
                    self._outcomes.flush()
            except Broken as error:
                self.broken = error
                return
            except Exception:
                # The outcomes say that they are doubtful, and the worker gives back what was not recorded.
                logger.exception("cannot record finished jobs")
                _close_connections()


def _close_connections() -> None:
    for connection in connections.all(initialized_only=True):
        try:
            connection.close()
        except Error:
            logger.debug("a broken connection could not be closed")
