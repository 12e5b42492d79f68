"""Durable background jobs for Django. Everything public imports from here; ``JobRecord`` from ``handlers.models``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from handlers.cancellation import CancellationToken
from handlers.carried import context
from handlers.exceptions import (
    DuplicateJob,
    GiveUp,
    InvalidJob,
    JobCancelled,
    JobsError,
    JobTimeout,
    NoHandler,
    RetryAfter,
    Snooze,
    WaitFor,
)
from handlers.lazily import lazy
from handlers.limited import Limit
from handlers.many.chunk import Chunk
from handlers.many.declaring import handles_many
from handlers.payloads import Command, Event, ExecuteCommandJob, Job
from handlers.registry import JobHandler, handles, handles_command
from handlers.retries import ExponentialBackoff, FixedBackoff, LinearBackoff, PolynomialBackoff, RetryPolicy
from handlers.sensitive import Sensitive
from handlers.unique import Unique

__all__ = [  # noqa: RUF022 - grouped by use
    # declare
    "Job",
    "JobHandler",
    "handles",
    "handles_many",
    "Chunk",
    "Sensitive",
    "Unique",
    "Limit",
    # retry policies
    "RetryPolicy",
    "FixedBackoff",
    "LinearBackoff",
    "ExponentialBackoff",
    "PolynomialBackoff",
    # inside a handler
    "CancellationToken",
    "Run",
    "current_run",
    "RetryAfter",
    "Snooze",
    "WaitFor",
    "GiveUp",
    # enqueue, schedule, and every other verb
    "job_scheduler",
    "JobId",
    "context",
    # jobs that recur
    "recurring",
    # events and sagas
    "Event",
    "event_bus",
    "on_event",
    "Saga",
    "starts",
    "on",
    "on_timeout",
    # commands
    "Command",
    "handles_command",
    "command_bus",
    "ExecuteCommandJob",
    "EnqueueJobCommand",
    "ScheduleJobCommand",
    "DeleteJobCommand",
    "SignalJobCommand",
    # errors
    "JobsError",
    "InvalidJob",
    "NoHandler",
    "DuplicateJob",
    "JobCancelled",
    "JobTimeout",
]

if TYPE_CHECKING:
    from handlers.commands import (
        DeleteJobCommand,
        EnqueueJobCommand,
        ScheduleJobCommand,
        SignalJobCommand,
        command_bus,
    )
    from handlers.events.bus import event_bus
    from handlers.events.functions import on_event
    from handlers.gateway import job_scheduler
    from handlers.lifecycle import JobId
    from handlers.recurrence.declared import recurring
    from handlers.runs.run import Run, current_run
    from handlers.sagas.saga import Saga, on, on_timeout, starts
else:
    # These need models, which cannot be imported before Django has loaded its apps: each is looked up when first used.
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "job_scheduler": "handlers.gateway",
            "JobId": "handlers.lifecycle",
            "recurring": "handlers.recurrence.declared",
            "Run": "handlers.runs.run",
            "current_run": "handlers.runs.run",
            "event_bus": "handlers.events.bus",
            "on_event": "handlers.events.functions",
            "Saga": "handlers.sagas.saga",
            "starts": "handlers.sagas.saga",
            "on": "handlers.sagas.saga",
            "on_timeout": "handlers.sagas.saga",
            "command_bus": "handlers.commands",
            "EnqueueJobCommand": "handlers.commands",
            "ScheduleJobCommand": "handlers.commands",
            "DeleteJobCommand": "handlers.commands",
            "SignalJobCommand": "handlers.commands",
        },
    )
