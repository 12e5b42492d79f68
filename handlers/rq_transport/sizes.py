"""How many jobs a worker claims at once of each queue, by how long its jobs take."""

from __future__ import annotations

from handlers.conf import jobs_settings

BATCH_SECONDS = 0.025  # how much work a batch should be
SINGLE_SECONDS = 0.010  # jobs that take longer on average are claimed one by one


class Sizes:
    """Each queue begins with single jobs, and doubles while they are short. What one holds changes nothing for others.

    By queue, because the type of a job is known only once it is claimed.
    """

    def __init__(self) -> None:
        self._sizes: dict[str, int] = {}

    def of(self, queue: str) -> int:
        """How many to claim next."""
        return self._sizes.get(queue, 1)

    def learn(self, queue: str, mean: float) -> None:
        """The jobs of its last batch took so long on average, in seconds."""
        if mean >= SINGLE_SECONDS:
            self._sizes[queue] = 1
        else:
            fitting = int(BATCH_SECONDS / max(mean, 1e-6))
            self._sizes[queue] = max(1, min(self.of(queue) * 2, fitting, jobs_settings().batch))
