"""Test tools for apps that have jobs. Nothing that runs in production imports this.

``run_due_jobs`` runs what is due by the real life cycle, in the test's own process and transaction, without Redis.
``assert_enqueued`` and ``captured_jobs`` look at what was enqueued, ``fail_next`` lets an attempt fail, ``at_time``
passes time, ``token`` is for a handler that is called directly, ``running_worker`` starts real processes.
``JobsTestMixin`` has them as methods of a test case; the pytest plugin, as fixtures. See docs/testing.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from handlers.lazily import lazy

__all__ = [  # noqa: RUF022 - grouped by use
    # run
    "run_due_jobs",
    "arun_due_jobs",
    "Run",
    "Runs",
    "fail_next",
    "at_time",
    # look at what was enqueued
    "assert_enqueued",
    "assert_not_enqueued",
    "captured_jobs",
    "Captured",
    "CapturedJobs",
    # a handler by itself
    "token",
    # Redis, or not
    "without_redis",
    "running_worker",
    # in a test case
    "JobsTestMixin",
]

if TYPE_CHECKING:
    from handlers.in_process.attempts import Run
    from handlers.testing.cases import JobsTestMixin
    from handlers.testing.clock import at_time
    from handlers.testing.due import Runs, arun_due_jobs, run_due_jobs
    from handlers.testing.enqueued import Captured, CapturedJobs, assert_enqueued, assert_not_enqueued, captured_jobs
    from handlers.testing.failing import fail_next
    from handlers.testing.tokens import token
    from handlers.testing.unsent import without_redis
    from handlers.testing.workers import running_worker
else:
    # pytest imports the plugin before Django is set up: what needs models is looked up when first used.
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "Run": "handlers.in_process.attempts",
            "JobsTestMixin": "handlers.testing.cases",
            "at_time": "handlers.testing.clock",
            **dict.fromkeys(("Runs", "arun_due_jobs", "run_due_jobs"), "handlers.testing.due"),
            **dict.fromkeys(
                ("Captured", "CapturedJobs", "assert_enqueued", "assert_not_enqueued", "captured_jobs"),
                "handlers.testing.enqueued",
            ),
            "fail_next": "handlers.testing.failing",
            "token": "handlers.testing.tokens",
            "without_redis": "handlers.testing.unsent",
            "running_worker": "handlers.testing.workers",
        },
    )
