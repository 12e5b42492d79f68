"""Commands: requests that a job carries out, and the four that act on the scheduler itself."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any

from handlers.cancellation import CancellationToken
from handlers.exceptions import InvalidJob, NoHandler
from handlers.gateway import job_scheduler
from handlers.lifecycle import JobId
from handlers.payloads import Command, ExecuteCommandJob, Job, Polymorphic, unwrap
from handlers.registry import handles_command, registry
from handlers.twins import twin

__all__ = [
    "CommandBus",
    "DeleteJobCommand",
    "EnqueueJobCommand",
    "ExecuteCommandJob",
    "ScheduleJobCommand",
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
    """Enqueue ``job``, a job or a command; after ``delay`` when given. Raises InvalidJob for a negative one."""

    job: AnyPayload
    delay: timedelta | None = None

    def __post_init__(self) -> None:
        if isinstance(self.delay, timedelta) and self.delay < timedelta(0):
            raise InvalidJob("EnqueueJobCommand: delay must not be negative", field="delay")


@dataclass(frozen=True)
class ScheduleJobCommand(Command):
    """Run ``job``, a job or a command, at ``at``, an aware datetime. Raises InvalidJob for a naive one."""

    job: AnyPayload
    at: datetime

    def __post_init__(self) -> None:
        if isinstance(self.at, datetime) and self.at.utcoffset() is None:
            raise InvalidJob("ScheduleJobCommand: at must be an aware datetime, such as timezone.now()", field="at")


@dataclass(frozen=True)
class DeleteJobCommand(Command):
    """Delete the job ``job_id``, as ``job_scheduler.delete`` does."""

    job_id: int


class CommandBus:
    """Sends commands: those that act on the scheduler act at once, every other one becomes a durable job."""

    def send(self, command: Command, *, by: Any = None, reason: str = "") -> JobId | bool:
        """Carry out or enqueue ``command``, in the caller's transaction.

        Returns the new job's id, so that a saga can delete what it scheduled; for a ``DeleteJobCommand`` whether the
        job was deleted. ``by``: the user who asks, for the audit, with a ``reason``. Raises InvalidJob or NoHandler as
        the scheduler does.
        """
        match command:
            case EnqueueJobCommand(job, delay):
                return job_scheduler.enqueue(job, delay=delay, by=by, reason=reason)
            case ScheduleJobCommand(job, at):
                return job_scheduler.schedule(job, at, by=by, reason=reason)
            case DeleteJobCommand(job_id):
                return job_scheduler.delete(job_id, by=by, reason=reason)
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
        return job_type.run(unwrap(command), token or CancellationToken(job_id=0, attempt=1))

    asend = twin(send)


command_bus = CommandBus()


# What a worker does with one of them that was enqueued itself. The names are fixed: stored jobs carry them.


@handles_command(EnqueueJobCommand, name="jobs.EnqueueJobCommand")
def enqueue_job(command: EnqueueJobCommand) -> None:
    """Enqueue a job."""
    command_bus.send(command)


@handles_command(ScheduleJobCommand, name="jobs.ScheduleJobCommand")
def schedule_job(command: ScheduleJobCommand) -> None:
    """Schedule a job."""
    command_bus.send(command)


@handles_command(DeleteJobCommand, name="jobs.DeleteJobCommand")
def delete_job(command: DeleteJobCommand) -> None:
    """Delete a job."""
    command_bus.send(command)
