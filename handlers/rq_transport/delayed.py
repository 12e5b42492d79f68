"""The scheduler: moves delayed jobs to their queues when they are due, and lets recovery bring back what was lost."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn
from uuid import uuid4

from django.db import Error as DatabaseError
from django.db import connections
from redis import Redis
from redis.client import PubSub
from redis.exceptions import RedisError
from rq.job import Job
from rq.serializers import JSONSerializer
from rq_scheduler import Scheduler

from handlers import fleet, folding, lifecycle, recovery
from handlers.alerts import dead_man, watching
from handlers.conf import jobs_settings
from handlers.exceptions import InvalidJob, TransportUnavailable
from handlers.models import JobRecord, WorkerProcess
from handlers.processes import memory_bytes
from handlers.recurrence import declared, firing, heartbeats
from handlers.rq_transport.availability import met, transport_errors
from handlers.rq_transport.connections import redis_connection
from handlers.rq_transport.duties import DATABASE, Duties
from handlers.rq_transport.grace import end_after, has_ended
from handlers.rq_transport.health_file import READY, HealthFile
from handlers.rq_transport.leftovers import Leftovers
from handlers.rq_transport.lua import FORGET_DELAYED, OVERDUE
from handlers.rq_transport.messages import DELAYED_KEY, WAKE_CHANNEL, RQTransport, parse_rq_job_id
from handlers.rq_transport.moments import Moments
from handlers.states import State
from handlers.transport import Message
from handlers.troubles import troubles

CHUNK = 500  # jobs promoted at once
SLICE_SECONDS = 0.2  # how soon a waiting scheduler notices that it is asked to stop
IDLE_SECONDS = 1.0  # the longest wait: pub/sub may lose a wake-up, so the database is asked this often at least
BUSY_SECONDS = 1.0  # the longest run of promotions before recovery gets its turn
REGISTER_SECONDS = 5.0
EXPIRY_SECONDS = 20  # of its key in Redis, and rq-scheduler adds ten
SWEEP_SECONDS = 5.0  # how often the delayed set is compared with the database, and from how overdue on
SWEEP_CHUNK = 500
RETENTION_SECONDS = 60.0  # how often it is looked what is past its retention
ERASE_SECONDS = 0.1  # between two chunks of it: what is due meanwhile waits for one chunk at most
ALERT_SECONDS = 10.0  # between two looks at what people want to be told of
DEAD_MAN_SECONDS = 60.0
TIDY_SECONDS = 300.0  # how often the rows of long dead workers are removed
LEFTOVERS_SECONDS = 900.0  # between two looks through Redis for what killed workers left
LOOK_SECONDS = 1.0  # between two chunks of one: most of the keys are a backlog's, and nothing is urgent here
LISTENING, PROMOTION, RETENTION, OLD_COUNTS = "wake-ups", "promotion", "retention", "old counts"
LEFTOVERS = "leftovers"
OLD_ALERTS = "old alerts"


class JSONJob(Job):
    """An RQ job of ours: rq-scheduler never passes a serializer on, and would read and write pickles."""

    def __init__(self, id: str | None = None, connection: Redis | None = None, serializer: Any = None) -> None:  # noqa: A002
        super().__init__(id, connection, serializer or JSONSerializer)


class DelayedScheduler(Scheduler):  # type: ignore[misc]  # rq-scheduler has no types
    """rq-scheduler's scheduler, with the database to decide what is due.

    Any number may run at once without a lock: promotion is a guarded update of rows, so each job is one scheduler's,
    and one script takes it from the delayed set to its queue. The set mirrors the rows for RQ's tools; it decides
    nothing.
    """

    job_class = JSONJob
    scheduled_jobs_key = DELAYED_KEY

    def __init__(
        self, connection: Redis | None = None, *, name: str | None = None, health: HealthFile | None = None
    ) -> None:
        super().__init__(
            connection=connection or redis_connection(),
            interval=EXPIRY_SECONDS,
            name=name or f"{socket.gethostname()}.{os.getpid()}.{uuid4().hex[:8]}",
        )
        self.log = logging.getLogger(__name__)
        self._health = health or HealthFile(None)
        self._transport = RQTransport()
        self._stopping = False
        self._pubsub: PubSub | None = None
        self._unpushed: list[Message] = []  # promoted in the database, but Redis went away before the push
        self._due_at = 0.0  # when there is something to promote, as far as is known, in monotonic time
        self._fire_at = 0.0  # the same of recurring jobs
        self._recurring = firing.Agenda(None, held=False, heartbeats=False)
        self._is_told = False  # whether the database knows those of the code
        self._fruitless = 0  # looks in a row that found something due and moved nothing
        self._sweep_offset = 0
        self._leftovers = Leftovers(self.connection)
        self._recovery = recovery.Recovery()
        self._duties = Duties(self.log, on_server_lost=self._hang_up, after_each=self._recovery.went_on)
        self._born, self._moments = time.monotonic(), Moments()

    # --- the loop ---

    def run(self, burst: bool = False) -> None:
        """Work until SIGTERM, SIGINT or ``stop``; with ``burst``, until nothing more is due.

        It waits while Redis or the database is away, at the start too, and says so once.
        """
        self._install_signal_handlers()
        troubles.process = self.name[:100]
        try:
            while not self._stopping:
                self._show_health()
                try:
                    moved = self._turn()
                except DatabaseError as error:
                    self._recovery.doubt()
                    for connection in connections.all(initialized_only=True):
                        connection.close_if_unusable_or_obsolete()
                    self._pause(self._duties.failed(DATABASE, error))
                    continue
                self._duties.worked(DATABASE)
                if burst and not moved and not self._unpushed and time.monotonic() < min(self._due_at, self._fire_at):
                    break
                if not moved or not burst:
                    self._wait(self._seconds_to_wait(moved))
        finally:
            self._leave()
            self._health.remove()
            has_ended()

    def stop(self) -> None:
        """Ask ``run`` to finish its chunk and return. For a signal handler or another thread."""
        self._stopping = True

    def _turn(self) -> int:
        """Do everything that is due; how many jobs were promoted. Raises the database's errors when it is away."""
        turn = self._turn_of
        turn(LISTENING, 0, self._listen, needs_server=True)
        moved = 0
        # Not while Redis is away, for such rows stay what they are, scheduled.
        if self._pubsub is not None and (self._unpushed or time.monotonic() >= self._due_at):
            moved = turn(PROMOTION, 0, lambda: len(self.enqueue_jobs()), needs_server=True)
        moved += self._recur()
        turn("registration", REGISTER_SECONDS, self.heartbeat, needs_server=True)
        agenda = self._recovery.look()
        self._due_at = time.monotonic() + (math.inf if agenda.due_in is None else agenda.due_in)
        self._recovery.tick(agenda, each=self._recover)
        turn("sweep", SWEEP_SECONDS, self.sweep, needs_server=True)
        if self._duties.have_changed():
            self._duties.again_in("row", 0.0)
        turn("row", REGISTER_SECONDS, self._show)
        turn("tidying", TIDY_SECONDS, fleet.tidy)
        turn("alerts", ALERT_SECONDS, watching.watch)
        turn("dead man's switch", DEAD_MAN_SECONDS, dead_man.call_dead_man)
        turn(OLD_ALERTS, RETENTION_SECONDS, partial(self._erase, OLD_ALERTS, watching.age_out))
        turn(RETENTION, RETENTION_SECONDS, partial(self._erase, RETENTION, recovery.age_out))
        turn(OLD_COUNTS, RETENTION_SECONDS, partial(self._erase, OLD_COUNTS, folding.prune))
        look = partial(self._erase, LEFTOVERS, self._leftovers.clear, pause=LOOK_SECONDS)
        turn(LEFTOVERS, LEFTOVERS_SECONDS, look, needs_server=True)
        return moved

    def _recur(self) -> int:
        """Fire the recurring jobs whose time has come; how many. Redis is not needed: their jobs wait for it."""
        turn, fired = self._turn_of, 0
        if not self._is_told:
            turn("recurring jobs of the code", 0, self._tell)
        if time.monotonic() >= self._fire_at:
            fired = turn("recurring jobs", 0, self._fire)
        turn("recurring jobs to come", 0, self._look_ahead)
        seconds = jobs_settings().recovery_seconds
        if self._recurring.held:
            fired += turn("held occurrences", seconds, lambda: firing.fire_held().jobs)
        if self._recurring.heartbeats:
            turn("heartbeats", seconds, heartbeats.send)
        return fired

    def _tell(self) -> None:
        declared.sync()
        self._is_told = True

    def _look_ahead(self) -> None:
        self._recurring = firing.agenda()
        due_in = self._recurring.due_in
        self._fire_at = time.monotonic() + (math.inf if due_in is None else due_in)

    def _fire(self) -> int:
        fired, until = 0, time.monotonic() + BUSY_SECONDS
        while not self._stopping:
            found = firing.fire_due()
            fired += found.jobs
            self._recovery.went_on()
            if found.looked_at < firing.CHUNK or time.monotonic() > until:
                break
        return fired

    def _recover(self, duty: recovery.Duty) -> int:
        seconds = jobs_settings().recovery_seconds
        return self._turn_of(duty.name, seconds, duty.act, needs_server=duty.needs_transport)

    def _turn_of(self, name: str, seconds: float, act: Callable[[], int | None], *, needs_server: bool = False) -> int:
        # Asked to stop, it begins no further duty: each may wait for the database.
        return 0 if self._stopping else self._duties.turn(name, seconds, act, needs_server=needs_server)

    def _erase(self, name: str, one_chunk: Callable[[], bool], *, pause: float = ERASE_SECONDS) -> None:
        if one_chunk():
            self._duties.again_in(name, pause)

    def _seconds_to_wait(self, moved: int) -> float:
        now = time.monotonic()
        idle = min(IDLE_SECONDS, self._duties.seconds_until_turn())
        due_at = min(self._due_at, self._fire_at)
        if due_at > now or moved:
            self._fruitless = 0
            return max(0.0, min(idle, due_at - now))
        # Due, yet not moved: in another scheduler's hands. Asked again soon, but never in a spin.
        self._fruitless = min(self._fruitless + 1, 10)
        return min(idle, 0.002 * 2.0**self._fruitless)

    # --- promotion ---

    def enqueue_jobs(self) -> list[Message]:
        """Move what is due to its queues, at most for BUSY_SECONDS. The messages moved."""
        moved = self._push()
        until = time.monotonic() + BUSY_SECONDS
        while not self._stopping:
            self._unpushed = lifecycle.promote_due(limit=CHUNK)
            full = len(self._unpushed) >= CHUNK
            moved += self._push()
            if not full or time.monotonic() > until:
                break
        return moved

    def _push(self) -> list[Message]:
        # After the promotion's commit, and kept until it worked: a job that is pushed twice still runs once.
        messages = self._unpushed
        try:
            self._transport.publish(messages)
        except TransportUnavailable:
            raise
        except (InvalidJob, RedisError) as error:
            self.log.warning("%d due jobs could not be pushed together, so one by one: %s", len(messages), error)
            self._push_singly(messages)
        self._unpushed = []
        return messages

    def _push_singly(self, messages: list[Message]) -> None:
        for message in messages:
            try:
                self._transport.publish([message])
            except TransportUnavailable:
                raise
            except (InvalidJob, RedisError):
                self.log.exception("job %s could not be pushed to queue %r", message.job_id, message.queue)

    def sweep(self) -> int:
        """Drop long overdue members of the delayed set whose jobs are no longer scheduled. How many were dropped.

        Members of other programs stay. It looks at one part of the set at a time.
        """
        with transport_errors():
            overdue = [SWEEP_SECONDS, self._sweep_offset, SWEEP_CHUNK]
            ids: list[bytes] = OVERDUE(self.connection, [DELAYED_KEY], overdue)
        ours = {text: parsed for raw in ids if (parsed := parse_rq_job_id(text := raw.decode(errors="replace")))}
        rows = JobRecord.objects.using(lifecycle.database()).filter(state=State.SCHEDULED)
        waiting = set(rows.filter(pk__in=[job_id for job_id, _ in ours.values()]).values_list("pk", "token"))
        stale = [text for text, parsed in ours.items() if parsed not in waiting]
        # The next look begins behind what stays, and at the front again once the end was seen.
        self._sweep_offset = self._sweep_offset + len(ids) - len(stale) if len(ids) == SWEEP_CHUNK else 0
        if not stale:
            return 0
        with transport_errors():
            return int(FORGET_DELAYED(self.connection, [DELAYED_KEY], stale))

    # --- waiting ---

    def _listen(self) -> None:
        if self._pubsub is None:
            with transport_errors():
                pubsub = self.connection.pubsub(ignore_subscribe_messages=True)
                pubsub.subscribe(WAKE_CHANNEL)
                self._pubsub = pubsub
            met()  # else what is pushed now would be refused by what this process remembers

    def _wait(self, seconds: float) -> None:
        """Wait until a sooner job is announced, at most ``seconds``. In slices: a signal ends no wait in Python."""
        until = time.monotonic() + seconds
        try:
            while not self._stopping and self._pubsub is not None and (left := until - time.monotonic()) > 0:
                with transport_errors():
                    if self._pubsub.get_message(timeout=min(left, SLICE_SECONDS)) is not None:
                        while self._pubsub.get_message() is not None:
                            pass  # many announcements are one reason to look
                        self._due_at = 0.0
                        return
        except TransportUnavailable as error:
            self._duties.server_lost(LISTENING, error)
        self._pause(until - time.monotonic())

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._stopping and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, SLICE_SECONDS))
            self._show_health()

    def _show_health(self) -> None:
        away = next((what for what in (DATABASE, fleet.QUEUE_SERVER) if self._duties.fails(what)), "")
        self._health.beat(f"waiting for the {away}" if away else READY)

    def _hang_up(self) -> None:
        if self._pubsub is not None:
            self._pubsub.close()
            self._pubsub = None

    # --- what RQ's tools see of it ---

    def heartbeat(self) -> None:
        """Register, or register again: the key may have expired, or Redis was flushed."""
        with transport_errors(), self.connection.pipeline() as pipe:
            pipe.hsetnx(self.key, "birth", str(time.time()))
            pipe.expire(self.key, int(self._interval) + 10)
            pipe.execute()

    def _show(self) -> None:
        """Write the row that the console shows."""
        now = self._moments.now()
        row = WorkerProcess(
            name=self.name[:100],
            kind="scheduler",
            host=socket.gethostname()[:100],
            pid=os.getpid(),
            started_at=self._moments.at(self._born),
            heartbeat_at=now,
            memory_bytes=memory_bytes(os.getpid()),
            lag_seconds=fleet.lag_seconds(),
            troubles=[
                {"what": what, "since": self._moments.at(since).isoformat(), "reason": reason}
                for what, since, reason in self._duties.troubles()
            ],
        )
        fleet.beat([row])

    def _leave(self) -> None:
        self._hang_up()
        if not self._duties.fails(DATABASE):  # which would be waited for in vain; the row grows old by itself
            with contextlib.suppress(DatabaseError):
                fleet.leave([self.name[:100]])
        try:
            with transport_errors():
                self.register_death()
        except TransportUnavailable:
            pass  # its key expires by itself

    def _install_signal_handlers(self) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, self._on_stop)
            signal.signal(signal.SIGTERM, self._on_stop)

    def _on_stop(self, *_: object) -> None:
        self.stop()
        end_after(jobs_settings().shutdown_grace_seconds, self._cut)

    def _cut(self) -> None:
        self.log.warning("asked to stop and kept waiting, by the database as likely as not: ends as it is")

    def acquire_lock(self) -> bool:
        """True: nothing here needs a lock."""
        return True

    def remove_lock(self) -> None:
        """Nothing to remove."""

    # --- what this scheduler does not carry ---

    def _refuse(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        """Raises NotImplementedError: only jobs with a record are moved, so these would wait for ever."""
        raise NotImplementedError(
            "use handlers.job_scheduler.schedule: this scheduler moves only jobs that have a record"
        )

    enqueue_at = enqueue_in = schedule = cron = change_execution_time = enqueue_job = _refuse
