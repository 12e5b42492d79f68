"""The parent of the worker processes: keeps them running, renews their leases, ends what runs too long.

One thread, and no connection open at a fork. It works for its children because they cannot do this for themselves: a
handler can keep its own process busy, or take it down.
"""

from __future__ import annotations

import gc
import logging
import math
import os
import select
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from types import FrameType

from django.db import Error

from handlers import execution, forks, lifecycle, tidying
from handlers.cancellation import CancelReason
from handlers.conf import jobs_settings
from handlers.processes import await_ends
from handlers.publishing import publish
from handlers.queues import left_over, served
from handlers.registry import registry
from handlers.rq_transport.availability import silence, stay_without_threads
from handlers.rq_transport.burial import Burial
from handlers.rq_transport.children import Child, Children
from handlers.rq_transport.database_room import fitting
from handlers.rq_transport.grace import end_after
from handlers.rq_transport.health_file import READY, STOPPING, HealthFile
from handlers.rq_transport.heartbeats import Heartbeats
from handlers.rq_transport.leases import Leases
from handlers.rq_transport.lifetime import ENDLESS, Lifetime
from handlers.rq_transport.progress import Progress
from handlers.rq_transport.stack_requests import StackRequests
from handlers.rq_transport.timeouts import watch_timeouts

logger = logging.getLogger(__name__)

LATE_SECONDS = 0.7  # after the grace of a stop: a loop that has not come to its end by then hangs
END_SECONDS = 1.5  # for that end, and before it nothing is begun that may take as long
DEATH_SECONDS = 0.2  # of children that were killed
LOOK_SECONDS = 0.2  # how often children and timeouts are looked at
QUIET_SECONDS = 0.15  # in a burst, without a job, before all end: more than passes between two jobs, less than a look
QUEUES_SECONDS = 5.0  # how often it is looked for queues that callers have named
TRY_SECONDS = 0.5  # at the start, between two tries of what does not answer


