"""The test tools as methods of a test case."""

from __future__ import annotations

import unittest
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from typing import Any

from handlers.models import JobRecord
from handlers.testing import due, enqueued, failing
from handlers.testing.enqueued import CapturedJobs
from handlers.testing.unsent import unless_eager


class JobsTestMixin(unittest.TestCase):
    """Put it before ``TestCase`` or ``TransactionTestCase``: its tests need no Redis, and have the tools as methods.

    With ``JOBS["EAGER"]``, which a test may set, jobs run as they are committed.
    """

    def setUp(self) -> None:
        """Publish nothing until the test ends; forget then what was to fail."""
        super().setUp()
        without = unless_eager()
        without.__enter__()
        self.addCleanup(without.__exit__, None, None, None)
        self.addCleanup(failing.forget_failures)

    run_due_jobs: Callable[..., due.Runs] = staticmethod(due.run_due_jobs)
    arun_due_jobs: Callable[..., Coroutine[Any, Any, due.Runs]] = staticmethod(due.arun_due_jobs)
    failNext = staticmethod(failing.fail_next)  # noqa: N815 - as unittest names things
    assertEnqueued: Callable[..., JobRecord] = staticmethod(enqueued.assert_enqueued)  # noqa: N815
    assertNotEnqueued: Callable[..., None] = staticmethod(enqueued.assert_not_enqueued)  # noqa: N815
    captureJobs: Callable[[], AbstractContextManager[CapturedJobs]] = staticmethod(enqueued.captured_jobs)  # noqa: N815
