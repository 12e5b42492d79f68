"""Who serves a queue now, and what that means for a job there: the same words on every page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import chain
from typing import NamedTuple

from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from dashboard.kit import health
from dashboard.kit.numbers import thousands
from handlers.conf import SYSTEM_QUEUE
from handlers.fleet import LiveProcess
from handlers.models import QueueSwitch
from handlers.queues import known_queues, targets
from handlers.selection import WHOLE, Reach


class Service(NamedTuple):
    """A queue as its jobs find it."""

    queue: str
    workers: int  # live ones that serve it
    known: bool  # the code names it
    switch: QueueSwitch | None  # present: paused

    @property
    def words(self) -> str:
        """``2 workers``, ``no live worker``, ``paused, 1 worker``."""
        count = workers_in_words(self.workers) if self.workers else _("no live worker")
        return _("paused, %(count)s") % {"count": count} if self.switch else count

    @property
    def trouble(self) -> str:
        """Why nothing starts there, in a sentence; empty where it does."""
        if not self.workers:
            if self.known:
                return _("No live worker serves queue %(queue)s.") % {"queue": self.queue}
            return _("No live worker serves queue %(queue)s, and the code no longer names it.") % {"queue": self.queue}
        return _("Queue %(queue)s is paused.") % {"queue": self.queue} if self.switch else ""

    @property
    def remedy(self) -> str:
        """What to do about the trouble."""
        if not self.workers:
            start = {"start": f"python manage.py worker --queues {self.queue}"}
            return _("Start one with “%(start)s”, or move the jobs to another queue.") % start
        if self.switch:
            return _("The page Queues says who did it and why, and has the button to resume.")
        return ""


def workers_in_words(count: int) -> str:
    """``1 worker``, ``2 workers``."""
    return ngettext("%(count)s worker", "%(count)s workers", count) % {"count": thousands(count)}


def of(request: HttpRequest, queue: str) -> Service:
    """Who serves ``queue``."""
    known = health.of(request)
    return Service(queue, workers_of(queue, known.fleet.workers), queue in known_queues(), known.queues.get(queue))


def workers_of(queue: str, workers: Sequence[LiveProcess]) -> int:
    """How many of ``workers`` serve ``queue``: the engine's own all of them."""
    return len(workers) if queue == SYSTEM_QUEUE else sum(queue in worker.queues for worker in workers)


def by_queue(workers: Sequence[LiveProcess]) -> Callable[[str], int]:
    """The same for many queues: each worker is looked at once."""
    serve = Counter(chain.from_iterable(set(worker.queues) for worker in workers))
    return lambda queue: len(workers) if queue == SYSTEM_QUEUE else serve[queue]


def choices(request: HttpRequest, without: str = "", reach: Reach = WHOLE) -> list[tuple[str, str]]:
    """The queues that jobs within ``reach`` can be moved to, with words for each; not the one where they all are."""
    known = health.of(request)
    names = targets() if reach.is_whole else [name for name in targets() if name in reach.queues()]
    declared, serve = known_queues(), by_queue(known.fleet.workers)
    services = (Service(name, serve(name), name in declared, known.queues.get(name)) for name in names)
    return [(found.queue, f"{found.queue} ({found.words})") for found in services if found.queue != without]
