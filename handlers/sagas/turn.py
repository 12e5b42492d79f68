"""One call of a saga's method, and what it asks for. Nothing is written before it has returned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NamedTuple

from handlers import carried
from handlers.commands import DeleteJobCommand, EnqueueJobCommand, ScheduleJobCommand
from handlers.deadlines import LONGEST_WAIT, utc
from handlers.exceptions import InvalidJob
from handlers.job_ids import job_ids
from handlers.lifecycle import JobId, NewJob
from handlers.payloads import Command, Job
from handlers.sagas.types import SagaType
from handlers.unique import Hold

BARRED = (
    "a saga's method only asks for commands, which are carried out once it has returned: self.send(command),"
    " self.send(EnqueueJobCommand(job)), self.send(ScheduleJobCommand(job, at)), self.cancel(job_id)"
)
Make = Callable[..., tuple[list[NewJob], list[Hold | None] | None]]  # jobs to be, as the gateway checks them
Create = Callable[[NewJob, Hold | None], JobId]  # the id that a job has or will have
Owns = Callable[[int], bool]  # whether a job is the saga's own, by an earlier turn


class Timeout(NamedTuple):
    """A timeout that a saga asks for."""

    name: str
    delay: timedelta
    job_id: int


@dataclass(slots=True)
class Turn:
    """What one method asks for while it is called."""

    saga_type: SagaType
    correlation: str
    make: Make
    create: Create
    owns: Owns
    asked: list[dict[str, Any]] = field(default_factory=list)  # as SagaTurn has it
    timeouts: list[Timeout] = field(default_factory=list)
    cancelled: list[int] = field(default_factory=list)
    is_complete: bool = False

    def send(self, command: Any) -> JobId:
        """See ``Saga.send``."""
        told: dict[str, Any] = {}
        match command:
            case EnqueueJobCommand(job, delay, expires, unique, priority):
                made = self._make(job, expires, unique, priority, delay=delay)
                told = {"delay": delay.total_seconds()} if delay else {}
            case ScheduleJobCommand(job, at, expires, unique, priority):
                made = self._make(job, expires, unique, priority, run_at=utc("at", at))
                told = {"at": at.isoformat()}
            case DeleteJobCommand(job_id):
                self.cancel(job_id)
                return JobId(job_id)
            case Command():
                made = self._make(command, None, None, None)
            case Job():
                raise InvalidJob(
                    f"{self.saga_type.name}: send takes a command, not a job: self.send(EnqueueJobCommand("
                    f"{type(command).__qualname__}(...)))",
                    field="command",
                )
            case _:
                raise InvalidJob(
                    f"{self.saga_type.name}: send takes a command, not a {type(command).__qualname__}", field="command"
                )
        new, holds = made
        job_id = self.create(new[0], holds[0] if holds else None)
        self.asked.append({"do": "send", "type": new[0].job_type, "job": int(job_id), **told})
        return job_id

    def _make(
        self, job: Any, expires: Any, unique: Any, priority: int | None, **when: Any
    ) -> tuple[list[NewJob], list[Hold | None] | None]:
        return self.make([job], None, self.correlation, expires, unique, priority, **when)

    def cancel(self, job_id: Any) -> None:
        """See ``Saga.cancel``."""
        known = job_ids([job_id])
        if not known:
            raise InvalidJob(f"{self.saga_type.name}: cancel takes a job's id, not {job_id!r}", field="job_id")
        if not any(each["do"] != "cancel" and each.get("job") == known[0] for each in self.asked) and (
            not self.owns(known[0])
        ):
            raise InvalidJob(
                f"{self.saga_type.name}: job_id: this saga has not sent job {known[0]}: cancel takes what self.send or"
                " self.timeout has answered. To delete another one's, send a command whose handler calls"
                " job_scheduler.delete",
                field="job_id",
            )
        self.cancelled += known
        self.asked.append({"do": "cancel", "job": known[0]})

    def timeout(self, name: str, delay: timedelta) -> JobId:
        """See ``Saga.timeout``."""
        if not isinstance(name, str) or name not in self.saga_type.timeouts:
            raise InvalidJob(
                f'{self.saga_type.name}: timeout: it has no method for {name!r}: mark one with @on_timeout("{name}")',
                field="name",
            )
        if not isinstance(delay, timedelta) or not timedelta(0) <= delay <= LONGEST_WAIT:
            raise InvalidJob(
                f"{self.saga_type.name}: timeout: delay must be a timedelta from 0 to 3,650 days, not {delay!r}",
                field="delay",
            )
        new = NewJob(
            self.saga_type.name, b"", self.saga_type.queue, delay=delay, correlation=self.correlation,
            priority=self.saga_type.priority, context=carried.capture(),
        )  # fmt: skip
        job_id = self.create(new, None)
        self.timeouts.append(Timeout(name, delay, job_id))
        self.asked.append({"do": "timeout", "name": name, "job": int(job_id), "delay": delay.total_seconds()})
        return job_id

    def complete(self) -> None:
        """See ``Saga.complete``."""
        if not self.is_complete:
            self.is_complete = True
            self.asked.append({"do": "complete"})


def call(saga_type: SagaType, state: Any, method: str, args: tuple[Any, ...], turn: Turn) -> Any:
    """The state after the method was called with it. Raises what that raises."""
    saga = saga_type.saga_class()
    saga.state, saga._turn = state, turn
    try:
        getattr(saga, method)(*args)
    finally:
        saga._turn = None
    return saga.state
