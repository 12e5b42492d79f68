"""Which type a test means."""

from __future__ import annotations

from typing import Any

from handlers.job_types import JobType
from handlers.payloads import Command, Job
from handlers.registry import registry


def type_of(given: Any) -> JobType:
    """The type of a job's or command's class, of one of these, or of a stored name. Raises NoHandler or InvalidJob."""
    if isinstance(given, str):
        return registry.get(given)
    if isinstance(given, type) and issubclass(given, Job | Command):
        return registry.for_class(given)
    return registry.for_object(given)
