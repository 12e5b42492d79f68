"""Whether leases that look lapsed may be believed: only where time has passed evenly, and workers could renew them."""

from __future__ import annotations

from datetime import datetime

from handlers.conf import jobs_settings

STEP_SECONDS = 1.0  # a clock that went on by so much more or less than ours was set, or the host was suspended
STILL_SECONDS = 3.0  # the least that counts as standing still, however short leases are


class Vigil:
    """One scheduler's watch over the time that passes. ``now``: its process's monotonic clock, in seconds.

    That clock stands still while the host is suspended, and the database's does not; it is never set, and the
    database's may be. So where both went on alike, and this process got on all the time, a lease that ran out was not
    renewed because nobody was left to do it. After anything else whoever lives gets the time of one lease.
    """

    def __init__(self, now: float) -> None:
        # What happened before this process began, it cannot know: in half a lease every living worker renews.
        self._believes_from = now + jobs_settings().lease_seconds / 2
        self._went_on_at = now
        self._offset: float | None = None  # the database's clock less ours, at the last look
        self._took = 0.0
        self.doubts = 1  # how many there were

    def went_on(self, now: float) -> None:
        """Said after each thing that this process does: where it stood still, others may have, too."""
        if now - self._went_on_at > max(jobs_settings().lease_seconds / 2, STILL_SECONDS):
            self.doubt(now)
        self._went_on_at = now

    def look(self, clock: datetime, asked: float, now: float) -> None:
        """The database, asked at ``asked``, says that it is ``clock``."""
        self.went_on(now)
        offset, took = clock.timestamp() - now, now - asked
        if self._offset is not None and abs(offset - self._offset) > STEP_SECONDS + took + self._took:
            self.doubt(now)
        self._offset, self._took = offset, took

    def doubt(self, now: float) -> None:
        """Perhaps nobody could renew a lease until now."""
        self._believes_from = max(self._believes_from, now + jobs_settings().lease_seconds)
        self.doubts += 1

    def believes(self, now: float) -> bool:
        """Whether a lease that is over now may be taken for a dead worker's."""
        return now >= self._believes_from
