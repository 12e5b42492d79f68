"""What a round has come to is written: sagas, their timelines, deliveries, jobs and timeouts, in few statements."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any

from django.db import connections, transaction

from handlers import lifecycle, uniqueness
from handlers.events import rows as deliveries
from handlers.events.freeing import free, release, watch
from handlers.events.rows import Taken
from handlers.lifecycle import JobId, NewJob
from handlers.models import DeliveryState
from handlers.publishing import publish_on_commit
from handlers.sagas import rows
from handlers.sagas.found import Found
from handlers.sagas.turn import Turn
from handlers.sagas.types import SagaType
from handlers.states import State
from handlers.transport import Message
from handlers.unique import Hold

if TYPE_CHECKING:
    from handlers.sagas.round import Round

CANCELLED, OUTLIVED = "cancelled by its saga", "its saga is complete"
STEPS = 20  # into which the time until a saga is stuck is divided: the column, which has an index, seldom changes


class Jobs:
    """What sagas ask for in one round: jobs to be, timeouts, and jobs to be deleted."""

    def __init__(self, saga_type: SagaType, number: int, using: str) -> None:
        self._type, self._number, self._using = saga_type, number, using
        self._ids: Iterator[int] = iter(())
        self._asked: list[NewJob] = []  # by the method that is called
        self.new: list[NewJob] = []
        self.messages: list[Message] = []  # of those that are there already
        self.stale: list[Message] = []
        self.timeouts: dict[tuple[int, str], tuple[Found, int, timedelta]] = {}  # by saga (identity) and name
        self.named: dict[int, tuple[Found, str]] = {}  # by their jobs
        self.cancelled: dict[int, str] = {}  # and why
        self.completed: list[Found] = []

    @contextmanager
    def tried(self) -> Iterator[None]:
        """Around a method: what it asks for is nothing, should it raise."""
        self._asked, number, stale = [], len(self.messages), len(self.stale)
        try:
            yield
        except BaseException:
            self._asked, self._ids = [], iter(())  # on SQLite their reservation may be taken back, too
            del self.messages[number:], self.stale[stale:]
            raise

    def create(self, new: NewJob, hold: Hold | None) -> JobId:
        """The id of a job that a method asks for. One that wants to be the only one is made, or found, at once."""
        if hold is not None:
            made = uniqueness.create([new], [hold], actor="", using=self._using)
            self.messages += made.messages
            self.stale += made.stale
            return made.ids[0]
        job_id = next(self._ids, None)
        if job_id is None:
            self._ids = iter(lifecycle.reserve(self._number, using=self._using))
            job_id = next(self._ids)
        self._asked.append(new._replace(job_id=job_id))
        return JobId(job_id)

    def took_back(self, job_id: int, saga: Found, name: str) -> bool:
        """Whether a turn of this round has cancelled a timeout, or asked for another one in its place."""
        return job_id in self.cancelled or (id(saga), name) in self.timeouts

    def keep(self, saga: Found, turn: Turn) -> None:
        """The method has returned: what it asked for is to be done."""
        self.new += self._asked
        self._asked = []
        for name, delay, timeout_id in turn.timeouts:
            if (before := self.timeouts.pop((id(saga), name), None)) is not None:
                self.cancelled[before[1]] = CANCELLED
            self.timeouts[id(saga), name] = saga, timeout_id, delay
            self.named[timeout_id] = saga, name
        for cancelled in turn.cancelled:
            self.cancelled[cancelled] = CANCELLED
            if (found := self.named.get(cancelled)) is not None:
                saga_of, name = found
                if (standing := self.timeouts.get((id(saga_of), name))) is not None and standing[1] == cancelled:
                    del self.timeouts[id(saga_of), name]
        if turn.is_complete:
            self.completed.append(saga)


class Savepoint:
    """A savepoint from the first statement on that is run within; most methods run none, and cost nothing more."""

    def __init__(self, using: str) -> None:
        self._connection = connections[using]
        self._has_begun = False
        self._atomic: transaction.Atomic | None = None  # entered, else its end would be the outer one's
        self._wrapper = self._connection.execute_wrapper(self._before)

    def __enter__(self) -> None:
        self._wrapper.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._wrapper.__exit__(None, None, None)
        if self._atomic is not None:
            self._atomic.__exit__(kind, error, trace)

    def _before(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if not self._has_begun:
            self._has_begun = True
            atomic = transaction.atomic(using=self._connection.alias)  # noqa: TID251 - a part of one that writes
            atomic.__enter__()
            self._atomic = atomic
        return execute(sql, params, many, context)


def write(of: Round) -> None:
    """Write what a round has come to, but sagas and keys that are new, which are there."""
    using, now = of.using, of.now
    changed = [saga for saga in (*of.sagas.values(), *of.new) if saga.is_changed]
    if changed:
        later = _stuck_at(now, of.type.stuck_after)
        rows.change(
            [
                (saga.id, saga.data, saga.turns, None if saga.is_complete else later, saga.is_complete, saga.error,
                 saga.unreadable)
                for saga in changed
            ],
            now,
            using=using,
        )  # fmt: skip
        rows.add_turns([turn for saga in changed for turn in saga.new_turns()], using=using)
    deliveries.keep(
        [
            Taken(each.coming.id, each.state, each.saga.id if each.saga else None, each.error)
            for each in of.over.values()
        ],
        using=using,
    )
    _write_jobs(of)
    if of.to_watch:
        watch(of.to_watch, using=using)
    _wake(of)


def _stuck_at(now: datetime, after: timedelta) -> datetime:
    step = max(after / STEPS, timedelta(seconds=1)).total_seconds()
    at = (now + after).timestamp()
    return datetime.fromtimestamp(at - at % step + step, tz=now.tzinfo)


def _write_jobs(of: Round) -> None:
    jobs, using = of.jobs, of.using
    new = [_with_payload(job, jobs) for job in jobs.new]
    messages = lifecycle.create(new, using=using) if new else []
    if of.type.timeouts:
        _write_timeouts(of)
    cancelled = [job_id for job_id in jobs.cancelled if jobs.cancelled[job_id] == CANCELLED]
    outlived = [job_id for job_id in jobs.cancelled if jobs.cancelled[job_id] == OUTLIVED]
    stale = jobs.stale
    for ids, why in ((cancelled, CANCELLED), (outlived, OUTLIVED)):
        if ids:
            applied = lifecycle.delete(ids, actor=of.type.name, reason=why)
            stale = [*stale, *applied.stale]
    gone = {message.job_id for message in stale}
    messages = [message for message in (*jobs.messages, *messages) if message.job_id not in gone]
    publish_on_commit(messages, using=using, stale=stale)


def _with_payload(job: NewJob, jobs: Jobs) -> NewJob:
    if job.job_id not in jobs.named:
        return job
    saga, name = jobs.named[job.job_id]
    return job._replace(payload=json.dumps({"saga": saga.id, "timeout": name}).encode())


def _write_timeouts(of: Round) -> None:
    jobs, using = of.jobs, of.using
    if jobs.cancelled or of.fired:
        rows.void_timeouts(jobs=[*jobs.cancelled, *of.fired], using=using)
    over = {id(saga) for saga in jobs.completed}
    if jobs.completed:
        ids = [saga.id for saga in jobs.completed if saga.id is not None]
        jobs.cancelled |= dict.fromkeys(rows.void_timeouts(sagas=ids, using=using), OUTLIVED)
    standing = [(saga, name, job_id, delay) for (_, name), (saga, job_id, delay) in jobs.timeouts.items()]
    jobs.cancelled |= {job_id: OUTLIVED for saga, _, job_id, _ in standing if id(saga) in over}
    values = [
        (saga.id, name, job_id, of.now + delay)
        for saga, name, job_id, delay in standing
        if id(saga) not in over and saga.id is not None
    ]
    if values:
        jobs.cancelled |= dict.fromkeys(rows.replace_timeouts(values, using=using), CANCELLED)


def _wake(of: Round) -> None:
    """Let jobs end that slept, and whose deliveries others have taken; and go on those whose turn it is now.

    What was under way as we looked may sleep by now: whoever let it sleep did not see what we do.
    """
    slept = [
        each.coming.job_id
        for each in of.over.values()
        if each.coming.event_id not in of.wants
        and each.state in (DeliveryState.DONE, DeliveryState.IGNORED)
        and each.coming.job_state in (State.SCHEDULED, State.PROCESSING)
    ]
    release(slept, using=of.using)
    if of.to_free:
        free(of.type.names, sorted(of.to_free), using=of.using)
