"""What a worker process shows its supervisor: a few words of shared memory, written without a lock.

The supervisor can read them whatever the worker is doing, a busy interpreter and a dead process included.
"""

from __future__ import annotations

import mmap
import time
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from handlers.cancellation import CancelReason

# Words of eight bytes: each is written and read at once, which larger pieces would not be.
HOLDING, STOP, COUNT, DONE, FAILED, LEAVING, QUIET, STRANDED, PULSE, CANCELS, STOPPED_AT, SHOWS, FIRST = range(13)
# Then the jobs started in the batch, and then the slots, column by column.
JOB, SEQUENCE, STARTED_AT, TIMEOUT, CANCEL_SEQUENCE, CANCEL_REASON, SHOW_SEQUENCE, OTHERS, COLUMNS = range(9)
# Last the other jobs of runs that have several: each with the slot and the sequence number of its run.
OTHER_JOB, OTHER_SLOT, OTHER_SEQUENCE, OTHER_COLUMNS = range(4)
REASONS = tuple(CancelReason)
STOP_NOW, STOP_AFTER = 1, 2  # values of STOP: the running job is asked to stop too, or may end
MAIN = 0  # the slot of what the main thread runs
BESIDE = 4  # slots for each run beside it: some wait in theirs for their turn, others until their outcomes are recorded


class Running(NamedTuple):
    """A run that a worker is in."""

    slot: int
    sequence: int  # counts the slot's runs, so that a late cancellation cannot hit the next one
    job_id: int
    since: float  # monotonic seconds, the same clock in every process of a host
    timeout: float  # seconds
    others: frozenset[int] = frozenset()  # jobs that the same run runs

    @property
    def jobs(self) -> frozenset[int]:
        """All jobs that it runs."""
        return self.others | {self.job_id}

    @property
    def key(self) -> tuple[int, int]:
        """What no other run of the process has."""
        return self.slot, self.sequence


