"""Whether a worker process should stop, and what may still be waited for then."""

from __future__ import annotations

import logging
import os
import time

from handlers.conf import jobs_settings
from handlers.processes import kill_group
from handlers.rq_transport.grace import end_after
from handlers.rq_transport.marks import Marks

logger = logging.getLogger(__name__)

LEAVE_SECONDS = 1.0  # of the grace of a stop, left for the supervisor
PARENT_SECONDS = 0.1  # how often a worker looks whether its supervisor lives


class Stopping:
    """Asked to stop by a signal, by the supervisor, by the supervisor's end, or of its own accord."""

    def __init__(self, marks: Marks) -> None:
        self._marks = marks
        self._asked = False
        self._parent = os.getppid()
        self._parent_at = 0.0
        self._orphan_since: float | None = None
        self._wait_until: float | None = None  # in monotonic time, once asked to stop

    def ask(self) -> None:
        """Stop soon, and tell the running job so. Safe in a signal handler."""
        self._asked = True
        self._marks.stop()  # the signal may come from a dead supervisor, and then nobody else tells the running job

    def end(self, *, for_good: bool) -> None:
        """Stop of its own accord, between two jobs; unless ``for_good`` another takes its place."""
        if for_good:
            self._marks.leave()
        self._asked = True

    @property
    def is_asked(self) -> bool:
        """Whether this worker was asked to stop, or lost its supervisor."""
        if not self._asked and (self._marks.is_stopping or self._is_orphan()):
            self._asked = True
        return self._asked

    def may_wait(self) -> bool:
        """Whether to wait for a database that is away: asked to stop, only until shortly before the grace is over."""
        self._marks.beat()  # asked after each try
        if not self.is_asked:
            return True
        grace = jobs_settings().shutdown_grace_seconds
        if self._wait_until is None:
            asked_at = self._marks.hurried_at or time.monotonic()  # not when it was noticed
            self._wait_until = asked_at + max(grace - LEAVE_SECONDS, grace / 2)
        return time.monotonic() < self._wait_until

    def end_in_time(self) -> None:
        """A signal has asked: end this process when the grace is over. Not when it ends for good: its job may go on."""
        if not self._marks.is_leaving:
            end_after(jobs_settings().shutdown_grace_seconds, self._cut)

    def _cut(self) -> None:
        logger.warning("PID %d was asked to stop and did not in time: what it holds goes back", os.getpid())
        if os.getppid() != self._parent:  # nobody else ends what its jobs left running
            kill_group(os.getpid())

    def look_for_parent(self) -> None:
        """While a job runs: without a supervisor, ask it to stop, and end this process once the grace is over."""
        if self._is_orphan():
            self._orphan_since = self._orphan_since or time.monotonic()
            self._marks.stop()
            if time.monotonic() - self._orphan_since >= jobs_settings().shutdown_grace_seconds:
                logger.warning("the supervisor is gone and the job did not stop in time: killing PID %d", os.getpid())
                kill_group(os.getpid())

    def _is_orphan(self) -> bool:
        """Whether the supervisor is gone; asked now and then."""
        if (now := time.monotonic()) < self._parent_at:
            return False
        self._parent_at = now + PARENT_SECONDS
        return os.getppid() != self._parent
