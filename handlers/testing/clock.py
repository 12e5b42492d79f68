"""Time that passes because a test says so: Django's clock, and PostgreSQL's as this test's statements read it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime, timedelta
from typing import Any

from django.db import connections
from django.utils import timezone

from handlers.lifecycle import database
from handlers.models.sql import database_now, is_postgresql

CLOCKS = re.compile(r"\b(?:clock|statement)_timestamp\(\)", re.IGNORECASE)
SAME = timedelta(seconds=1)  # clocks that differ by less are one


class Clock:
    """How far the clocks are ahead of those that the process found; it goes on from there."""

    def __init__(self) -> None:
        self._real = timezone.now
        self.ahead = timedelta(0)
        # Where something else has set Python's clock (freezegun, time-machine), the database's is to follow it.
        self._gap = timedelta(0)
        if is_postgresql(connection := connections[database()]):
            with suppress(RuntimeError, AssertionError):  # a test that may not ask the database needs nothing of it
                gap = self._real() - database_now(connection)
                self._gap = gap if abs(gap) >= SAME else self._gap

    def now(self) -> datetime:
        """What ``timezone.now()`` says meanwhile."""
        return self._real() + self.ahead

    def move_to(self, when: datetime) -> None:
        """Go there."""
        self.ahead = when - self._real()

    def rewrite(self, execute: Any, sql: Any, params: Any, many: Any, context: Any) -> Any:
        """Wrap the execution of a statement on PostgreSQL."""
        if isinstance(sql, str) and (by := self.ahead + self._gap):
            sql = CLOCKS.sub(rf"(\g<0> + interval '{by.total_seconds()} seconds')", sql)
        return execute(sql, params, many, context)


@contextmanager
def moving_clock() -> Iterator[Clock]:
    """A clock that can be moved inside; it begins as it was."""
    clock, before = Clock(), timezone.now
    with ExitStack() as stack:
        for connection in connections.all():
            if is_postgresql(connection):
                stack.enter_context(connection.execute_wrapper(clock.rewrite))
        timezone.now = clock.now
        try:
            yield clock
        finally:
            timezone.now = before


def moment(when: datetime | timedelta, field: str = "when") -> datetime:
    """``when``: an aware datetime, or so long from now. Raises TypeError, ValueError."""
    if isinstance(when, timedelta):
        return timezone.now() + when
    if not isinstance(when, datetime):
        raise TypeError(f"{field}: must be an aware datetime or a timedelta from now, not {when!r}")
    if when.utcoffset() is None:
        raise ValueError(f"{field}: must be an aware datetime, such as timezone.now() + timedelta(days=1)")
    return when


@contextmanager
def at_time(when: datetime | timedelta) -> Iterator[None]:
    """Let it be ``when`` inside, an aware datetime or so long from now; the clock goes on from there.

    For ``timezone.now()`` and what this thread asks of PostgreSQL's clock, so for all that jobs go by. Python's own
    clocks (``datetime.now``, ``time.time``) stay: where an app asks these, use freezegun or time-machine, whose time
    ``run_due_jobs`` follows.
    """
    target = moment(when)
    with moving_clock() as clock:
        clock.move_to(target)
        yield
