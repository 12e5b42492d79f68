"""Commands: requests that a job carries out, and the ones that act on the scheduler itself."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any

from handlers.cancellation import CancellationToken
from handlers.deadlines import Expiry, check_delay, deadline, too_early
from handlers.exceptions import GiveUp, InvalidJob, NoHandler
from handlers.gateway import job_scheduler
from handlers.lifecycle import JobId
from handlers.payloads import Command, ExecuteCommandJob, Job, Polymorphic, unwrap
from handlers.priorities import check_priority
from handlers.registry import handles_command, registry
from handlers.runs.run import current_run
from handlers.twins import twin
from handlers.unique import Rule

__all__ = [
    "CommandBus",
    "DeleteJobCommand",
    "EnqueueJobCommand",
    "ExecuteCommandJob",
    "ScheduleJobCommand",
    "SignalJobCommand",
    "command_bus",
]


def _to_json(payload: Any) -> dict[str, Any]:
    try:
        job_type = registry.for_object(payload)
    except (NoHandler, InvalidJob) as error:
        raise InvalidJob(str(error)) from error  # about the field as a whole
    return {"type": job_type.name, "payload": json.loads(job_type.encode(payload))}


def _from_json(name: str, data: Any) -> Job | Command:
    try:
        return registry.get(name).decode(data)
    except NoHandler as error:
        raise InvalidJob(str(error)) from error


AnyPayload = Annotated[Job | Command, Polymorphic(_to_json, _from_json)]


@dataclass(frozen=True)
class EnqueueJobCommand(Command):
    """Enqueue ``job``, a job or a command; after ``delay`` when given.

    ``expires``, ``unique`` and ``priority`` as of ``job_scheduler.enqueue``; ``delay`` and an ``expires`` that is a
    timedelta count from when this is carried out. Raises InvalidJob for a negative delay, a deadline that is none or
    that is over when the job is due, a rule that does not fit the job, what is no priority.
    """

    job: AnyPayload
    delay: timedelta | None = None
    expires: Expiry = None
    unique: Rule = None
    priority: int | None = None

    def __post_init__(self) -> None:
        if self.delay is not None:
            check_delay(self.delay)
        _check_expires(self.expires, self.delay)
        _check_unique(self.unique, self.job)
        if self.priority is not None:
            check_priority(self.priority)


@dataclass(frozen=True)
class ScheduleJobCommand(Command):
    """Run ``job``, a job or a command, at ``at``, an aware datetime.

    ``expires``, ``unique`` and ``priority`` as of ``job_scheduler.schedule``; a timedelta counts from when this is
    carried out. Raises InvalidJob for a naive ``at``, and else as ``EnqueueJobCommand``.
    """

    job: AnyPayload
    at: datetime
    expires: Expiry = None
    unique: Rule = None
    priority: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.at, datetime) or self.at.utcoffset() is None:
            raise InvalidJob("ScheduleJobCommand: at must be an aware datetime, such as timezone.now()", field="at")
        _check_expires(self.expires, self.at)
        _check_unique(self.unique, self.job)
        if self.priority is not None:
            check_priority(self.priority)


def _check_expires(expires: Expiry, due: datetime | timedelta | None) -> None:
    if expires is None:
        return
    at, wait = deadline(expires)
    # Where one is a moment and the other a wait, only when this is carried out can tell.
    is_over = isinstance(due, timedelta) and wait is not None and due and wait <= due
    if is_over or (isinstance(due, datetime) and at is not None and at <= due):
        raise too_early(expires)


def _check_unique(unique: Rule, job: object) -> None:
    if unique is not None:
        with suppress(NoHandler):  # what is said of the job once this is stored or carried out
            registry.for_object(job).rule(unique)


@dataclass(frozen=True)
class DeleteJobCommand(Command):
    """Delete the job ``job_id``, as ``job_scheduler.delete`` does."""

    job_id: int


@dataclass(frozen=True)
class SignalJobCommand(Command):
    """Give the job ``job_id`` the signal ``name``, as ``job_scheduler.signal`` does."""

    job_id: int
    name: str
    data: Any = None


class CommandBus:
    """Sends commands: those that act on the scheduler act at once, every other one becomes a durable job."""

    def send(self, command: Command, *, by: Any = None, reason: str = "") -> JobId | bool:
        """Carry out or enqueue ``command``, in the caller's transaction.

        Returns the new job's id, so that a saga can delete what it scheduled, or where ``unique`` says so that of the
        one that is there; for a ``DeleteJobCommand`` whether the job was deleted; for a ``SignalJobCommand`` whether
        there is such a job. ``by``: the user who asks, for the audit, with a ``reason``. Raises InvalidJob, NoHandler
        or DuplicateJob as the scheduler does.
        """
        match command:
            case EnqueueJobCommand(job, delay, expires, unique, priority):
                return job_scheduler.enqueue(
                    job, delay=delay, expires=expires, unique=unique, priority=priority, by=by, reason=reason
                )
            case ScheduleJobCommand(job, at, expires, unique, priority):
                return job_scheduler.schedule(
                    job, at, expires=expires, unique=unique, priority=priority, by=by, reason=reason
                )
            case DeleteJobCommand(job_id):
                return job_scheduler.delete(job_id, by=by, reason=reason)
            case SignalJobCommand(job_id, name, data):
                return job_scheduler.signal(job_id, name, data, by=by, reason=reason)
            case Command():
                return job_scheduler.enqueue(command, by=by, reason=reason)
        raise InvalidJob(
            f"send takes a Command, not a {type(command).__qualname__}: enqueue a job with job_scheduler.enqueue(job)",
            field="command",
        )

    def execute(self, command: Command, token: CancellationToken | None = None) -> Any:
        """Run the handler of ``command`` here and now, as a worker does, and return what it returns.

        Nothing is recorded or retried; what the handler raises comes through. Raises NoHandler when there is none.
        """
        job_type = registry.for_object(command)
        return job_type.run(unwrap(command), token or CancellationToken(job_id=0, attempt=1), current_run)

    asend = twin(send)


command_bus = CommandBus()


# What a worker does with one of them that was enqueued itself. The names are fixed: stored jobs carry them.


@handles_command(EnqueueJobCommand, name="jobs.EnqueueJobCommand")
def enqueue_job(command: EnqueueJobCommand) -> None:
    """Enqueue a job."""
    _carry_out(command)


@handles_command(ScheduleJobCommand, name="jobs.ScheduleJobCommand")
def schedule_job(command: ScheduleJobCommand) -> None:
    """Schedule a job."""
    _carry_out(command)


@handles_command(DeleteJobCommand, name="jobs.DeleteJobCommand")
def delete_job(command: DeleteJobCommand) -> None:
    """Delete a job."""
    command_bus.send(command)


@handles_command(SignalJobCommand, name="jobs.SignalJobCommand")
def signal_job(command: SignalJobCommand) -> None:
    """Give a job a signal."""
    try:
        command_bus.send(command)
    except InvalidJob as error:
        raise GiveUp(str(error)) from error  # the job has ended, or waits for another one


def _carry_out(command: EnqueueJobCommand | ScheduleJobCommand) -> None:
    try:
        command_bus.send(command)
    except InvalidJob as error:
        if error.field != "expires":
            raise
        raise GiveUp(str(error)) from error  # it comes too late, and trying again makes it no earlier
