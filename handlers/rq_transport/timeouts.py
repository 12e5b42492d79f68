"""A supervisor ends what runs too long, and what was deleted and does not stop: asks first, then kills."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable

from handlers.cancellation import CancelReason
from handlers.conf import jobs_settings
from handlers.rq_transport.children import Child
from handlers.rq_transport.marks import Running

logger = logging.getLogger(__name__)


def watch_timeouts(children: Iterable[Child]) -> None:
    """Look at what each child runs."""
    now = time.monotonic()
    for child in children:
        if child.killed is None and (runs := child.marks.running()):
            stuck = [run for run in runs if _is_stuck(child, run, now)]
            if stuck:
                _make_way(child, now, why=child.stuck[stuck[0].key], alone=len(stuck) == len(runs))


def _is_stuck(child: Child, run: Running, now: float) -> bool:
    if run.key in child.stuck:
        return True
    grace = jobs_settings().timeout_grace_seconds
    over = now - run.since - run.timeout
    if over >= grace:
        logger.error("job %d did not stop at its timeout: killing %s", run.job_id, child.name)
        child.stuck[run.key] = CancelReason.TIMEOUT
    elif now >= child.deleted.get(run.key, now) + grace:
        logger.warning("job %d was deleted and did not stop: killing %s", run.job_id, child.name)
        child.stuck[run.key] = CancelReason.DELETED
    elif over >= 0 and run.key not in child.asked:
        child.asked.add(run.key)
        child.marks.cancel(run, CancelReason.TIMEOUT)
    return run.key in child.stuck


def _make_way(child: Child, now: float, *, why: CancelReason, alone: bool) -> None:
    """Kill a child, of which a run does not stop, once its other runs are recorded, or had a grace for their ends."""
    if child.others_until is None:
        child.others_until = now + jobs_settings().shutdown_grace_seconds
        child.marks.retire()
    if (alone and not child.marks.settles) or now >= child.others_until:
        child.kill(why)
