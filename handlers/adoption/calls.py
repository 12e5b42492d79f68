"""Calls of RQ's as job types: one type for each function, named ``rq.`` and the path of the function."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from rq.utils import import_attribute

from handlers import payloads
from handlers.adoption import options
from handlers.adoption.runs import runner
from handlers.exceptions import InvalidJob
from handlers.job_types import TYPE_NAME, JobType
from handlers.payloads import Job
from handlers.registry import registry
from handlers.retries import RetryPolicy

PREFIX = "rq."


@dataclass(frozen=True)
class RQCall(Job):
    """A call of a function: the base of their payloads. ``options``: what it brings along beside its arguments."""

    args: list[Any] = field(default_factory=list)
    kwargs: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RQType(JobType):
    """The job type of one function, which workers find by its path."""

    is_found: bool = field(init=False, repr=False, default=True)
    path: str = ""

    def timeout_of(self, encoded: bytes) -> timedelta | None:
        """The call's own limit, else RQ's."""
        return options.timeout_of(options.of_payload(encoded))

    def retry_of(self, encoded: bytes) -> RetryPolicy:
        """The call's own policy."""
        return options.policy_of(options.of_payload(encoded))

    def decode(self, data: Any) -> Any:
        """The call from ``data``. Raises InvalidJob, naming the field."""
        call: Any = super().decode(data)
        options.check(call.options, self.name)
        return call


def type_of(path: str) -> RQType:
    """The type of the function at this path, which is imported. Raises InvalidJob where it cannot be."""
    name = PREFIX + path
    if registry.has(name):
        known = registry.get(name)
        if isinstance(known, RQType):
            return known
    if not TYPE_NAME.fullmatch(name):
        raise InvalidJob(f"function: {path[:200]} is too long a path, or no path", field="function")
    try:
        function = import_attribute(path)
    except Exception as error:  # noqa: BLE001 - whatever the import of the site's module raises
        raise InvalidJob(f"function: {path[:200]} cannot be imported here: {type(error).__name__}") from None
    made = RQType(
        name=name,
        payload_class=_payload_class(path, function),
        handler=runner(path, function),
        retry=options.ONCE,
        timeout=options.RQ_TIMEOUT,
        path=path,
    )
    registry.register(made)
    return made


def find(name: str) -> None:
    """Register the type of this name, if it is a function's that can be imported here."""
    if name.startswith(PREFIX):
        try:
            type_of(name.removeprefix(PREFIX))
        except InvalidJob:
            pass  # it waits for a worker that can


def make(path: str, args: Sequence[Any] | None, kwargs: Mapping[str, Any] | None, brought: Mapping[str, Any]) -> Job:
    """The call, checked: what JSON would give back as something else is refused. Raises InvalidJob."""
    return checked(path, args, kwargs, brought)[0]


def checked(
    path: str, args: Sequence[Any] | None, kwargs: Mapping[str, Any] | None, brought: Mapping[str, Any]
) -> tuple[Job, bytes]:
    """The same, and what is stored of it."""
    job_type = type_of(path)
    options.check(brought, job_type.name)
    call: Any = job_type.payload_class
    made: Job = call(list(args or ()), dict(kwargs or {}), dict(brought))
    return made, payloads.encode(made, type_name=job_type.name)


def _payload_class(path: str, function: Any) -> type[RQCall]:
    name = path.rpartition(".")[2]
    about: dict[str, Any] = {
        "__doc__": inspect.getdoc(function) or "",
        "__module__": getattr(function, "__module__", None) or __name__,
    }
    made: type[RQCall] = dataclasses.dataclass(frozen=True)(type(name, (RQCall,), about))
    made.__qualname__ = f"{path} (RQ)"  # beside a task or a job that has the function's own name
    return made
