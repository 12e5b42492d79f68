"""What has ended and is not yet recorded, of all that one worker process runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence

from handlers.execution import settle
from handlers.lifecycle import Move
from handlers.rq_transport.marks import Marks
from handlers.states import State

FLUSH_SECONDS = 0.025  # what is done is recorded at most this long after, while the worker is between jobs

Ended = Callable[[], Move | None]  # says what records a run that has ended; it may ask the database for that


class Broken(Exception):
    """A run that ended broke this process after all: it could not be said what became of it."""


class Outcomes:
    """Moves to be, recorded together. Several threads add to them, and any may record them, one at a time.

    ``lock`` is held for moments, also by who adds; ``recording`` by who records.
    """

    def __init__(self, name: str, *, marks: Marks, keep_trying: Callable[[], bool]) -> None:
        self.lock, self.recording = threading.Lock(), threading.RLock()
        self._name, self._marks, self._keep_trying = name, marks, keep_trying
        self._done: list[Move] = []
        self._ended: list[tuple[int, int, Ended]] = []  # slot, job, and what it came to
        self._oldest = 0.0
        self._unsure: list[int] = []  # slots whose runs may not have been recorded
        self.is_doubtful = False  # whether some outcome may not have been recorded

    def add(self, move: Move, now: float) -> None:
        """One more. The caller holds ``lock``."""
        if not (self._done or self._ended):
            self._oldest = now
        self._done.append(move)
        failed = move.change.failure is not None
        if failed or move.change.target == State.SUCCEEDED:
            self._marks.count(failed=failed)

    def add_all(self, moves: Iterable[Move]) -> None:
        """Several that no run has come to."""
        now = time.monotonic()
        with self.lock:
            for move in moves:
                self.add(move, now)

    def ended(self, slot: int, job_id: int, ended: Ended, others: Sequence[Move] = ()) -> None:
        """The run in a slot is over; the slot is free once that is recorded, and what it did to ``others``."""
        with self.lock:
            if not (self._done or self._ended):
                self._oldest = time.monotonic()
            self._ended.append((slot, job_id, ended))
            for move in others:
                self.add(move, self._oldest)

    def is_due(self, now: float) -> bool:
        """Whether something should not wait any longer."""
        return bool(self._done or self._ended) and now - self._oldest >= FLUSH_SECONDS

    @property
    def is_empty(self) -> bool:
        """Whether all is recorded."""
        return not (self._done or self._ended or self._unsure)

    def waiting(self) -> set[int]:
        """The jobs whose outcomes wait."""
        with self.lock:
            return {job_id for _, job_id, _ in self._ended} | {move.job_id for move in self._done}

    def flush(self) -> None:
        """Record what is done. Raises Broken, with that run marked as one that goes on."""
        with self.recording:
            with self.lock:
                ended, self._ended = self._ended, []
            for slot, _, outcome in ended:
                try:
                    move = outcome()
                except Exception as error:
                    self._marks.blame(slot)
                    raise Broken from error
                if move is not None:
                    with self.lock:
                        self.add(move, 0.0)
            with self.lock:
                moves, self._done = self._done, []
            slots = [slot for slot, *_ in ended]
            try:
                sure = not moves or len(settle(moves, worker=self._name, keep_trying=self._keep_trying)) == len(moves)
            except BaseException:
                self._doubt(slots)
                raise
            if sure:
                for slot in slots:
                    self._marks.give_slot_back(slot)
            else:
                self._doubt(slots)

    def _doubt(self, slots: list[int]) -> None:
        self._unsure += slots
        self.is_doubtful = True

    def be_sure(self) -> None:
        """What was in doubt is cleared up."""
        with self.recording:
            slots, self._unsure = self._unsure, []
            self.is_doubtful = False
        for slot in slots:
            self._marks.give_slot_back(slot)
