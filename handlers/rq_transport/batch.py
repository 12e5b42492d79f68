"""The batch that a worker has in hand: what waits, what runs, what is done but not yet recorded."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from django.db import Error, connections

from handlers.execution import settle
from handlers.lifecycle import Claim, Move, handed_back
from handlers.rq_transport.database_limits import limit_worker_thread
from handlers.rq_transport.slow_types import SLOW_SECONDS

logger = logging.getLogger(__name__)

FLUSH_SECONDS = 0.025  # what is done is recorded at most this long after, while the worker is between jobs
POLL_SECONDS = 0.015


class Batch:
    """Claims in order, taken one at a time by the worker's main thread.

    A keeper thread, with a database connection of its own, records what is done and gives back what waits as soon as
    the running job turns out slow: so a long job never holds others, neither their outcomes nor their turn.
    """

    def __init__(
        self,
        claims: Sequence[Claim],
        *,
        worker: str,
        keep_trying: Callable[[], bool],
        on_slow: Callable[[], None] = lambda: None,
    ) -> None:
        self._waiting = deque(claims)
        self._done: list[Move] = []
        self._oldest_done = 0.0
        self._running_since: float | None = None
        self._lock = threading.Lock()  # the fields above
        self._recording = threading.Lock()  # one settlement at a time, and none after close() returned
        self._worker, self._keep_trying, self._on_slow = worker, keep_trying, on_slow
        self.is_doubtful = False  # whether some outcome may not have been recorded

    def take(self) -> Claim | None:
        """The next job to run; None when none is left."""
        with self._lock:
            if not self._waiting:
                return None
            self._running_since = time.monotonic()
            return self._waiting.popleft()

    def finish(self, move: Move | None) -> float:
        """The taken job has run to its end; ``move`` is to be recorded, if anything. How many seconds it took."""
        now = time.monotonic()
        with self._lock:
            seconds = now - (self._running_since or now)
            self._running_since = None
            if move is not None:
                if not self._done:
                    self._oldest_done = now
                self._done.append(move)
            due = bool(self._done) and now - self._oldest_done >= FLUSH_SECONDS
        if due:
            self.flush()
        return seconds

    def flush(self) -> None:
        """Record what is done."""
        with self._recording:
            with self._lock:
                moves, self._done = self._done, []
            self._record(moves)

    def give_back(self, reason: str) -> None:
        """Record what is done and return what waits, unstarted."""
        with self._recording:
            with self._lock:
                moves, self._done = self._done, []
                moves += [handed_back(claim, reason, started=False) for claim in self._waiting]
                self._waiting.clear()
            self._record(moves)

    def relieve(self) -> None:
        """Called by the keeper: let no one wait for a job that runs long."""
        with self._lock:
            since = self._running_since
            slow = since is not None and time.monotonic() - since >= SLOW_SECONDS
            needed = slow and bool(self._waiting or self._done)
        if needed:
            self.give_back("the job before it took long")
        if slow:
            self._on_slow()

    def _record(self, moves: list[Move]) -> None:
        if not moves:
            return
        try:
            moved = settle(moves, worker=self._worker, keep_trying=self._keep_trying)
        except BaseException:
            self.is_doubtful = True
            raise
        self.is_doubtful |= len(moved) < len(moves)


class Keeper(threading.Thread):
    """Watches the batch in hand; sleeps while there is none."""

    def __init__(self) -> None:
        super().__init__(name="keeper", daemon=True)
        self._batch: Batch | None = None
        self._work = threading.Event()

    def watch(self, batch: Batch) -> None:
        """Look after ``batch`` from now on."""
        self._batch = batch
        self._work.set()

    def rest(self) -> None:
        """There is nothing to look after."""
        self._work.clear()
        self._batch = None

    def run(self) -> None:
        """The thread: never ends, never fails."""
        limit_worker_thread()
        while True:
            self._work.wait()
            time.sleep(POLL_SECONDS)
            batch = self._batch
            if batch is None:
                continue
            try:
                batch.relieve()
            except Exception:
                # The batch says that it is doubtful, and the worker gives back what was not recorded.
                logger.exception("cannot record finished jobs")
                for connection in connections.all(initialized_only=True):
                    try:
                        connection.close()
                    except Error:
                        logger.debug("a broken connection could not be closed")
