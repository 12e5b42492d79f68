"""Which queue a worker looks at first: each gets its share of the time, or all in the order that was asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from handlers.exceptions import InvalidJob

MOST_WEIGHT = 100
MOST_SECONDS = 1.0  # the longest that a queue stands back for another, however long its last job took


class Shares:
    """By the time that each queue's jobs took, not by their number: else short jobs wait for long ones one by one.

    A queue whose jobs ran stands back until each other queue that has jobs had as long, ``MOST_SECONDS`` at most; one
    with a weight for only that part of it. One that has none meanwhile saves nothing up. ``weights``: None: in order;
    else of the queues whose weight is not 1.
    """

    def __init__(self, queues: Sequence[str], *, weights: Mapping[str, int] | None) -> None:
        self.queues = list(queues)  # in the order of the next look
        self._weights = weights
        self._debts = dict.fromkeys(queues, 0.0)  # seconds for which each stands back

    def charge(self, queue: str, seconds: float) -> None:
        """Jobs of ``queue``, the first that had any, took so long."""
        if self._weights is None:
            return
        waited = self._debts[queue]
        self._debts = {name: max(debt - waited, 0.0) for name, debt in self._debts.items()}
        self._debts[queue] = min(seconds, MOST_SECONDS) / self._weights.get(queue, 1)
        self.queues.remove(queue)  # of equal ones, it comes last
        self.queues.append(queue)
        self.queues.sort(key=self._debts.__getitem__)


def read_queues(text: str) -> tuple[list[str], dict[str, int] | None]:
    """The queues that ``text`` names, such as ``critical*3,default``, and their weights; None where none has one.

    Raises InvalidJob for a weight that is none.
    """
    names: list[str] = []
    weights: dict[str, int] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        name, star, weight = (word.strip() for word in part.partition("*"))
        if star and not (weight.isascii() and weight.isdecimal() and 1 <= int(weight[:9]) <= MOST_WEIGHT):
            raise InvalidJob(
                f"queues: {part[:100]!r}: a weight is a whole number from 1 to {MOST_WEIGHT}, as in {name[:64]}*3",
                field="queues",
            )
        names.append(name)
        weights |= {name: int(weight)} if star else {}
    return names, weights or None
