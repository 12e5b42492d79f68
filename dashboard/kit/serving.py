"""Who serves a queue now, and what that means for a job there: the same words on every page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from django.http import HttpRequest

from dashboard.kit import health
from handlers.conf import SYSTEM_QUEUE
from handlers.models import QueueSwitch, WorkerProcess
from handlers.queues import known_queues, targets


class Service(NamedTuple):
    """A queue as its jobs find it."""

    queue: str
    workers: int  # live ones that serve it
    known: bool  # the code names it
    switch: QueueSwitch | None  # present: paused

    @property
    def words(self) -> str:
        """``2 workers``, ``no live worker``, ``paused, 1 worker``."""
        count = f"{self.workers:,} worker{'' if self.workers == 1 else 's'}" if self.workers else "no live worker"
        return f"paused, {count}" if self.switch else count

    @property
    def trouble(self) -> str:
        """Why nothing starts there, in a sentence; empty where it does."""
        if not self.workers:
            gone = "" if self.known else ", and the code no longer names it"
            return f"No live worker serves queue {self.queue}{gone}."
        return f"Queue {self.queue} is paused." if self.switch else ""

    @property
    def remedy(self) -> str:
        """What to do about the trouble."""
        if not self.workers:
            return f"Start one with “python manage.py worker --queues {self.queue}”, or move the jobs to another queue."
        return "The page Queues says who did it and why, and has the button to resume." if self.switch else ""


def of(request: HttpRequest, queue: str) -> Service:
    """Who serves ``queue``."""
    known = health.of(request)
    return Service(queue, workers_of(queue, known.fleet.workers), queue in known_queues(), known.queues.get(queue))


def workers_of(queue: str, workers: Sequence[WorkerProcess]) -> int:
    """How many of ``workers`` serve ``queue``: the engine's own all of them."""
    return len(workers) if queue == SYSTEM_QUEUE else sum(queue in worker.queues for worker in workers)


def by_queue(workers: Sequence[WorkerProcess]) -> Callable[[str], int]:
    """The same for many queues: each worker is looked at once."""
    serve = Counter(name for worker in workers for name in set(worker.queues))
    return lambda queue: len(workers) if queue == SYSTEM_QUEUE else serve[queue]


def choices(request: HttpRequest, without: str = "") -> list[tuple[str, str]]:
    """The queues that jobs can be moved to, with words for each; not the one where they all are."""
    return [(name, f"{name} ({of(request, name).words})") for name in targets() if name != without]
