"""Running what was claimed, one job after another, and recording what they come to."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cached_property

from handlers import execution, lifecycle, logs
from handlers.cancellation import CancellationToken, CancelReason
from handlers.lifecycle import Claim, Move
from handlers.rq_transport.batch import Batch, Keeper
from handlers.rq_transport.marks import Marks
from handlers.rq_transport.slow_types import SlowTypes
from handlers.rq_transport.stopping import Stopping
from handlers.states import State
from handlers.surroundings import Surroundings


class Runs:
    """The runs of one worker process."""

    def __init__(self, name: str, *, marks: Marks, stopping: Stopping) -> None:
        self._name, self._marks, self._stopping = name, marks, stopping
        self._slow = SlowTypes()
        self._keeper = Keeper()
        self.count = 0  # attempts
        self.mean: float | None = None  # seconds of the last batch's jobs; None when none ran

    @cached_property
    def _surroundings(self) -> Surroundings:
        """Made for the first batch: by then the worker has set its signals."""
        return Surroundings(is_last=lambda: self._stopping.is_asked)

    def begin(self) -> bool:
        """Be ready to run; whether this is the first time."""
        if first := not self._keeper.is_alive():
            self._keeper.start()
        return first

    def run(self, claims: Sequence[Claim], *, between: Callable[[], None], while_slow: Callable[[], None]) -> bool:
        """Run them and record their outcomes; whether all of these are known to be recorded.

        ``between`` is called before each job; ``while_slow`` every now and then, by another thread, while one takes
        long.
        """

        def on_slow() -> None:
            self._stopping.look_for_parent()
            while_slow()

        surroundings = self._surroundings
        claims = self._slow.last(claims)
        batch = Batch(claims, worker=self._name, keep_trying=self._stopping.may_wait, on_slow=on_slow)
        self._keeper.watch(batch)
        began, count = time.monotonic(), 0
        logs.attach()  # once for all of them: between two jobs of a batch no code of an app runs
        try:
            while claim := batch.take():
                if self._stopping.is_asked:
                    batch.finish(lifecycle.handed_back(claim, "its worker was asked to stop", started=False))
                    batch.give_back("its worker was asked to stop")
                    break
                between()
                if claim.job_type in self._slow.now:  # those behind it are slow, too
                    batch.give_back("the job before it takes long")
                self._slow.ran(claim.job_type, batch.finish(self._attempt(claim, surroundings)))
                count += 1
                self.count += 1
            # Without the last flush: on a slow disk it would make every job look slow, and batches never grow.
            self.mean = (time.monotonic() - began) / count if count else None
            self._slow.end(claims[:count])
        finally:
            logs.detach()
            surroundings.between_batches()
            self._keeper.rest()
            batch.flush()
        return not batch.is_doubtful

    def _attempt(self, claim: Claim, around: Surroundings) -> Move | None:
        sequence = self._marks.start(claim.job_id, execution.timeout_of(claim))

        def probe() -> CancelReason | None:
            return self._marks.cancel_reason(sequence)

        token = CancellationToken(probe, job_id=claim.job_id, attempt=claim.attempt)
        move = execution.run_attached(claim, token, worker=self._name, around=around)
        self._marks.end()  # not after an error: then this run broke the process
        if move is not None:
            failed = move.change.failure is not None
            if failed or move.change.target == State.SUCCEEDED:
                self._marks.count(failed=failed)
        return move
