"""Which job types take long, as far as one worker process has seen: among a batch's claims they come last."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence

from handlers.lifecycle import Claim

SLOW_SECONDS = 0.04  # a job that runs this long keeps nobody waiting behind it


class SlowTypes:
    """By each type's last runs. A type that nobody has seen yet counts as quick, until its first job runs."""

    def __init__(self) -> None:
        self.now: set[str] = set()
        self._long: dict[str, float] = defaultdict(float)  # seconds of the present batch's long runs

    def last(self, claims: Sequence[Claim], late: Collection[str] = ()) -> Sequence[Claim]:
        """The claims in their order, but for those of ``late`` types, which follow the others, and then slow ones."""
        if not self.now and not late:
            return claims
        return sorted(claims, key=lambda claim: (claim.job_type in self.now, claim.job_type in late))

    def ran(self, job_type: str, seconds: float) -> None:
        """A job of this type ran so long."""
        if seconds >= SLOW_SECONDS:
            self._long[job_type] += seconds
        elif self.now:
            self.now.discard(job_type)

    def end(self, ran: Sequence[Claim]) -> None:
        """These were all of a batch. One long run among many short ones was the machine's fault, not the type's."""
        for job_type, seconds in self._long.items():
            if seconds >= SLOW_SECONDS * sum(claim.job_type == job_type for claim in ran):
                self.now.add(job_type)
        self._long.clear()
