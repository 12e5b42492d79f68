"""Which queue a worker looks at first: each gets its share of the time, or all in the order that was asked for."""

from __future__ import annotations

from collections.abc import Sequence

MOST_SECONDS = 1.0  # the longest that a queue stands back for another, however long its last job took


class Shares:
    """By the time that each queue's jobs took, not by their number: else short jobs wait for long ones one by one.

    A queue whose jobs ran stands back until each other queue that has jobs had as long, ``MOST_SECONDS`` at most. One
    that has none meanwhile saves nothing up.
    """

    def __init__(self, queues: Sequence[str], *, in_order: bool) -> None:
        self.queues = list(queues)  # in the order of the next look
        self._in_order = in_order
        self._debts = dict.fromkeys(queues, 0.0)  # seconds for which each stands back

    def charge(self, queue: str, seconds: float) -> None:
        """Jobs of ``queue``, the first that had any, took so long."""
        if self._in_order:
            return
        waited = self._debts[queue]
        self._debts = {name: max(debt - waited, 0.0) for name, debt in self._debts.items()}
        self._debts[queue] = min(seconds, MOST_SECONDS)
        self.queues.remove(queue)  # of equal ones, it comes last
        self.queues.append(queue)
        self.queues.sort(key=self._debts.__getitem__)
