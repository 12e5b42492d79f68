"""Which of a queue's jobs comes first. Pure."""

from __future__ import annotations

from datetime import datetime

from handlers.exceptions import InvalidJob
from handlers.wording import worded

LOWEST, HIGHEST = -100, 100


def check_priority(value: object) -> int:
    """``value``, which must be a priority. Raises InvalidJob."""
    if isinstance(value, bool) or not isinstance(value, int) or not LOWEST <= value <= HIGHEST:
        raise InvalidJob(
            worded(
                "priority: must be a whole number from %(lowest)s to %(highest)s, 0 being the usual one, not %(value)s",
                lowest=LOWEST,
                highest=HIGHEST,
                value=repr(value),
            ),
            field="priority",
        )
    return value


def rank(enqueued_at: datetime, priority: int, *, seconds: float) -> float:
    """The place of a job on its queue, the lowest first: as if it had been enqueued so much earlier, or later.

    ``seconds``: how much one point of priority is worth. In seconds since the epoch. It never changes while the job
    waits, so what is enqueued later passes it only for a time: a job of whatever priority gets its turn.
    """
    return enqueued_at.timestamp() - priority * seconds
