"""A supervisor ends what runs too long, and what was deleted and does not stop: asks first, then kills."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable

from handlers.cancellation import CancelReason
from handlers.conf import jobs_settings
from handlers.rq_transport.children import Child

logger = logging.getLogger(__name__)


def watch_timeouts(children: Iterable[Child]) -> None:
    """Look at what each child runs."""
    now, grace = time.monotonic(), jobs_settings().timeout_grace_seconds
    for child in children:
        running = child.marks.running()
        if running is None or child.killed is not None:
            continue
        over = now - running.since - running.timeout
        if over >= grace:
            logger.error("job %d did not stop at its timeout: killing %s", running.job_id, child.name)
            child.killed_run = running.sequence
            child.kill(CancelReason.TIMEOUT)
        elif running.sequence == child.deleted_run and now >= child.deleted_at + grace:
            logger.warning("job %d was deleted and did not stop: killing %s", running.job_id, child.name)
            child.kill(CancelReason.DELETED)
        elif over >= 0 and running.sequence != child.asked_run:
            child.asked_run = running.sequence
            child.marks.cancel(running.sequence, CancelReason.TIMEOUT)
