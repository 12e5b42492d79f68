"""A supervisor replaces a child that holds jobs and gets nowhere: it runs none, and tries nothing to let go of them."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable

from handlers.cancellation import CancelReason
from handlers.conf import jobs_settings
from handlers.rq_transport.children import Child
from handlers.rq_transport.database_limits import CONNECT_SECONDS

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0  # of the time between two looks, what counts at most: who stood still itself knows nothing of others


def longest() -> float:
    """How long a child may hold jobs between two signs of progress, in seconds: more than any try takes."""
    return 3 * jobs_settings().lease_seconds + CONNECT_SECONDS


class Progress:
    """Of one supervisor's children."""

    def __init__(self) -> None:
        self._looked_at = time.monotonic()

    def watch(self, children: Iterable[Child]) -> None:
        """Look whether each child gets on, and kill the one that does not: renewed, its leases would never end."""
        now = time.monotonic()
        passed = min(now - self._looked_at, LOOK_SECONDS)
        self._looked_at = now
        for child in children:
            pulse, marks = child.marks.pulse, child.marks
            if pulse != child.pulse or not marks.holding or marks.running() or child.killed is not None:
                child.pulse, child.still = pulse, 0.0
                continue
            child.still += passed
            if child.still >= longest():
                logger.error(
                    "worker process %s holds jobs and has got nowhere for %.0f s: killing it, its jobs go back",
                    child.name,
                    child.still,
                )
                child.kill(CancelReason.STOPPING)
