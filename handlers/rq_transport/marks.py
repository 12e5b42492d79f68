"""What a worker process shows its supervisor: a few words of shared memory, written without a lock.

The supervisor can read them whatever the worker is doing, a busy interpreter and a dead process included.
"""

from __future__ import annotations

import mmap
import time
from typing import NamedTuple

from handlers.cancellation import CancelReason

# Words of eight bytes: each is written and read at once, which larger pieces would not be.
SEQUENCE, RUNNING, STARTED_AT, TIMEOUT, HOLDING, STOP, CANCEL_SEQUENCE, CANCEL_REASON, COUNT = range(9)
DONE, FAILED, LEAVING, QUIET, STRANDED, PULSE, FIRST = range(9, 16)
REASONS = tuple(CancelReason)
STOP_NOW, STOP_AFTER = 1, 2  # values of STOP: the running job is asked to stop too, or may end


class Running(NamedTuple):
    """The run that a worker is in."""

    sequence: int  # counts this process's runs, so that a late cancellation cannot hit the next one
    job_id: int
    since: float  # monotonic seconds, the same clock in every process of a host
    timeout: float  # seconds


class Marks:
    """Shared by one worker process and its supervisor; made before the fork."""

    def __init__(self, batch: int) -> None:
        self._size = batch
        memory = mmap.mmap(-1, (FIRST + batch) * 8)
        self._words = memoryview(memory).cast("q")
        self._times = memoryview(memory).cast("d")

    # --- written by the worker

    def hold(self) -> None:
        """Say that jobs are claimed, or about to be."""
        self.beat()
        self._words[HOLDING] = True

    def release(self) -> None:
        """Say that nothing is held: all that was has its outcome recorded, or was given back."""
        self._words[COUNT] = 0
        self._words[HOLDING] = False

    def start(self, job_id: int, timeout: float) -> int:
        """Say that a run begins; its sequence number."""
        words = self._words
        words[RUNNING] = 0
        sequence: int = words[SEQUENCE] + 1
        words[SEQUENCE] = sequence
        self._times[STARTED_AT] = time.monotonic()
        self._times[TIMEOUT] = timeout
        count: int = words[COUNT]
        if count < self._size:
            words[FIRST + count] = job_id
            words[COUNT] = count + 1
        words[RUNNING] = job_id
        return sequence

    def end(self) -> None:
        """Say that the run is over, and its outcome known to the worker."""
        self._words[RUNNING] = 0

    def blame(self) -> None:
        """Say that the last run broke this process after all: it could not make an outcome of it, nor record one."""
        if count := self._words[COUNT]:
            self._words[RUNNING] = self._words[FIRST + count - 1]

    def count(self, *, failed: bool) -> None:
        """Say that an attempt ended, well or not."""
        self._words[FAILED if failed else DONE] += 1

    def beat(self) -> None:
        """Say that the worker gets on, or at least tries again."""
        self._words[PULSE] += 1

    def leave(self) -> None:
        """Say that this process ends for good, and no other shall take its place."""
        self._words[LEAVING] = True

    def cancel_reason(self, sequence: int) -> CancelReason | None:
        """Why the run of this number should stop, if it should."""
        words = self._words
        if words[CANCEL_SEQUENCE] == sequence:
            return REASONS[words[CANCEL_REASON]]
        return CancelReason.STOPPING if words[STOP] == STOP_NOW else None

    @property
    def stranded(self) -> bool:
        """Whether jobs that others could not run wait for a worker such as this."""
        return bool(self._words[STRANDED])

    @property
    def is_stopping(self) -> bool:
        """Whether the worker was asked to stop."""
        return bool(self._words[STOP])

    @property
    def is_quiet(self) -> bool:
        """Whether no other process of the worker had anything in hand when the supervisor last looked."""
        return bool(self._words[QUIET])

    # --- written by the supervisor

    def stop(self) -> None:
        """Ask the worker to finish what it runs and stop. The worker says so itself when its supervisor is gone."""
        self._words[STOP] = STOP_NOW

    def finish(self) -> None:
        """Ask the worker to stop for good once its present job has ended, however long that takes."""
        self.leave()
        if not self._words[STOP]:
            self._words[STOP] = STOP_AFTER

    def tell_stranded(self, *, waiting: bool) -> None:
        """Say whether jobs that others could not run wait for a worker such as this."""
        self._words[STRANDED] = waiting

    def cancel(self, sequence: int, reason: CancelReason) -> None:
        """Ask the run of this number to stop."""
        self._words[CANCEL_REASON] = REASONS.index(reason)
        self._words[CANCEL_SEQUENCE] = sequence

    def quiet(self, *, quiet: bool) -> None:
        """Say whether anybody has something in hand."""
        self._words[QUIET] = quiet

    # --- read by the supervisor

    @property
    def is_leaving(self) -> bool:
        """Whether no other process shall take this one's place."""
        return bool(self._words[LEAVING])

    @property
    def holding(self) -> bool:
        """Whether the worker may hold claimed jobs."""
        return bool(self._words[HOLDING])

    @property
    def pulse(self) -> int:
        """Another number than before if the worker got on."""
        return int(self._words[PULSE] + self._words[SEQUENCE])

    @property
    def done(self) -> int:
        """How many attempts ended well."""
        return int(self._words[DONE])

    @property
    def failed(self) -> int:
        """How many attempts failed."""
        return int(self._words[FAILED])

    def running(self) -> Running | None:
        """The run that the worker is in; None between two."""
        while True:
            sequence = self._words[SEQUENCE]
            job_id = self._words[RUNNING]
            found = Running(sequence, job_id, self._times[STARTED_AT], self._times[TIMEOUT])
            if self._words[SEQUENCE] == sequence and self._words[RUNNING] == job_id:
                return found if job_id else None

    def started(self) -> frozenset[int]:
        """Which of the jobs that are held were started; some may be recorded by now."""
        return frozenset(self._words[FIRST : FIRST + self._words[COUNT]])
