"""Jobs that stand behind others on their queues, although there is a slot for them: the database finds them.

A queue gives its jobs in their order, and what they are is known only once they are claimed. So a flood of one type
would keep the others from starting, and a long sync job in the main thread the async ones. Their messages stay on the
queues, where they are outdated once it is their turn.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence

from django.db import Error

from handlers import tidying, waiting
from handlers.models import TypeSwitch
from handlers.transport import Message

SOON_SECONDS = 0.05  # until the next look, when the last one found as many as it wanted
LATER_SECONDS = 1.0  # otherwise
SHARE = 10  # of the time, this part is spent on looking, at most


class Overlooked:
    """For one thread of a worker process."""

    def __init__(self) -> None:
        self._after = 0.0  # monotonic; not looked before

    @property
    def is_due(self) -> bool:
        """Whether it is time for a look."""
        return time.monotonic() >= self._after

    def look(
        self, queues: Sequence[str], limit: int, *, only: Collection[str] = (), without: Collection[str] = ()
    ) -> list[Message]:
        """Up to ``limit`` of the oldest, of types that ``only`` names, or ``without`` does not. Never raises.

        Without ``only`` there are others that want the slots: who lets others pass for a time is not overlooked then.
        """
        began = time.monotonic()
        found: list[Message] = []
        try:
            paused = {*TypeSwitch.on().values_list("name", flat=True)}
            types, others = set(only) - paused, {*without, *paused}
            for queue in queues if types or not only else ():
                rows = waiting.oldest(
                    queue, limit - len(found), only=types, without=others, aside=False, passed=bool(only)
                )
                found += [each.message for each in rows]
                if len(found) >= limit:
                    break
        except Error:
            tidying.close_broken_connections()
        now = time.monotonic()
        pause = SOON_SECONDS if len(found) >= limit else LATER_SECONDS
        self._after = now + max(pause, SHARE * (now - began))
        return found
