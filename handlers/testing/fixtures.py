"""The test tools as pytest fixtures. pytest finds this module by its entry point, in any project.

Imported before Django is set up, and in projects that have no jobs: nothing is imported but when it is used.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from handlers.testing import CapturedJobs, Runs


@pytest.fixture(autouse=True)
def _no_failures_left() -> Iterator[None]:
    yield
    if (failing := sys.modules.get("handlers.testing.failing")) is not None:
        failing.forget_failures()


@pytest.fixture
def jobs_without_redis() -> Iterator[None]:
    """What the test enqueues is published nowhere."""
    from handlers.testing.unsent import unless_eager

    with unless_eager():
        yield


@pytest.fixture
def run_due_jobs(jobs_without_redis: None) -> Callable[..., Runs]:
    """``handlers.testing.run_due_jobs``, in a test without Redis."""
    from handlers import testing

    return testing.run_due_jobs


@pytest.fixture
def arun_due_jobs(jobs_without_redis: None) -> Callable[..., Coroutine[Any, Any, Runs]]:
    """The same for an async test."""
    from handlers import testing

    return testing.arun_due_jobs


@pytest.fixture
def captured_jobs(request: pytest.FixtureRequest, jobs_without_redis: None) -> CapturedJobs:
    """What the test has enqueued so far, in a test without Redis; with its database, where it asks for none."""
    if not {"transactional_db", "django_db_serialized_rollback"} & set(request.fixturenames):
        request.getfixturevalue("db")
    from handlers.testing.enqueued import CapturedJobs

    return CapturedJobs.from_now_on()


@pytest.fixture
def job_worker(transactional_db: None) -> Iterator[Any]:
    """A real worker and a scheduler while the test runs: ``handlers.testing.running_worker``."""
    from handlers.testing import running_worker

    with running_worker() as worker:
        yield worker
