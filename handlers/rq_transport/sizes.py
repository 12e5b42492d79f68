"""How many jobs a worker claims at once, by how long they take."""

from __future__ import annotations

from handlers.conf import jobs_settings

BATCH_SECONDS = 0.025  # how much work a batch should be
SINGLE_SECONDS = 0.010  # jobs that take longer on average are claimed one by one


class Sizes:
    """Begins with single jobs, and doubles while they are short."""

    def __init__(self) -> None:
        self.next = 1

    def learn(self, mean: float) -> None:
        """The last batch's jobs took so long on average, in seconds."""
        if mean >= SINGLE_SECONDS:
            self.next = 1
        else:
            fitting = int(BATCH_SECONDS / max(mean, 1e-6))
            self.next = max(1, min(self.next * 2, fitting, jobs_settings().batch))
