"""Moments of a process's own clock, in the database's time."""

from __future__ import annotations

import time
from datetime import datetime, timedelta

from django.db import connections

from handlers import lifecycle
from handlers.models.sql import database_now

STEP = timedelta(seconds=1)  # by less the two clocks only drift, or a question took longer


class Moments:
    """Says the same moment in the same words each time, unless one of the clocks was set meanwhile."""

    def __init__(self) -> None:
        self._origin: datetime | None = None  # of monotonic time
        self._now: datetime | None = None

    def now(self) -> datetime:
        """What the database's clock says. Asks it, and raises its errors."""
        now = database_now(connections[lifecycle.database()])
        origin = now - timedelta(seconds=time.monotonic())
        if self._origin is None or abs(origin - self._origin) > STEP:
            self._origin = origin
        self._now = now
        return now

    def at(self, moment: float) -> datetime:
        """What it said at this moment of monotonic time, which is past. Only after ``now``."""
        assert self._origin is not None
        assert self._now is not None
        return min(self._origin + timedelta(seconds=moment), self._now)
