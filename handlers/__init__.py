"""Durable background jobs for Django. Everything public imports from here; ``JobRecord`` from ``handlers.models``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from handlers.cancellation import CancellationToken
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
)
from handlers.lazily import lazy
from handlers.limited import Limit
from handlers.payloads import Command, ExecuteCommandJob, Job
from handlers.registry import JobHandler, handles, handles_command
from handlers.retries import ExponentialBackoff, FixedBackoff, LinearBackoff, PolynomialBackoff, RetryPolicy
from handlers.sensitive import Sensitive
from handlers.unique import Unique

__all__ = [  # noqa: RUF022 - grouped by use
    # declare
    "Job",
    "JobHandler",
    "handles",
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
    "GiveUp",
    # enqueue, schedule, and every other verb
    "job_scheduler",
    "JobId",
    # jobs that recur
    "recurring",
    # commands
    "Command",
    "handles_command",
    "command_bus",
    "ExecuteCommandJob",
    "EnqueueJobCommand",
    "ScheduleJobCommand",
    "DeleteJobCommand",
    # errors
    "JobsError",
    "InvalidJob",
    "NoHandler",
    "DuplicateJob",
    "JobCancelled",
    "JobTimeout",
]

if TYPE_CHECKING:
    from handlers.commands import DeleteJobCommand, EnqueueJobCommand, ScheduleJobCommand, command_bus
    from handlers.gateway import job_scheduler
    from handlers.lifecycle import JobId
    from handlers.recurrence.declared import recurring
    from handlers.runs.run import Run, current_run
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
            "command_bus": "handlers.commands",
            "EnqueueJobCommand": "handlers.commands",
            "ScheduleJobCommand": "handlers.commands",
            "DeleteJobCommand": "handlers.commands",
        },
    )
