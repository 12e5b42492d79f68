"""What a supervisor says about its worker processes, every few seconds, in one go. It never raises."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Mapping, Sequence

from django.db import Error

from handlers import fleet, stranded, tidying
from handlers.models import WorkerProcess
from handlers.processes import memory_bytes
from handlers.rq_transport.marks import Marks
from handlers.rq_transport.moments import Moments

logger = logging.getLogger(__name__)

BEAT_SECONDS = 5.0
KNOWN_SECONDS = 60.0  # how often the list of known types is written again, should ``fleet.tidy`` have taken it away


class Heartbeats:
    """The rows of one supervisor's children."""

    def __init__(self, queues: Sequence[str]) -> None:
        self._queues, self._known = queues, fleet.known()
        self._beat_at = self._known_at = 0.0
        self._written: set[str] = set()
        self._moments = Moments()

    def soon(self) -> None:
        """Tell of a child that came or went with the next look instead of seconds later."""
        self._beat_at = self._known_at = 0.0

    def beat(self, children: Mapping[str, tuple[int, float, Marks]]) -> set[str]:
        """Write the rows of ``children`` (name: pid, monotonic birth, marks) when it is time; who is asked to stop."""
        if time.monotonic() < self._beat_at:
            return set()
        self._beat_at = time.monotonic() + BEAT_SECONDS
        try:
            asked = self._write(children) if children else set()
            if gone := self._written - set(children):  # after their successors' rows are there: nobody is missed
                fleet.leave(gone)
                self._written -= gone
        except Error as error:
            tidying.close_broken_connections()
            logger.debug("cannot write heartbeats: %s", str(error).strip())
            return set()
        return asked

    def end(self) -> None:
        """All have ended, and their rows go."""
        try:
            fleet.leave(self._written)
        except Error as error:  # then they are taken for lost, and go later
            tidying.close_broken_connections()
            logger.debug("cannot remove heartbeats: %s", str(error).strip())

    def _write(self, children: Mapping[str, tuple[int, float, Marks]]) -> set[str]:
        now, clock = self._moments.now(), time.monotonic()
        rows = []
        for name, (pid, born, marks) in children.items():
            running = marks.running()
            is_async = sum(marks.is_async(run.slot) for run in running)
            first = [(run.job_id, self._moments.at(run.since)) for run in running[: fleet.NAMED_RUNS]]
            rows.append(
                WorkerProcess(
                    name=name,
                    kind="worker",
                    host=socket.gethostname()[:100],
                    pid=pid,
                    queues=list(self._queues),
                    types=self._known.digest,
                    started_at=self._moments.at(born),
                    heartbeat_at=now,
                    running_async=is_async,
                    max_async=marks.max_async,
                    running_sync=len(running) - is_async,
                    threads=marks.threads,
                    runs=[{"job": job_id, "since": since.isoformat()} for job_id, since in first],
                    job_id=first[0][0] if first else None,
                    job_since=first[0][1] if first else None,
                    done=marks.done,
                    failed=marks.failed,
                    memory_bytes=memory_bytes(pid),
                )
            )
        self._written |= set(children)
        told = fleet.beat(
            rows,
            self._known if clock >= self._known_at else None,
            wanted=stranded.servable(self._queues, self._known.digest),
        )
        if clock >= self._known_at:
            self._known_at = clock + KNOWN_SECONDS
        for _, _, marks in children.values():
            marks.tell_stranded(waiting=told.wanted)
        return told.asked
