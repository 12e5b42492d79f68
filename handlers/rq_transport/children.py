"""The worker processes of one supervisor: started, replaced when they end, killed when they must."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from django.db import connections

from handlers import forks, processes
from handlers.cancellation import CancelReason
from handlers.conf import jobs_settings
from handlers.many.types import largest
from handlers.rq_transport.connections import reset_connections
from handlers.rq_transport.lifetime import Lifetime
from handlers.rq_transport.marks import Marks
from handlers.rq_transport.serving import serve

logger = logging.getLogger(__name__)

YOUNG_SECONDS = 2.0  # a process that dies younger than this, without a job, makes the next one wait


@dataclass(slots=True)
class Child:
    """One worker process."""

    name: str
    pid: int
    marks: Marks
    born: float
    killed: CancelReason | None = None  # why we killed it, if we did
    # Runs, by their keys in the marks: whose time was up and that we asked to stop; when we told those whose jobs were
    # deleted, in monotonic seconds; and those that did not stop, with why they should.
    asked: set[tuple[int, int]] = field(default_factory=set)
    deleted: dict[tuple[int, int], float] = field(default_factory=dict)
    stuck: dict[tuple[int, int], CancelReason] = field(default_factory=dict)
    others_until: float | None = None  # monotonic; how long runs beside one that did not stop may go on
    pulse: int = 0  # of its marks, when we looked last
    still: float = 0.0  # for how long it has held jobs and got nowhere, in seconds

    def kill(self, why: CancelReason) -> None:
        """End it and what its jobs started. It is still ours: not reaped yet."""
        self.killed = why
        running = self.marks.running()
        processes.kill_worker(self.pid, since=running[0].since if running else None)


class Children:
    """Those that live, and how many are wanted. Iterating gives each ``Child``.

    ``on_change`` is called when one was started, and with the one that has ended.
    """

    def __init__(
        self,
        queues: Sequence[str],
        *,
        count: int,
        max_async: int,
        threads: int,
        weights: Mapping[str, int] | None,
        lifetime: Lifetime,
        on_change: Callable[[Child | None], None],
    ) -> None:
        self._queues, self._weights, self._lifetime = queues, weights, lifetime
        self._max_async = max_async
        self.threads = threads  # of each that is started from now on
        self._on_change = on_change
        self._living: dict[int, Child] = {}
        self._respawn_at = 0.0
        self._pause = 0.0
        self.wanted = count  # none once the supervisor is asked to stop

    def __iter__(self) -> Iterator[Child]:
        return iter(self._living.values())

    def __len__(self) -> int:
        """How many take jobs: not those that make way and only let their runs end."""
        return sum(not child.marks.makes_way for child in self._living.values())

    def __bool__(self) -> bool:
        return bool(self._living)

    def spawn_missing(self, before: Mapping[int, forks.Handler]) -> None:
        """Start as many as are missing and the host has room for. ``before``: what SIGTERM and SIGINT did before us."""
        while len(self) < self.wanted and time.monotonic() >= self._respawn_at:
            try:
                self._spawn(before)
            except OSError as error:  # the host has no room for another just now, and those that live go on
                logger.error("no worker process can be started, trying again: %s", error)
                self._wait(longer=True)

    def _spawn(self, before: Mapping[int, forks.Handler]) -> None:
        batch, together = jobs_settings().batch, largest()
        marks = Marks(batch, max_async=self._max_async, threads=self.threads, together=together)
        if self._lifetime.burst:
            marks.hold()  # until it has had a look itself
        name = f"{socket.gethostname()[:60]}.{os.getpid()}.{secrets.token_hex(3)}"
        # A connection must not be shared with the child, and closing it there would close it here.
        connections.close_all()
        reset_connections()
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        forks.hold_signals()
        if not self.wanted:  # a stop has come meanwhile
            forks.release_signals()
            return
        try:
            pid = os.fork()
        except OSError:
            forks.release_signals()
            raise
        if pid == 0:
            serve(
                self._queues,
                name=name,
                marks=marks,
                weights=self._weights,
                lifetime=self._lifetime,
                parent=parent,
                before=before,
            )
        with suppress(OSError):  # the child does it, too: whoever is first, it is so from now on
            os.setpgid(pid, pid)
        self._living[pid] = Child(name, pid, marks, time.monotonic())
        forks.release_signals()  # a stop that has waited for this finds the new one among those that it tells
        self._on_change(None)
        logger.info("worker process %s started, PID %d", name, pid)

    def reap(self) -> None:
        """Take note of those that have ended, and of whether others take their places."""
        while self._living:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            child = self._living.pop(pid, None)
            if child is None:
                continue
            processes.kill_group(pid)  # what its jobs left running goes with it
            code = os.waitstatus_to_exitcode(status)
            if code == 0 and child.marks.is_stopping and child.marks.running():
                child.killed = child.killed or CancelReason.STOPPING  # by itself, because the grace was over
            if code == 0 and child.killed is None and child.marks.is_leaving:
                if self.wanted:
                    self.wanted -= 1
                    logger.info("worker process %s has ended for good", child.name)
            elif self.wanted and not child.marks.makes_way:
                self._replace(child, code)
            self._on_change(child)

    def _replace(self, child: Child, code: int) -> None:
        """Say why, and let another take its place: at once, unless this one came to nothing."""
        if code == 0 and child.marks.is_stopping:
            logger.info("worker process %s was asked to stop by a signal; starting another", child.name)
        elif code:
            died = f"exit code {code}" if code > 0 else f"signal {-code}"
            logger.error("worker process %s ended with %s; starting another", child.name, died)
        # A job that kills its process is counted and stopped; a process that cannot even start is not.
        idle = not child.marks.running() and not child.marks.done + child.marks.failed
        faulty = idle and time.monotonic() - child.born < YOUNG_SECONDS
        self._wait(longer=faulty)

    def _wait(self, *, longer: bool) -> None:
        """Let the next start wait ``longer`` than the last one did; else, not at all."""
        self._pause = min(max(self._pause * 2, 0.5), 10.0) if longer else 0.0
        self._respawn_at = time.monotonic() + self._pause