class Marks:
    """Shared by one worker process and its supervisor; made before the fork.

    ``batch``: how many jobs the main thread may have in hand at once; ``max_async``: how many async handlers may run
    beside it; ``threads``: how many sync ones, where it is more than the one that the main thread runs by itself;
    ``together``: how many jobs a run may have.
    """

    def __init__(self, batch: int, *, max_async: int = 0, threads: int = 1, together: int = 1) -> None:
        self.max_async, self.threads = max_async, threads
        self._size = 2 * batch  # a run that shared a commit in vain begins once more
        self._slots = BESIDE * (max_async + (threads if threads > 1 else 0)) + 1
        self._columns = FIRST + self._size
        self._first_other = self._columns + COLUMNS * self._slots
        self._others = max(together - 1, 0) * (BESIDE * threads if threads > 1 else 1)  # as many as runs have slots
        memory = mmap.mmap(-1, (self._first_other + OTHER_COLUMNS * self._others) * 8)
        self._words = memoryview(memory).cast("q")
        self._times = memoryview(memory).cast("d")
        self._first_thread = beside = BESIDE * max_async + 1
        self._free = {True: deque(range(1, beside)), False: deque(range(beside, self._slots))}  # by "is it async?"
        self._free_others = deque(range(self._others))
        self._taken_others: dict[int, list[int]] = {}  # by slot

    def _at(self, column: int, slot: int) -> int:
        return self._columns + column * self._slots + slot

    # --- written by the worker

    def hold(self) -> None:
        """Say that jobs are claimed, or about to be."""
        self.beat()
        self._words[HOLDING] = True

    def release(self) -> None:
        """Say that nothing is held: all that was has its outcome recorded, or was given back."""
        self.release_batch()
        self._words[HOLDING] = False

    def release_batch(self) -> None:
        """Say that the main thread has nothing in hand any more."""
        if self._others:
            self.recorded_together()
        self._words[COUNT] = 0

    def start(self, job_id: int, timeout: float, slot: int = MAIN) -> int:
        """Say that a run begins; its sequence number."""
        cells, jobs, slots = self._words, self._columns + slot, self._slots
        cells[jobs] = 0
        sequence: int = cells[jobs + slots] + 1
        cells[jobs + slots] = sequence
        self._times[jobs + 2 * slots] = time.monotonic()
        self._times[jobs + 3 * slots] = timeout
        if slot == MAIN and (count := cells[COUNT]) < self._size:
            cells[FIRST + count] = job_id
            cells[COUNT] = count + 1
        cells[jobs] = job_id
        return sequence

    def start_together(self, job_ids: Sequence[int], timeout: float, slot: int = MAIN) -> int:
        """The same for a run of several jobs, for which there is room."""
        first, *others = job_ids
        taken = [self._free_others.popleft() for _ in others]
        self._taken_others[slot] = taken
        sequence = self._words[self._at(SEQUENCE, slot)] + 1
        for job_id, cell in zip(others, taken, strict=True):
            self._words[self._other(OTHER_SLOT, cell)] = slot
            self._words[self._other(OTHER_SEQUENCE, cell)] = sequence
            self._words[self._other(OTHER_JOB, cell)] = job_id
        self._words[self._at(OTHERS, slot)] = len(taken)
        return self.start(first, timeout, slot)

    def recorded_together(self, slot: int = MAIN) -> None:
        """The outcomes of the run of several jobs there, if that was one, are recorded."""
        taken = self._taken_others.pop(slot, ())
        for cell in taken:
            self._words[self._other(OTHER_JOB, cell)] = 0
            self._free_others.append(cell)
        self._words[self._at(OTHERS, slot)] = 0

    def end(self, slot: int = MAIN) -> None:
        """Say that the run is over, and its outcome known to the worker."""
        at = self._columns + slot
        self._words[at] = 0 if slot == MAIN else -abs(self._words[at])

    def take_slot(self, *, is_async: bool) -> int:
        """A slot for a run of this kind beside the main thread, which has asked whether there is one."""
        return self._free[is_async].popleft()

    def free_slots(self, *, is_async: bool) -> int:
        """How many more such runs there is room for."""
        return len(self._free[is_async])

    def give_slot_back(self, slot: int) -> None:
        """The outcome of the run there is recorded. For any thread."""
        if self._others:
            self.recorded_together(slot)
        self._words[self._columns + slot] = 0
        self._free[self.is_async(slot)].append(slot)

    def blame(self, slot: int = MAIN) -> None:
        """Say that the last run broke this process after all: it could not make an outcome of it, nor record one."""
        at = self._columns + slot
        if slot != MAIN:
            self._words[at] = abs(self._words[at])
        elif count := self._words[COUNT]:
            self._words[at] = self._words[FIRST + count - 1]

    def count(self, *, failed: bool) -> None:
        """Say that an attempt ended, well or not. For one thread at a time."""
        self._words[FAILED if failed else DONE] += 1

    def beat(self) -> None:
        """Say that the worker gets on, or at least tries again."""
        self._words[PULSE] += 1

    def leave(self) -> None:
        """Say that this process ends for good, and no other shall take its place."""
        self._words[LEAVING] = True

    @property
    def cancels(self) -> int:
        """Another number than before if some run was asked to stop."""
        return int(self._words[CANCELS] + self._words[STOP])

    def cancel_reason(self, sequence: int, slot: int = MAIN) -> CancelReason | None:
        """Why the run of this number should stop, if it should."""
        cells, at = self._words, self._columns + slot
        if cells[at + CANCEL_SEQUENCE * self._slots] == sequence:
            return REASONS[cells[at + CANCEL_REASON * self._slots]]
        return CancelReason.STOPPING if cells[STOP] == STOP_NOW else None

    @property
    def shows(self) -> int:
        """Another number than before if it was asked where some run is."""
        return int(self._words[SHOWS])

    def to_show(self) -> list[Running]:
        """The runs of which it was asked where they are, and not answered."""
        return [run for run in self.running() if self._words[self._at(SHOW_SEQUENCE, run.slot)] == run.sequence]

    def shown(self, run: Running) -> None:
        """That is answered."""
        self._words[self._at(SHOW_SEQUENCE, run.slot)] = 0

    def goes_on(self, run: Running) -> bool:
        """Whether the worker is still in this run."""
        found = self._running(run.slot)
        return found is not None and found.sequence == run.sequence

    @property
    def stranded(self) -> bool:
        """Whether jobs that others could not run wait for a worker such as this."""
        return bool(self._words[STRANDED])

    @property
    def is_stopping(self) -> bool:
        """Whether the worker was asked to stop."""
        return bool(self._words[STOP])

    @property
    def is_hurried(self) -> bool:
        """Whether the worker was asked to stop, and not to wait for its runs longer than the grace."""
        return bool(self._words[STOP] == STOP_NOW)

    @property
    def hurried_at(self) -> float | None:
        """Since when it is, in monotonic seconds; None while it is not."""
        return self._times[STOPPED_AT] or None

    @property
    def is_quiet(self) -> bool:
        """Whether no other process of the worker had anything in hand when the supervisor last looked."""
        return bool(self._words[QUIET])

    # --- written by the supervisor

    def stop(self) -> None:
        """Ask the worker to finish what it runs and stop. The worker says so itself when its supervisor is gone."""
        if self._words[STOP] != STOP_NOW:
            self._times[STOPPED_AT] = time.monotonic()
        self._words[STOP] = STOP_NOW

    def finish(self) -> None:
        """Ask the worker to stop for good once its present jobs have ended, however long that takes."""
        self.leave()
        self.retire()

    def retire(self) -> None:
        """Ask the worker to stop once its present jobs have ended, however long that takes."""
        if not self._words[STOP]:
            self._words[STOP] = STOP_AFTER

    def tell_stranded(self, *, waiting: bool) -> None:
        """Say whether jobs that others could not run wait for a worker such as this."""
        self._words[STRANDED] = waiting

    def cancel(self, run: Running, reason: CancelReason) -> None:
        """Ask this run to stop."""
        cells, at = self._words, self._columns + run.slot
        cells[at + CANCEL_REASON * self._slots] = REASONS.index(reason)
        cells[at + CANCEL_SEQUENCE * self._slots] = run.sequence
        cells[CANCELS] += 1

    def show(self, run: Running) -> None:
        """Ask where this run is."""
        self._words[self._at(SHOW_SEQUENCE, run.slot)] = run.sequence
        self._words[SHOWS] += 1

    def quiet(self, *, quiet: bool) -> None:
        """Say whether anybody has something in hand."""
        self._words[QUIET] = quiet

    # --- read by the supervisor

    @property
    def is_leaving(self) -> bool:
        """Whether no other process shall take this one's place."""
        return bool(self._words[LEAVING])

    @property
    def makes_way(self) -> bool:
        """Whether it takes no more jobs, and another shall take its place already while its runs come to their ends."""
        return self._words[STOP] == STOP_AFTER and not self.is_leaving

    @property
    def holding(self) -> bool:
        """Whether the worker may hold claimed jobs."""
        return bool(self._words[HOLDING])

    @property
    def pulse(self) -> int:
        """Another number than before if the worker got on."""
        return int(self._words[PULSE] + sum(self._column(SEQUENCE)))

    @property
    def done(self) -> int:
        """How many attempts ended well."""
        return int(self._words[DONE])

    @property
    def failed(self) -> int:
        """How many attempts failed."""
        return int(self._words[FAILED])

    def is_async(self, slot: int) -> bool:
        """Whether the runs of this slot are an event loop's."""
        return MAIN < slot < self._first_thread

    def running(self) -> list[Running]:
        """The runs that the worker is in, the one that began first before the others."""
        found = [run for slot, job_id in enumerate(self._column(JOB)) if job_id > 0 and (run := self._running(slot))]
        return sorted(found, key=lambda run: run.since)

    @property
    def settles(self) -> bool:
        """Whether runs have ended whose outcomes may not be recorded yet."""
        jobs = self._column(JOB)
        return any(job < 0 for job in jobs) or bool(not jobs[MAIN] and self._words[COUNT])

    def _running(self, slot: int) -> Running | None:
        cells, times = self._words, self._times
        job, sequence, started_at, timeout = (self._at(column, slot) for column in range(4))
        while True:
            number, job_id = cells[sequence], cells[job]
            others = self._others_of(slot, number) if cells[self._at(OTHERS, slot)] else frozenset()
            found = Running(slot, number, job_id, times[started_at], times[timeout], others)
            if cells[sequence] == number and cells[job] == job_id:
                return found if job_id > 0 else None

    def _other(self, column: int, cell: int) -> int:
        return self._first_other + column * self._others + cell

    def _others_of(self, slot: int, sequence: int) -> frozenset[int]:
        jobs, slots, sequences = (self._other_column(column) for column in range(OTHER_COLUMNS))
        rows = zip(jobs, slots, sequences, strict=True)
        return frozenset(job_id for job_id, *run in rows if job_id and run == [slot, sequence])

    def _other_column(self, column: int) -> list[int]:
        at = self._other(column, 0)
        return self._words[at : at + self._others].tolist()

    def _column(self, column: int) -> list[int]:
        at = self._at(column, 0)
        return self._words[at : at + self._slots].tolist()

    def started(self) -> frozenset[int]:
        """Which of the jobs that are held were started; some may be recorded by now."""
        main = self._words[FIRST : FIRST + self._words[COUNT]]
        return frozenset({*main, *map(abs, self._column(JOB)), *self._other_column(OTHER_JOB)} - {0})
