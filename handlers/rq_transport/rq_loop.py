"""RQ's worker where it would do too much or too little for ours."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from collections.abc import Sequence
from typing import Any

from redis.exceptions import RedisError
from rq import SimpleWorker, worker_registration
from rq.command import parse_payload
from rq.suspension import is_suspended
from rq.utils import now
from rq.worker import WorkerStatus

from handlers.rq_transport.connections import redis_connection
from handlers.rq_transport.marks import Marks
from handlers.rq_transport.names import rq_name
from handlers.rq_transport.stopping import Stopping

logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 5.0
SUSPENDED_SECONDS = 0.5  # between two looks, while workers are suspended
LISTEN_SECONDS = 1.0  # after an outage, until RQ's commands are listened for again


class RQLoop(SimpleWorker):
    """RQ's own loop, registration, commands and heartbeats, that live through any outage. Takes and runs nothing."""

    def __init__(self, queues: Sequence[str], *, name: str, marks: Marks, burst: bool) -> None:
        super().__init__([*map(rq_name, queues)], name=name, connection=redis_connection(), serializer="json")
        self._marks, self._stopping, self._burst = marks, Stopping(marks), burst
        self._heartbeat_at = self._suspension_at = 0.0
        self._is_suspended = False

    @property
    def is_stopping(self) -> bool:
        """Whether this worker was asked to stop, or lost its supervisor."""
        return self._stopping.is_asked

    # --- signals and commands

    def _shutdown(self) -> None:
        # RQ raises inside a blocking pop, which can lose what was just popped. A flag is enough: the pop is short.
        self._stopping.ask()

    def request_stop(self, signum: int, frame: Any) -> None:
        """A signal asks this process to stop. A second one changes nothing: the supervisor says how long that takes."""
        if os.getpid() == self.pid:
            if not self._stopping.is_asked:
                self._stopping.end_in_time()
            self._shutdown()
        else:  # forked by a handler in C, where Python's hooks were not called
            signal.signal(signum, signal.SIG_DFL)
            os.kill(os.getpid(), signum)

    def request_stop_execution(self, execution_id: str) -> None:
        """RQ's command to stop one execution: not ours, jobs are stopped by deleting them."""

    def handle_payload(self, message: Any) -> None:
        """RQ's commands. A shutdown is for good and waits; the signal that RQ sends to this process then would not."""
        if parse_payload(message).get("command") == "shutdown":
            logger.info("worker process %s was told to shut down: it ends once its jobs have", self.name)
            self._marks.finish()
        else:
            super().handle_payload(message)  # type: ignore[no-untyped-call]

    def subscribe(self) -> None:
        """Listen for RQ's commands; if Redis does not let us now, the heartbeat tries again."""
        with contextlib.suppress(RedisError):
            super().subscribe()  # type: ignore[no-untyped-call]

    def _pubsub_exception_handler(self, exc: Exception, pubsub: Any, pubsub_thread: Any) -> None:
        """Go on listening for RQ's commands after an outage of any kind; RQ does only after some."""
        if not isinstance(exc, RedisError) and not self._stopping.is_asked:
            raise exc
        logger.debug("waiting for the queue server: %s", exc)
        time.sleep(LISTEN_SECONDS)

    def check_for_suspension(self, burst: bool) -> None:
        """Honour ``rq suspend``, for as long as it holds."""
        state = self._state
        while not self.is_stopping and self.is_suspended():
            if self._burst:
                logger.warning("workers are suspended: what is left stays")
                self._stopping.end(for_good=True)
            elif self._state != WorkerStatus.SUSPENDED:
                logger.info("worker process %s is suspended, until somebody runs rq resume", self.name)
                self.set_state(WorkerStatus.SUSPENDED)
            self.heartbeat()  # else RQ would forget us
            time.sleep(SUSPENDED_SECONDS)
        self.set_state(state)

    def is_suspended(self) -> bool:
        """Whether ``rq suspend`` holds; asked once a second, and for any thread."""
        if time.monotonic() >= self._suspension_at:
            self._is_suspended = False  # also where Redis does not say
            with contextlib.suppress(RedisError):
                self._is_suspended = is_suspended(self.connection)
            self._suspension_at = time.monotonic() + (SUSPENDED_SECONDS if self._is_suspended else 1.0)
        return self._is_suspended

    # --- what RQ knows of us

    def register_birth(self) -> None:
        """Tell RQ that we live; if Redis has no room for that now, the heartbeat does it."""
        self.birth_date = now()
        with contextlib.suppress(RedisError):
            super().register_birth()  # type: ignore[no-untyped-call]

    def register_death(self) -> None:
        """Have RQ forget us. A full Redis would refuse to note when we died, which is RQ's way."""
        with self.connection.pipeline() as pipe:
            worker_registration.unregister(self, pipe)
            pipe.unlink(self.key, self.executions_key)
            pipe.execute()

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

    # --- left alone

    def clean_registries(self) -> None:
        """RQ's clean-up would fail messages that it thinks abandoned; ours come back through recovery."""
        self.last_cleaned_at = now()  # type: ignore[assignment]

    clean_group_registries = clean_registries

    def _set_connection(self, connection: Any) -> Any:
        """RQ would wait for an answer as long as its blocking pop does, by the minute. Ours says itself how long."""
        return connection

    def _set_ip_address(self, connection: Any) -> None:
        self.ip_address = "unknown"
        # A Redis that is full, or away just now, is no reason not to start; nor is one on a socket whose path has a
        # blank or a =: redis-py cannot read what that says of a client.
        with contextlib.suppress(RedisError, ValueError):
            super()._set_ip_address(connection)

    def procline(self, message: str) -> None:
        """Leave the process title alone."""
