"""Taking messages off the queues that are open, as many at once as their jobs are short."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence

from django.db import Error
from redis.exceptions import RedisError

from handlers import lifecycle, tracing
from handlers.gateway import job_scheduler
from handlers.rq_transport.intake import Intake
from handlers.rq_transport.marks import Marks
from handlers.rq_transport.overlooked import Overlooked
from handlers.rq_transport.shares import Shares
from handlers.rq_transport.sizes import Sizes
from handlers.rq_transport.stranded import Stranded
from handlers.transport import Message

GIVEN_BACK = 1_000  # messages that were refused, and would not have been a moment later
PAUSED_SECONDS = 1.0  # how often it is asked again which queues are paused, while some are


class Taking:
    """One worker's way to messages, and the way back for those that it may not run now."""

    def __init__(self, queues: Sequence[str], *, worker: str, marks: Marks, weights: Mapping[str, int] | None) -> None:
        self._shares, self._sizes = Shares(queues, weights=weights), Sizes()
        self._intake, self._stranded = Intake(worker), Stranded(marks)
        self._overlooked, self._others, self._of_types = Overlooked(), deque[Message](), Overlooked()
        self._alone: list[Message] = []
        self._given_back = deque[str](maxlen=GIVEN_BACK)
        self._paused: set[str] = set()
        self._paused_checked_at = 0.0

    @property
    def is_stranded_due(self) -> bool:
        """Whether there may be jobs that others could not run, for this worker."""
        return self._stranded.is_due

    @property
    def has_alone(self) -> bool:
        """Whether there is a message that was refused in company."""
        return bool(self._alone)

    def alone(self) -> list[Message]:
        """One of these."""
        return [self._alone.pop()]

    @property
    def seeks_others(self) -> bool:
        """Whether it is time to look for jobs that wait behind others."""
        return not self._others and self._overlooked.is_due

    def find_others(self, limit: int, *, without: Collection[str]) -> None:
        """Those of other types, which wait behind these, are taken next, up to ``limit``. Never raises."""
        self._others.extend(self._overlooked.look(self.open_queues(), limit, without=without))

    def of_types(self, types: Collection[str], limit: int) -> list[Message]:
        """Those of these types, ``limit`` at most, when it is time to look for them. Never raises."""
        return self._of_types.look(self.open_queues(), limit, only=types) if self._of_types.is_due else []

    def pop(self, room: float) -> list[Message]:
        """Messages that are there now, usually of one queue, ``room`` of them at most. Raises what Redis raises."""
        if self._others:
            return [self._others.popleft() for _ in range(min(int(room), len(self._others)))]
        sizes = {name: int(min(self._sizes.of(name), room)) for name in self.open_queues()}
        began = time.time_ns()
        found = self._stranded.take(list(sizes), max(sizes.values(), default=1)) or self._intake.pop(sizes)
        return _traced(found, began)

    def wait(self, seconds: float) -> list[Message]:
        """A message that comes within so many seconds."""
        began = time.time_ns()
        waited = self._intake.wait(self.open_queues(), self._stranded.patience(seconds))
        if waited is None:
            time.sleep(0.1)
        return _traced(waited or [], began)

    def ran(self, queue: str, *, seconds: float, mean: float | None) -> None:
        """What was taken of ``queue`` took so long in all, and its jobs so long on average, if any ran."""
        self._shares.charge(queue, seconds)
        if mean is not None:
            self._sizes.learn(queue, mean)

    def put_back(self, messages: Sequence[Message]) -> None:
        """Return messages to the heads of their queues. Never raises."""
        with contextlib.suppress(RedisError):  # or recovery finds that they are on no queue
            self._intake.put_back(messages)

    def refused(self, messages: Sequence[Message], claimed: set[int], *, company: bool) -> None:
        """Messages that we may not run now, beside others or (``company``) each other's: the outdated ones are dropped,
        the others wait for their turn. What kept a job may have ended between the claim and this.

        Raises the database's errors; recovery then finds that they are on no queue.
        """
        refused = [message for message in messages if message.job_id not in claimed]
        self._learn_paused()
        if paused := [message for message in refused if message.queue in self._paused]:
            self.put_back(paused)
        alone, by_now = lifecycle.refused([m for m in refused if m.queue not in self._paused])
        if company or len(messages) > 1:
            self._alone += alone
        # Once each: what is held for long is for recovery, or we would go round and round.
        if once := [message for message in by_now if message.token not in self._given_back]:
            self._given_back.extend(message.token for message in once)
            self.put_back(once)

    def share(self) -> None:
        """Put what was refused in company where another process finds it, too: here it would wait. Never raises."""
        self.put_back(self._alone)
        self._alone = []

    def end(self) -> None:
        """Nothing more is taken: leave nothing behind. Never raises."""
        self.share()
        with contextlib.suppress(RedisError):
            self._intake.forget()

    def open_queues(self) -> list[str]:
        """Those that are not paused, in the order of the next look."""
        if self._paused and time.monotonic() >= self._paused_checked_at + PAUSED_SECONDS:
            with contextlib.suppress(Error):
                self._learn_paused()
        return [name for name in self._shares.queues if name not in self._paused]

    def _learn_paused(self) -> None:
        self._paused = set(job_scheduler.paused_queues())
        self._paused_checked_at = time.monotonic()


def _traced(found: list[Message], began: int) -> list[Message]:
    """``found``, told to the site's tracing. ``began``: when they were asked for, by ``time.time_ns``."""
    if found and tracing.is_on():
        tracing.received(found, began)
    return found
