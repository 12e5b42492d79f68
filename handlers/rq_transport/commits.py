"""Which runs of a batch share a commit, and what becomes of them."""

from __future__ import annotations

import time
from collections.abc import Collection

from handlers.atomically import SharedCommit
from handlers.lifecycle import Claim, Move
from handlers.rq_transport.batch import Batch
from handlers.rq_transport.outcomes import Outcomes

APART_SECONDS = 10.0  # after one that raised, which costs others of its commit their work, a type shares none


class Sharing:
    """Which atomic types share commits, as far as one worker process has seen.

    One of which it has seen no run yet does not: that might take long, and others' locks would be held meanwhile.
    """

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._apart: dict[str, float] = {}

    def ran(self, job_type: str) -> None:
        """A run of this type did not raise."""
        self._known.add(job_type)

    def raised(self, job_type: str) -> None:
        """A run of this type raised."""
        self._apart[job_type] = time.monotonic() + APART_SECONDS

    def apart(self) -> Collection[str]:
        """The types that do not, now, for what they raised."""
        if self._apart:
            now = time.monotonic()
            self._apart = {name: until for name, until in self._apart.items() if until > now}
        return self._apart

    def has(self, job_type: str) -> bool:
        """Whether this one does."""
        return job_type in self._known and job_type not in self._apart


class Commits:
    """Those of one batch. ``atomic``: the types that can share one; ``slow``: those that take too long."""

    def __init__(
        self,
        worker: str,
        batch: Batch,
        outcomes: Outcomes,
        sharing: Sharing,
        *,
        atomic: Collection[str],
        slow: Collection[str],
    ) -> None:
        self._batch, self._outcomes, self._sharing = batch, outcomes, sharing
        self._atomic, self._slow = atomic, slow
        self._shared = SharedCommit(worker)
        self._by_itself: set[int] = set()

    @property
    def is_open(self) -> bool:
        """Whether this thread must record nothing else before ``end``."""
        return self._shared.is_open

    def share(self, claim: Claim, now: float) -> SharedCommit | None:
        """With what this job's run, which is the next, is committed; None: it is by itself. Others may be, first."""
        if not self._atomic:
            return None
        name = claim.job_type
        shares = name in self._atomic and name not in self._slow and self._sharing.has(name)
        if not shares or claim.job_id in self._by_itself:
            self.end()
            return None
        if self._shared.is_due(now):
            self.end()
        return self._shared

    def ran(self, claim: Claim, shared: SharedCommit | None, move: Move | None) -> None:
        """The run for which ``share`` said ``shared`` has ended; ``move``: what is to be recorded of it, if any."""
        if claim.job_type not in self._atomic:
            return
        if shared.is_open if shared else move is None or move.is_recorded:
            self._sharing.ran(claim.job_type)
            return
        self._sharing.raised(claim.job_type)
        self.end()

    def end(self) -> None:
        """Have what has run committed; should that fail, the batch has it again."""
        if not self._atomic:
            return
        self._shared.end()
        recorded, again, by_itself = self._shared.take()
        self._outcomes.add_all(recorded)
        self._by_itself |= {claim.job_id for claim in by_itself}
        self._batch.put_back(again)

    def drop(self) -> None:
        """Take back what is not committed: this process goes no further."""
        self._shared.drop()