class Supervisor:
    """Runs ``processes`` workers until SIGTERM or SIGINT, or all that was there, in a burst.

    They serve the queues that are ``named``, in that order or, where some have ``weights``, by these; or all, in turn.
    ``max_async`` and ``threads``: how many async and how many other handlers run at once in each; the settings, if
    None. ``health``: the file that says that it lives.
    """

    def __init__(
        self,
        named: Sequence[str] | None,
        weights: Mapping[str, int] | None = None,
        *,
        processes: int,
        max_async: int | None = None,
        threads: int | None = None,
        lifetime: Lifetime = ENDLESS,
        health: HealthFile | None = None,
    ) -> None:
        self._named, self._lifetime = named, lifetime
        self._health = health or HealthFile(None)
        self._queues: list[str] = []  # the children's and the heartbeats' too, filled once the database answers
        self._children = Children(
            self._queues,
            count=processes,
            max_async=max_async or jobs_settings().max_async,
            threads=threads or jobs_settings().threads,
            weights=weights if named else {},
            lifetime=lifetime,
            on_change=self._on_change,
        )
        self._burial, self._leases, self._heartbeats = Burial(), Leases(), Heartbeats(self._queues)
        self._progress, self._stacks = Progress(), StackRequests()
        self._queues_at = 0.0  # monotonic; not looked for before
        self._begun: dict[str, int] = {}  # in a burst: how far each had come,
        self._busy_at = 0.0  # and until when any was busy, in monotonic time
        self._stopping_since: float | None = None
        self._hurry = self._is_late = False

    def run(self) -> None:
        """Serve until told to stop; returns when every child is gone.

        Raises InvalidJob for a named queue that neither the code nor a job knows.
        """
        wakeup, write_end = os.pipe()
        os.set_blocking(wakeup, False)
        os.set_blocking(write_end, False)
        signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
        before: dict[int, forks.Handler] = {number: signal.signal(number, self._on_stop) for number in forks.STOPS}
        signal.signal(signal.SIGCHLD, lambda *_: None)  # only to wake up
        stay_without_threads()
        self._await_services()
        if self._lifetime.burst:
            self._promote_due()
        gc.freeze()  # what is loaded by now stays shared with the children
        while self._children.wanted or self._children:
            self._children.spawn_missing(before)
            select.select([wakeup], [], [], LOOK_SECONDS)
            while _drain(wakeup):
                pass
            self._children.reap()
            self._show_health()
            watch_timeouts(self._children)
            self._progress.watch(self._children)
            asked = (
                self._burial.bury,
                self._renew_leases,
                self._show_children,
                self._pass_on_stacks,
                self._find_queues,
            )
            for ask in asked:
                if self._seconds_left() > END_SECONDS:  # else it might wait for the database beyond the grace
                    ask()
            self._stop_children()
            self._watch_rest()
        self._burial.bury_the_last(lambda: self._hurry)
        if self._burial.is_over:  # else the database is away
            self._heartbeats.end()
        self._health.remove()
        logger.info("all worker processes have stopped")

    def _show_health(self) -> None:
        """It lives as long as its loop turns and somebody takes jobs, or ends."""
        if self._stopping_since is not None:
            self._health.beat(STOPPING)
        elif len(self._children):
            self._health.beat(READY)

    def _on_change(self, ended: Child | None) -> None:
        if ended is not None:
            self._burial.add(ended)
        self._heartbeats.soon()

    # --- the start

    def _await_services(self) -> None:
        self._await("the queue server at JOBS['REDIS_URL'] (REDIS_URL)", silence)
        self._await("the database (DATABASE_URL)", self._choose_queues)
        self._children.threads = fitting(self._children.threads, processes=self._children.wanted)
        if self._children.threads > 1 and (alone := registry.exclusive(self._queues)):
            logger.info(
                "--threads %d (JOBS['THREADS']), but types that are exclusive=True run alone in a process, whose other"
                " threads wait meanwhile: %s",
                self._children.threads, ", ".join(alone),
            )  # fmt: skip

    def _choose_queues(self) -> str:
        """Learn which queues there are to serve, as only the database knows; why it does not say, if it does not."""
        if trouble := execution.database_trouble():
            return trouble
        try:
            found = served(self._named)
        except Error as error:
            tidying.close_broken_connections()
            return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        self._queues[:] = found.queues
        for name in found.left_over:
            logger.warning("the code no longer names queue %s: it is served because it still holds jobs", name)
        return ""

    def _find_queues(self) -> None:
        """Where callers may name any queue, a worker of all of them serves new ones, too: its next children do."""
        if self._named or not registry.takes_any_queue or time.monotonic() < self._queues_at:
            return
        self._queues_at = time.monotonic() + QUEUES_SECONDS
        try:
            found = left_over(besides=self._queues)
        except Error as error:
            tidying.close_broken_connections()
            logger.debug("cannot look for new queues: %s", str(error).strip())
            return
        if found:
            logger.info("serving queue %s, too: callers have named it", ", ".join(found))
            self._queues += found
            for child in self._children:
                child.marks.retire()

    def _await(self, what: str, trouble: Callable[[], str]) -> None:
        told = ""
        while self._children.wanted and (why := trouble()):
            self._health.beat(f"waiting for {what.partition(' at ')[0].partition(' (')[0]}")
            if (kind := why.partition(":")[0]) != told:  # the rest may change with each try
                logger.warning("waiting for %s: %s", what, why)
                told = kind
            time.sleep(TRY_SECONDS)

    def _promote_due(self) -> None:
        """In a burst, what was scheduled and is due is there, too."""
        told = False
        while self._children.wanted:
            try:
                messages = lifecycle.promote_due() or lifecycle.end_waits()
            except execution.TRANSIENT as error:
                tidying.close_broken_connections()
                if not told:
                    logger.warning("cannot promote what is due, trying again: %s", str(error).strip())
                told = True
                time.sleep(TRY_SECONDS)
                continue
            if not messages:
                break
            publish(messages)

    def _renew_leases(self) -> None:
        self._leases.look_after(self._children)

    # --- what the console shows, and asks

    def _show_children(self) -> None:
        children = {child.name: (child.pid, child.born, child.marks) for child in self._children}
        asked = self._heartbeats.beat(children)
        for child in self._children:
            if child.name in asked:
                child.marks.finish()

    def _pass_on_stacks(self) -> None:
        self._stacks.pass_on(self._children)

    # --- the end

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        if self._stopping_since is not None:
            self._hurry = True
            end_after(END_SECONDS, self._cut)
        else:
            self._stopping_since = time.monotonic()
            self._children.wanted = 0
            for child in self._children:  # at once, because the loop may be waiting for the database
                child.marks.stop()
            end_after(jobs_settings().shutdown_grace_seconds + LATE_SECONDS, self._cut)

    def _cut(self) -> None:
        """The grace is over, and the loop hangs or does not come to its end."""
        logger.warning("the database keeps the supervisor waiting: its jobs go back once their leases are over")
        for child in self._children:
            child.kill(CancelReason.STOPPING)
            self._burial.add(child)
        self._burial.leave_words()
        await_ends([child.pid for child in self._children], DEATH_SECONDS)  # so that none outlives this process

    def _seconds_left(self) -> float:
        """Of the grace of a stop."""
        if self._stopping_since is None:
            return math.inf
        return self._stopping_since + jobs_settings().shutdown_grace_seconds - time.monotonic()

    def _stop_children(self) -> None:
        if self._stopping_since is None:
            return
        late = self._seconds_left() <= 0
        if late and not self._is_late:
            self._is_late = True
            end_after(END_SECONDS, self._cut)
        for child in self._children:
            child.marks.stop()
            if (late or self._hurry) and child.killed is None:
                logger.warning("worker process %s did not stop in time: its job goes back to the queue", child.name)
                child.kill(CancelReason.STOPPING)

    def _watch_rest(self) -> None:
        """In a burst, tell the children that find nothing whether they may end: not while others may bring more.

        One that has nothing in hand at this moment may be between two jobs: it must have begun nothing for a while.
        """
        if not self._lifetime.burst:
            return
        missing = len(self._children) < self._children.wanted or not self._burial.is_over
        begun = {child.name: child.marks.pulse for child in self._children}
        got_on = not begun.items() <= self._begun.items()
        if missing or got_on or any(child.marks.holding for child in self._children):
            self._begun, self._busy_at = begun, time.monotonic()
        for child in self._children:
            child.marks.quiet(quiet=time.monotonic() >= self._busy_at + QUIET_SECONDS)


def _drain(fd: int) -> bool:
    try:
        return bool(os.read(fd, 4096))
    except BlockingIOError:
        return False
