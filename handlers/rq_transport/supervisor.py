"""The parent of the worker processes: keeps them running, renews their leases, ends what runs too long.

One thread, and no connection open at a fork. It works for its children because they cannot do this for themselves: a
handler can keep its own process busy, or take it down.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import secrets
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from types import FrameType
from typing import Any

from django.db import Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from handlers import execution, forks, lifecycle, processes
from handlers.cancellation import CancelReason
from handlers.conf import jobs_settings
from handlers.exceptions import TransportUnavailable
from handlers.lifecycle import Move
from handlers.models import JobRecord
from handlers.models.sessions import has_own_session
from handlers.models.sql import is_postgresql
from handlers.publishing import publish
from handlers.rq_transport.availability import silence, stay_without_threads
from handlers.rq_transport.connections import reset_connections
from handlers.rq_transport.heartbeats import Heartbeats
from handlers.rq_transport.lifetime import ENDLESS, Lifetime
from handlers.rq_transport.marks import Marks, Running
from handlers.rq_transport.worker import BatchWorker
from handlers.states import State
from handlers.transport import LastWords, get_transport

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.2  # how often children and timeouts are looked at
CHECK_SECONDS = 1.0  # how often the database is asked whether running jobs are still ours
BURY_SECONDS = 2.0  # what the last children held is tried to be brought back for so long, when the database is away
YOUNG_SECONDS = 2.0  # a process that dies younger than this, without a job, makes the next one wait


@dataclass(slots=True)
class Child:
    """One worker process."""

    name: str
    pid: int
    marks: Marks
    born: float
    killed: CancelReason | None = None  # why we killed it, if we did
    killed_run: int = 0  # the run (by sequence) that it was killed for
    asked_run: int = 0  # the run (by sequence) whose time was up and that we asked to stop
    deleted_run: int = 0  # the run (by sequence) whose job was deleted
    deleted_at: float = 0.0  # when we told it, in monotonic seconds


class Supervisor:
    """Runs ``processes`` workers over ``queues`` until SIGTERM or SIGINT, or all that was there, in a burst."""

    def __init__(self, queues: Sequence[str], *, processes: int, in_order: bool, lifetime: Lifetime = ENDLESS) -> None:
        self._queues, self._processes, self._in_order = list(queues), processes, in_order
        self._lifetime = lifetime
        self._children: dict[int, Child] = {}
        self._lost: list[Child] = []  # dead, their jobs not yet brought back
        self._wanted = processes
        self._stopping_since: float | None = None
        self._hurry = False
        self._checked_at = self._renewed_at = 0.0
        self._respawn_at = self._bury_after = 0.0
        self._pause = 0.0
        self._heartbeats = Heartbeats(queues)
        self._before: dict[int, forks.Handler] = {}  # what SIGTERM and SIGINT did before

    def run(self) -> None:
        """Serve until told to stop; returns when every child is gone."""
        wakeup, write_end = os.pipe()
        os.set_blocking(wakeup, False)
        os.set_blocking(write_end, False)
        signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
        for number in forks.STOPS:
            self._before[number] = signal.signal(number, self._on_stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # only to wake up
        connection_created.connect(_be_brief)
        stay_without_threads()
        self._await_services()
        if self._lifetime.burst and self._wanted:
            self._promote_due()
        gc.freeze()  # what is loaded by now stays shared with the children
        while self._wanted or self._children:
            self._spawn_missing()
            select.select([wakeup], [], [], LOOK_SECONDS)
            while _drain(wakeup):
                pass
            self._reap()
            self._bury()
            self._watch_timeouts()
            self._check_database()
            self._show_children()
            self._stop_children()
            self._watch_rest()
        self._bury_the_last()
        logger.info("all worker processes have stopped")

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        if self._stopping_since is not None:
            self._hurry = True
        else:
            self._stopping_since = time.monotonic()
            self._wanted = 0

    def _await_services(self) -> None:
        self._await("the queue server at JOBS['REDIS_URL'] (REDIS_URL)", silence)
        self._await("the database (DATABASE_URL)", lambda: "" if execution.database_answers() else "it does not answer")

    def _await(self, what: str, trouble: Callable[[], str]) -> None:
        told = ""
        while self._wanted and (why := trouble()):
            if (kind := why.partition(":")[0]) != told:  # the rest may change with each try
                logger.warning("waiting for %s: %s", what, why)
                told = kind
            time.sleep(0.5)

    # --- children

    def _spawn_missing(self) -> None:
        while len(self._children) < self._wanted and time.monotonic() >= self._respawn_at:
            self._spawn()

    def _spawn(self) -> None:
        marks = Marks(jobs_settings().batch)
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
        pid = os.fork()
        if pid == 0:
            made = {"in_order": self._in_order, "lifetime": self._lifetime}
            _serve(self._queues, name, marks, parent, self._before, made)
        with suppress(OSError):  # the child does it, too: whoever is first, it is so from now on
            os.setpgid(pid, pid)
        forks.release_signals()
        self._children[pid] = Child(name, pid, marks, time.monotonic())
        self._heartbeats.soon()
        logger.info("worker process %s started, PID %d", name, pid)

    def _reap(self) -> None:
        while self._children:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            child = self._children.pop(pid, None)
            if child is None:
                continue
            processes.kill_group(pid)  # what its jobs left running goes with it
            code = os.waitstatus_to_exitcode(status)
            if code == 0 and child.killed is None and child.marks.is_leaving:
                if self._wanted:
                    self._wanted -= 1
                    logger.info("worker process %s has ended for good", child.name)
            elif self._stopping_since is None:
                self._replace(child, code)
            self._lost.append(child)
            self._heartbeats.soon()

    def _replace(self, child: Child, code: int) -> None:
        """Say why, and let another take its place: at once, unless this one came to nothing."""
        if code == 0 and child.marks.is_stopping:
            logger.info("worker process %s was asked to stop by a signal; starting another", child.name)
        elif code:
            died = f"exit code {code}" if code > 0 else f"signal {-code}"
            logger.error("worker process %s ended with %s; starting another", child.name, died)
        # A job that kills its process is counted and stopped; a process that cannot even start is not.
        idle = child.marks.running() is None and not child.marks.done + child.marks.failed
        faulty = idle and time.monotonic() - child.born < YOUNG_SECONDS
        self._pause = min(max(self._pause * 2, 0.5), 10.0) if faulty else 0.0
        self._respawn_at = time.monotonic() + self._pause

    def _bury(self) -> None:
        """Bring back at once what dead children held. While the database is away they wait for it."""
        if time.monotonic() < self._bury_after:
            return
        for child in list(self._lost):
            try:
                moves = self._last_moves(child)
                execution.settle(moves, worker=f"supervisor of {child.name}", keep_trying=lambda: False)
            except Error as error:
                execution.close_broken_connections()
                logger.warning("cannot bring back the jobs of %s yet: %s", child.name, str(error).strip())
                self._bury_after = time.monotonic() + CHECK_SECONDS
                return
            self._lost.remove(child)

    def _bury_the_last(self) -> None:
        """Wait a little for the database; then leave to recovery what the marks say."""
        until = time.monotonic() + BURY_SECONDS
        while True:
            self._bury_after = 0.0
            self._bury()
            if not self._lost or self._hurry or time.monotonic() >= until:
                break
            time.sleep(LOOK_SECONDS)
        for child in self._lost:
            try:
                get_transport().leave_last_words(child.name, _last_words(child))
            except TransportUnavailable:
                logger.warning("nobody can be told what became of the jobs of %s", child.name)

    def _last_moves(self, child: Child) -> list[Move]:
        running, words = child.marks.running(), _last_words(child)
        moves = []
        for claim in lifecycle.claims_of(child.name):
            if running is None or claim.job_id != running.job_id or child.killed is None:
                most = jobs_settings().max_crashes
                moves.append(lifecycle.left_behind(claim, words, max_crashes=most, worker=child.name))
            elif child.killed == CancelReason.TIMEOUT and child.killed_run == running.sequence:
                seconds = time.monotonic() - running.since
                moves.append(execution.failed(claim, execution.timed_out(claim), worker=child.name, seconds=seconds))
            else:  # for the stop, or for the run before this one
                moves.append(
                    lifecycle.handed_back(claim, "its worker had to stop before it could finish", started=True)
                )
        return moves

    # --- what runs

    def _watch_timeouts(self) -> None:
        now, grace = time.monotonic(), jobs_settings().timeout_grace_seconds
        for child in self._children.values():
            running = child.marks.running()
            if running is None or child.killed is not None:
                continue
            over = now - running.since - running.timeout
            if over >= grace:
                logger.error("job %d did not stop at its timeout: killing %s", running.job_id, child.name)
                child.killed_run = running.sequence
                self._kill(child, CancelReason.TIMEOUT)
            elif running.sequence == child.deleted_run and now >= child.deleted_at + grace:
                logger.warning("job %d was deleted and did not stop: killing %s", running.job_id, child.name)
                self._kill(child, CancelReason.DELETED)
            elif over >= 0 and running.sequence != child.asked_run:
                child.asked_run = running.sequence
                child.marks.cancel(running.sequence, CancelReason.TIMEOUT)

    def _check_database(self) -> None:
        """Renew the leases of children that hold jobs, and tell runs that are no longer theirs."""
        now = time.monotonic()
        holders = [child for child in self._children.values() if child.marks.holding]
        if not holders or now < self._checked_at + CHECK_SECONDS:
            return
        self._checked_at = now
        # Read before the database is: a run that ends in between is not mistaken for a lost one.
        runs = [(child, child.marks.running()) for child in holders]
        names = [child.name for child in holders]
        lease = jobs_settings().lease_seconds
        try:
            if now >= self._renewed_at + lease / 3:
                held = lifecycle.renew(names, lease=timedelta(seconds=lease))
                self._renewed_at = now
            else:
                held = lifecycle.held_by(names)
            for child, running in runs:
                if running is not None and held.get(running.job_id) != child.name:
                    self._tell_lost(child, running)
        except Error as error:
            execution.close_broken_connections()
            logger.warning("cannot renew leases: %s", str(error).strip())

    def _tell_lost(self, child: Child, running: Running) -> None:
        states = JobRecord.objects.using(lifecycle.database()).filter(pk=running.job_id).values_list("state", flat=True)
        deleted = states.first() == State.DELETED
        if deleted and child.deleted_run != running.sequence:
            child.deleted_run, child.deleted_at = running.sequence, time.monotonic()
        child.marks.cancel(running.sequence, CancelReason.DELETED if deleted else CancelReason.LEASE_LOST)

    def _show_children(self) -> None:
        """Write what the console shows of the children, and pass on who is asked to stop."""
        children = {child.name: (child.pid, child.born, child.marks) for child in self._children.values()}
        asked = self._heartbeats.beat(children)
        for child in self._children.values():
            if child.name in asked:
                child.marks.finish()

    # --- the end

    def _stop_children(self) -> None:
        if self._stopping_since is None:
            return
        late = time.monotonic() - self._stopping_since >= jobs_settings().shutdown_grace_seconds
        for child in self._children.values():
            child.marks.stop()
            if (late or self._hurry) and child.killed is None:
                logger.warning("worker process %s did not stop in time: its job goes back to the queue", child.name)
                self._kill(child, CancelReason.STOPPING)

    def _kill(self, child: Child, why: CancelReason) -> None:
        child.killed = why
        running = child.marks.running()
        processes.kill_worker(child.pid, since=running.since if running else None)  # still ours: it is not reaped yet

    # --- a burst

    def _promote_due(self) -> None:
        """What was scheduled and is due is there, too."""
        while messages := lifecycle.promote_due():
            publish(messages)

    def _watch_rest(self) -> None:
        """In a burst, tell the children that find nothing whether they may end: not while others may bring more."""
        if self._lifetime.burst:
            children = self._children.values()
            missing = len(children) < self._wanted or bool(self._lost)
            for child in children:
                child.marks.quiet(quiet=not missing and not any(other.marks.holding for other in children))


def _serve(
    queues: Sequence[str], name: str, marks: Marks, parent: int, before: Mapping[int, forks.Handler], made: Any
) -> None:
    """The child's whole life; never returns. ``made``: further options of its worker."""
    code = 1
    try:
        os.setpgid(0, 0)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # to read from the terminal would stop a group in the background
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        connection_created.disconnect(_be_brief)
        for number in forks.STOPS:  # until RQ's worker sets its own
            signal.signal(number, lambda *_: marks.stop())
        forks.release_signals()
        _die_with_parent()
        if os.getppid() != parent:  # it died before that
            marks.stop()
        while silence() and not marks.is_stopping:
            time.sleep(0.2)
        if not marks.is_stopping:
            worker = BatchWorker(queues, name=name, marks=marks, **made)
            forks.make_ordinary(worker.request_stop, before)
            worker.work(logging_level=None)
            code = 0 if worker.is_stopping else 1
        else:
            code = 0
    except BaseException:
        logger.exception("worker process %s failed", name)
    finally:
        logging.shutdown()
        if os.getppid() != parent:  # nobody else ends what its jobs left running
            processes.kill_group(os.getpid())
        os._exit(code)


def _die_with_parent() -> None:
    """Have Linux send SIGTERM to this process when the supervisor dies; elsewhere the worker notices between jobs."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


def _be_brief(connection: BaseDatabaseWrapper, **_: object) -> None:
    """Bound what the supervisor waits for in the database: its children's timeouts and leases hang on it.

    Not behind a pooler: what is set there would stay for whoever comes next.
    """
    if is_postgresql(connection) and not has_own_session(connection):
        return
    with connection.cursor() as cursor:
        if is_postgresql(connection):
            cursor.execute("SET lock_timeout = '1s'")
            cursor.execute("SET statement_timeout = '5s'")
        else:
            cursor.execute("PRAGMA busy_timeout = 1000")


def _last_words(child: Child) -> LastWords:
    """What the marks of a dead child say."""
    running = child.marks.running()
    return LastWords(running.job_id if running and child.killed is None else 0, child.marks.started())


def _drain(fd: int) -> bool:
    try:
        return bool(os.read(fd, 4096))
    except BlockingIOError:
        return False
