"""The worker process: RQ's worker, which claims, runs and records jobs in batches."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.db import Error, close_old_connections, connections
from redis.exceptions import RedisError
from rq import SimpleWorker, worker_registration
from rq.command import parse_payload
from rq.suspension import is_suspended
from rq.utils import now

from handlers import execution, lifecycle, logs
from handlers.cancellation import CancellationToken, CancelReason
from handlers.conf import SYSTEM_QUEUE, jobs_settings
from handlers.exceptions import TransportUnavailable
from handlers.gateway import job_scheduler, known_queues
from handlers.lifecycle import Claim
from handlers.models.sql import is_postgresql
from handlers.processes import kill_group
from handlers.rq_transport.availability import transport_errors
from handlers.rq_transport.batch import Batch, Keeper
from handlers.rq_transport.connections import redis_connection
from handlers.rq_transport.intake import Intake
from handlers.rq_transport.lifetime import ENDLESS, Lifetime
from handlers.rq_transport.marks import Marks
from handlers.rq_transport.outages import Outage
from handlers.rq_transport.stranded import Stranded
from handlers.states import State
from handlers.transport import Message

logger = logging.getLogger(__name__)

CLAIM_TRIES = 3  # while the database answers; while it is away, a worker waits as long as it takes
WAIT_SECONDS = 1.0  # longest blocking pop, so also how long an idle worker takes to notice that it should stop
BURST_SECONDS = 0.1  # the same in a burst, where it also says how soon it ends
HEARTBEAT_SECONDS = 5.0
LEAVE_SECONDS = 1.0  # of the grace of a stop, left for the supervisor
PARENT_SECONDS = 0.1  # how often a worker looks whether its supervisor lives
CONNECTIONS_SECONDS = 5.0  # how often connections are looked at
UNTIL_PLANNED = 7  # runs of a statement: one unprepared, five that PostgreSQL plans anew, one with the plan it keeps
BATCH_SECONDS = 0.025  # how much work a batch should be
SINGLE_SECONDS = 0.010  # jobs that take longer on average are claimed one by one


class BatchWorker(SimpleWorker):
    """Runs jobs of ``queues`` in this process until it is asked to stop.

    RQ's own loop, registration, commands and heartbeats, with the taking and the running of jobs replaced. Of a
    message only the id and the token are read: never its function, arguments or callbacks.
    """

    def __init__(
        self, queues: Sequence[str], *, name: str, marks: Marks, in_order: bool, lifetime: Lifetime = ENDLESS
    ) -> None:
        super().__init__(list(queues), name=name, connection=redis_connection(), serializer="json")
        self._marks, self._in_order, self._lifetime = marks, in_order, lifetime
        self._names = list(queues)
        self._intake = Intake()
        self._outage = Outage("queue server", logger)
        self._keeper = Keeper()
        self._paused: set[str] = set()
        self._paused_checked_at = 0.0
        self._heartbeat_at = self._suspension_at = self._connections_at = self._parent_at = 0.0
        self._parent = os.getppid()
        self._orphan_since: float | None = None
        self._size = 1
        self._ran = 0  # attempts
        self._alone: list[Message] = []
        self._stranded = Stranded(marks)
        self._wait_until: float | None = None  # in monotonic time, once asked to stop
        self._doubtful = False  # whether the database may hold claims of ours that we do not know of

    # --- RQ's loop, where it would do too much or too little

    def _shutdown(self) -> None:
        # RQ raises inside a blocking pop, which can lose what was just popped. A flag is enough: the pop is short.
        self._stop_requested = True
        self._marks.stop()  # the signal may come from a dead supervisor, and then nobody else tells the running job

    def request_stop(self, signum: int, frame: Any) -> None:
        """A signal asks this process to stop. A second one changes nothing: the supervisor says how long that takes."""
        if os.getpid() == self.pid:
            self._shutdown()
        else:  # forked by a handler in C, where Python's hooks were not called
            signal.signal(signum, signal.SIG_DFL)
            os.kill(os.getpid(), signum)

    def request_stop_execution(self, execution_id: str) -> None:
        """RQ's command to stop one execution: not ours, jobs are stopped by deleting them."""

    def handle_payload(self, message: Any) -> None:
        """RQ's commands. A shutdown is for good; the signal that RQ then sends to this process would not be."""
        if parse_payload(message).get("command") == "shutdown":
            self._marks.leave()
        super().handle_payload(message)  # type: ignore[no-untyped-call]

    def clean_registries(self) -> None:
        """RQ's clean-up would fail messages that it thinks abandoned; ours come back through recovery."""
        self.last_cleaned_at = now()  # type: ignore[assignment]

    clean_group_registries = clean_registries

    def _set_connection(self, connection: Any) -> Any:
        """RQ would wait for an answer as long as its blocking pop does, by the minute. Ours says itself how long."""
        return connection

    def _set_ip_address(self, connection: Any) -> None:
        self.ip_address = "unknown"
        with contextlib.suppress(RedisError):  # a Redis that is full, or away just now, is no reason not to start
            super()._set_ip_address(connection)

    def register_birth(self) -> None:
        """Tell RQ that we live; if Redis has no room for that now, the heartbeat does it."""
        self.birth_date = now()
        with contextlib.suppress(RedisError):
            super().register_birth()  # type: ignore[no-untyped-call]

    def subscribe(self) -> None:
        """Listen for RQ's commands; if Redis does not let us now, the heartbeat tries again."""
        with contextlib.suppress(RedisError):
            super().subscribe()  # type: ignore[no-untyped-call]

    def register_death(self) -> None:
        """Have RQ forget us. A full Redis would refuse to note when we died, which is RQ's way."""
        with self.connection.pipeline() as pipe:
            worker_registration.unregister(self, pipe)
            pipe.unlink(self.key, self.executions_key)
            pipe.execute()

    def _pubsub_exception_handler(self, exc: Exception, pubsub: Any, pubsub_thread: Any) -> None:
        """Go on listening for RQ's commands after an outage of any kind; RQ does only after some."""
        if not isinstance(exc, RedisError) and not self._stop_requested:
            raise exc
        logger.debug("waiting for the queue server: %s", exc)
        time.sleep(WAIT_SECONDS)

    def procline(self, message: str) -> None:
        """Leave the process title alone."""

    def check_for_suspension(self, burst: bool) -> None:
        """Honour ``rq suspend``, asking once a second."""
        while time.monotonic() >= self._suspension_at and not self.is_stopping:
            with contextlib.suppress(RedisError):
                if is_suspended(self.connection):
                    if self._lifetime.burst:
                        logger.warning("workers are suspended: what is left stays")
                        self._end(for_good=True)
                    time.sleep(0.5)
                    continue
            self._suspension_at = time.monotonic() + 1.0

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        """Tell RQ that we live, every few seconds; registers again, since a Redis that restarted empty forgot us."""
        if time.monotonic() < self._heartbeat_at:
            return
        self._heartbeat_at = time.monotonic() + HEARTBEAT_SECONDS
        self.last_heartbeat = now()
        with contextlib.suppress(RedisError), self.connection.pipeline() as pipe:
            worker_registration.register(self, pipe)
            pipe.hset(self.key, mapping=self.serialize())
            pipe.expire(self.key, self.worker_ttl + 60)
            pipe.execute()
        if self.pubsub is not None and self.pubsub_thread is None:
            self.subscribe()  # which failed at the start

    def set_state(self, state: str, pipeline: Any = None) -> None:
        """Tell RQ what we do, when it changes."""
        if state != self._state:
            self._state = state
            with contextlib.suppress(RedisError):
                self.connection.hset(self.key, "state", state)

    def teardown(self) -> None:
        """Say goodbye, if Redis is there to hear it."""
        with contextlib.suppress(RedisError):
            super().teardown()  # type: ignore[no-untyped-call]

    @property
    def is_stopping(self) -> bool:
        """Whether this worker was asked to stop, or lost its supervisor."""
        if not self._stop_requested and (self._marks.is_stopping or self._is_orphan()):
            self._stop_requested = True
        return self._stop_requested

    def _may_wait(self) -> bool:
        """Whether to wait for a database that is away: asked to stop, only until shortly before the grace is over."""
        if not self.is_stopping:
            return True
        grace = jobs_settings().shutdown_grace_seconds
        if self._wait_until is None:
            self._wait_until = time.monotonic() + max(grace - LEAVE_SECONDS, grace / 2)
        return time.monotonic() < self._wait_until

    def _is_orphan(self) -> bool:
        """Whether the supervisor is gone; asked now and then."""
        if (now := time.monotonic()) < self._parent_at:
            return False
        self._parent_at = now + PARENT_SECONDS
        return os.getppid() != self._parent

    # --- take

    def dequeue_job_and_maintain_ttl(self, timeout: int | None, max_idle_time: int | None = None) -> Any:
        """Take a batch of messages; waits until there is one. None when asked to stop."""
        if not self._keeper.is_alive():
            self._keeper.start()
            self.heartbeat()
            self._warm_up()
        while not self.is_stopping:
            self.heartbeat()
            self.check_for_suspension(burst=False)
            self._await_certainty()
            if why := self._lifetime.spent(self._ran):
                logger.info("worker process %s makes way for another: %s", self.name, why)
                self._end(for_good=False)
                break
            if self._alone:
                return [self._alone.pop()], None
            try:
                with transport_errors():
                    messages = self._look()
            except TransportUnavailable as error:
                time.sleep(self._outage.failed(error))
                continue
            self._outage.worked()
            if messages and self.is_stopping:
                self._put_back(messages)
            elif messages:
                if not self._in_order:  # all queues alike: the next turn begins with another one
                    at = self._names.index(messages[0].queue) + 1
                    self._names = self._names[at:] + self._names[:at]
                return messages, None
        self._put_back(self._alone)
        with contextlib.suppress(RedisError):
            self._intake.forget()
        return None

    def _look(self) -> list[Message]:
        """What the queues hold; if that is nothing, what comes within a moment."""
        queues, room = self._open_queues(), self._lifetime.room(self._ran)
        size = self._size if room is None else min(self._size, room)
        if messages := self._stranded.take(queues, size) or self._intake.pop(queues, size):
            return messages
        self.set_state("idle")
        wait = self._stranded.patience(BURST_SECONDS if self._lifetime.burst else WAIT_SECONDS)
        if self._lifetime.burst and not self._stranded.is_due:
            self._let_go()
            if self._marks.is_quiet:  # nobody else has anything in hand that may bring more
                self._end(for_good=True)
                return []
        waited = self._intake.wait(queues, size, wait)
        if waited is None:
            time.sleep(0.1)
        return waited or []

    def _end(self, *, for_good: bool) -> None:
        """Stop of its own accord, between two jobs; unless ``for_good`` another takes its place."""
        if for_good:
            self._marks.leave()
        self._stop_requested = True

    def _warm_up(self) -> None:
        """Connect, and let the database plan what claims a job: so that the first one starts as soon as any other."""
        if not is_postgresql(connections[lifecycle.database()]):
            return  # SQLite plans nothing for good, and whoever claims there waits for other writers
        nothing = Message(0, "", "")
        with contextlib.suppress(Error):  # then the first claim waits for the database
            for messages in ([nothing], [nothing, nothing._replace(job_id=-1)]) * UNTIL_PLANNED:
                if self.is_stopping:
                    break
                lifecycle.claim(messages, worker=self.name, lease=timedelta(0))

    def _put_back(self, messages: Sequence[Message]) -> None:
        with contextlib.suppress(RedisError):  # or recovery finds that they are on no queue
            self._intake.put_back(messages)

    def _open_queues(self) -> list[str]:
        if self._paused and time.monotonic() >= self._paused_checked_at + 1.0:
            with contextlib.suppress(Error):
                self._learn_paused()
        return [name for name in self._names if name not in self._paused]

    def _learn_paused(self) -> None:
        self._paused = set(job_scheduler.paused_queues())
        self._paused_checked_at = time.monotonic()

    # --- run

    def execute_job(self, job: Any, queue: Any) -> None:
        """Claim the batch, run it, record it."""
        messages: list[Message] = job
        if len(messages) > 1:  # a single one starts sooner; it is told once it takes long
            self.set_state("busy")
        self._marks.hold()
        try:
            claims = self._claim(messages)
            if claims:
                self._run(claims)
        except BaseException as error:
            # This process ends, and its supervisor brings back what it held, by the marks. Unless it is the database
            # that was away, the last run is why.
            if not isinstance(error, Error):
                self._marks.blame()
            raise
        self._let_go()

    def _claim(self, messages: list[Message]) -> list[Claim]:
        lease = timedelta(seconds=jobs_settings().lease_seconds)
        pause, tries = 0.05, 0
        while True:
            try:
                self._renew_connections()
                claims = lifecycle.claim(messages, worker=self.name, lease=lease)
            except Error as error:
                execution.close_broken_connections()
                self._doubtful = True  # the claim may have been committed, and only the answer lost
                if self.is_stopping:
                    self._put_back(messages)
                    return []
                tries += execution.database_answers()
                if tries >= CLAIM_TRIES or not isinstance(error, execution.TRANSIENT):
                    return self._claim_singly(messages, error)
                logger.warning("waiting for the database: %s", str(error).strip())
                time.sleep(pause)
                pause = min(pause * 2, 2.0)
            else:
                if len(claims) < len(messages):
                    with contextlib.suppress(Error):  # else recovery finds that they are on no queue
                        self._refused(messages, {claim.job_id for claim in claims})
                return claims

    def _renew_connections(self) -> None:
        """Let Django close what is too old; seldom, because it then asks the database whether the rest still works."""
        if time.monotonic() >= self._connections_at + CONNECTIONS_SECONDS:
            self._connections_at = time.monotonic()
            close_old_connections()

    def _claim_singly(self, messages: list[Message], error: Error) -> list[Claim]:
        """The database is there and will not: something about one of the messages, and no other may suffer for it."""
        if len(messages) > 1:
            return [claim for message in messages for claim in self._claim([message])]
        logger.error("cannot claim job %d (%s); recovery will offer it again", messages[0].job_id, type(error).__name__)
        return []

    def _await_certainty(self) -> None:
        """Take nothing new while it is in doubt what is held: the database was away when the last batch ended."""
        pause = 0.1
        while self._doubtful and not self.is_stopping:
            self.heartbeat()
            self._let_go()
            if self._doubtful:
                time.sleep(pause)
                pause = min(pause * 2, WAIT_SECONDS)

    def _let_go(self) -> None:
        """Hold nothing any more. In doubt, give back what the database says we process; while it is away, hold on.

        Only while nothing is in hand: then nobody runs it.
        """
        if self._doubtful:
            self._give_back_unknown()
        if not self._doubtful:
            self._marks.release()

    def _give_back_unknown(self) -> None:
        started = self._marks.started()
        try:
            moves = [
                lifecycle.handed_back(claim, "its outcome could not be recorded", started=True)
                if claim.job_id in started
                else lifecycle.handed_back(claim, "its worker did not learn that it was claimed", started=False)
                for claim in lifecycle.claims_of(self.name)
            ]
            execution.settle(moves, worker=self.name, keep_trying=lambda: False)
        except Error:
            execution.close_broken_connections()  # the doubt stays
        else:
            self._doubtful = False

    def _refused(self, messages: list[Message], claimed: set[int]) -> None:
        """Messages that we may not run now: outdated ones are dropped, the others wait for their turn."""
        refused = [message for message in messages if message.job_id not in claimed]
        self._learn_paused()
        if paused := [message for message in refused if message.queue in self._paused]:
            self._put_back(paused)
        if len(messages) > 1:
            self._alone += lifecycle.must_run_alone([m for m in refused if m.queue not in self._paused])

    def _run(self, claims: list[Claim]) -> None:
        batch = Batch(
            claims,
            worker=self.name,
            keep_trying=self._may_wait,
            on_slow=self._while_slow,
        )
        self._keeper.watch(batch)
        began, count = time.monotonic(), 0
        logs.attach()  # once for all of them: between two jobs of a batch no code of an app runs
        try:
            while claim := batch.take():
                if self.is_stopping:
                    batch.finish(lifecycle.handed_back(claim, "its worker was asked to stop", started=False))
                    batch.give_back("its worker was asked to stop")
                    break
                self.heartbeat()
                batch.finish(self._attempt(claim))
                count += 1
                self._ran += 1
            # Without the last flush: on a slow disk it would make every job look slow, and batches never grow.
            self._adapt((time.monotonic() - began) / max(count, 1))
        finally:
            logs.detach()
            self._keeper.rest()
            batch.flush()
            self._doubtful |= batch.is_doubtful

    def _while_slow(self) -> None:
        """Called every now and then, by the keeper, while a job runs that takes long."""
        if self._is_orphan():
            self._orphan_since = self._orphan_since or time.monotonic()
            self._marks.stop()
            if time.monotonic() - self._orphan_since >= jobs_settings().shutdown_grace_seconds:
                logger.warning("the supervisor is gone and the job did not stop in time: killing %s", self.name)
                kill_group(os.getpid())
        self.set_state("busy")

    def _attempt(self, claim: Claim) -> lifecycle.Move | None:
        sequence = self._marks.start(claim.job_id, execution.timeout_of(claim))

        def probe() -> CancelReason | None:
            return self._marks.cancel_reason(sequence)

        token = CancellationToken(probe, job_id=claim.job_id, attempt=claim.attempt)
        move = execution.run(claim, token, worker=self.name)
        self._marks.end()  # not after an error: then this run broke the process
        if move is not None:
            failed = move.change.failure is not None
            if failed or move.change.target == State.SUCCEEDED:
                self._marks.count(failed=failed)
        return move

    def _adapt(self, mean: float) -> None:
        """Choose the next batch's size by how long this one's jobs took, in seconds."""
        if mean >= SINGLE_SECONDS:
            self._size = 1
        else:
            fitting = int(BATCH_SECONDS / max(mean, 1e-6))
            self._size = max(1, min(self._size * 2, fitting, jobs_settings().batch))


def all_queues(named: Sequence[str] | None) -> list[str]:
    """The queues to serve: those named, or all; the engine's own always."""
    return list(dict.fromkeys([*named, SYSTEM_QUEUE])) if named else sorted(known_queues())
