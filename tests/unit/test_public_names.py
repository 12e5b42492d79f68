"""What ``handlers`` offers."""

from __future__ import annotations

import subprocess
import sys

import pytest

import handlers

PUBLIC = [
    "CancellationToken",
    "Command",
    "DeleteJobCommand",
    "recurring",
    "Unique",
    "Limit",
    "DuplicateJob",
    "EnqueueJobCommand",
    "Event",
    "ExecuteCommandJob",
    "ExponentialBackoff",
    "FixedBackoff",
    "GiveUp",
    "InvalidJob",
    "Job",
    "JobCancelled",
    "JobHandler",
    "JobId",
    "JobTimeout",
    "JobsError",
    "LinearBackoff",
    "NoHandler",
    "PolynomialBackoff",
    "RetryAfter",
    "Run",
    "Saga",
    "Snooze",
    "WaitFor",
    "SignalJobCommand",
    "Chunk",
    "current_run",
    "RetryPolicy",
    "ScheduleJobCommand",
    "Sensitive",
    "command_bus",
    "context",
    "event_bus",
    "on",
    "on_event",
    "on_timeout",
    "starts",
    "handles",
    "handles_command",
    "handles_many",
    "job_scheduler",
]


def test_public_names_are_exactly_these() -> None:
    assert sorted(handlers.__all__) == sorted(PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_public_name_is_there_and_listed(name: str) -> None:
    assert getattr(handlers, name) is not None
    assert name in dir(handlers)


@pytest.mark.parametrize("name", PUBLIC)
def test_public_name_has_a_docstring(name: str) -> None:
    thing = getattr(handlers, name)
    assert (thing if callable(thing) else type(thing)).__doc__


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        handlers.nonsense  # type: ignore[attr-defined]  # noqa: B018


def test_import_works_before_django_is_set_up() -> None:
    """An app's modules may import the names before the models are loaded; only the lazy ones need them."""
    code = "import handlers, sys; handlers.Job; sys.exit('handlers.models' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
