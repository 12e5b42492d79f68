"""Tasks as job types: one type for each task, named by the path of its function."""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, cast

from pydantic_core import to_json

from handlers import payloads
from handlers.conf import jobs_settings
from handlers.exceptions import InvalidJob
from handlers.job_types import JobType
from handlers.payloads import Job
from handlers.registry import registry
from handlers.retries import RetryPolicy
from handlers.tasks import options
from handlers.tasks.arguments import arguments
from handlers.tasks.runs import runner

SHAPE = {"args": list, "kwargs": dict, "options": dict}
_TEXT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True)
class TaskCall(Job):
    """A call of a task: the base of their payloads. ``options``: what it brings along beside its arguments."""

    args: list[Any] = field(default_factory=list)
    kwargs: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TaskType(JobType):
    """The job type of one task. ``Unique`` and ``Limit`` name parameters of its function."""

    is_found: bool = field(init=False, repr=False, default=True)
    task: Any = None  # as the code declares it

    def field_names(self, schema: dict[str, Any]) -> tuple[str, ...]:
        """The function's parameters."""
        return tuple(_parameters(self.task))

    def named(self, payload: Any) -> dict[str, Any]:
        """The function's parameters as this call has them, with their defaults."""
        args, kwargs = payload.get("args") or [], payload.get("kwargs") or {}
        parameters = _parameters(self.task)
        try:
            bound = inspect.Signature(list(parameters.values())).bind(*args, **kwargs)
        except TypeError:  # its attempt says so
            return {**dict.fromkeys(parameters), "args": args, "kwargs": kwargs}
        given = set(bound.arguments)
        bound.apply_defaults()
        return {name: value if name in given else _plain(value) for name, value in bound.arguments.items()}

    def timeout_of(self, encoded: bytes) -> timedelta | None:
        """The job's own limit, else the task's."""
        stored = _options(encoded)
        return options.timeout(stored["timeout_seconds"]) if stored.get("timeout_seconds") else self.timeout

    def retry_of(self, encoded: bytes) -> RetryPolicy:
        """The job's own policy, else the task's."""
        return options.policy_of(_options(encoded), self.retry)

    def encode(self, payload: object, *, without: Collection[str] = ()) -> bytes:
        """A call as JSON. Raises InvalidJob, a TypeError as well, naming the place."""
        if without or not isinstance(payload, self.payload_class):
            return super().encode(payload, without=without)
        call = cast("TaskCall", payload)
        content = arguments(call.args, call.kwargs, type_name=self.name)
        if call.options:
            content["options"] = options.check_stored(call.options, self.name)
        data = to_json(content)
        payloads.check_size(data, self.name)
        return data

    def decode(self, data: Any) -> Job:
        """The call from ``data``, a JSON value or bytes. Raises InvalidJob, naming the field."""
        content = json.loads(data) if isinstance(data, bytes) else data
        if not isinstance(content, dict):
            raise InvalidJob(f'{self.name}: the arguments must be {{"args": [...], "kwargs": {{...}}}}')
        for name, value in content.items():
            if name not in SHAPE:
                raise InvalidJob(f"{self.name}: {str(name)[:100]}: is none of {', '.join(SHAPE)}", field=str(name))
            if not isinstance(value, SHAPE[name]):
                kind = "a list" if SHAPE[name] is list else "an object"
                raise InvalidJob(f"{self.name}: {name}: must be {kind}", field=name)
        if "options" in content:
            options.check_stored(content["options"], self.name)
        call: Job = self.payload_class(**content)  # type: ignore[assignment] # it is the task's own class
        return call


def declare(task: Any, default: RetryPolicy, timeout: timedelta | None) -> TaskType:
    """The type of ``task``, registered if this is the first time that one of its function is seen.

    ``default`` and ``timeout``: what holds where the task says nothing. Raises InvalidJob for what does not fit.
    """
    known = _declared.get(task.module_path)
    if known is None or known.task.func is not task.func:
        own = _own(task)
        known = TaskType(
            name=task.module_path,
            payload_class=_payload_class(task),
            handler=runner(task),
            queue=task.queue_name,
            retry=options.policy(own["retry"], own["max_attempts"], own["backoff"], default),
            timeout=options.timeout(own["timeout"]) or timeout,
            unique=options.unique(own["unique"]),
            limits=options.limits(own["limit"]),
            priority=task.priority,
            task=task,
        )
        registry.register(known)
        _declared[known.name] = known
    elif not registry.has(known.name):
        registry.register(known)
    return known


def brought_along(
    task: Any, of: TaskType, default: RetryPolicy, timeout: timedelta | None, metadata: Mapping[str, Any]
) -> dict[str, Any]:
    """What a call of ``task``, another one of the same function, says otherwise than its type. Raises InvalidJob.

    ``default`` and ``timeout``: as for ``declare``, of the backend that ``task`` is of, which may be another one.
    """
    found: dict[str, Any] = {"metadata": metadata} if metadata else {}
    if task is of.task:
        return found
    own, declared, elsewhere = _own(task), _own(of.task), task.backend != of.task.backend
    if elsewhere or any(own[name] != declared[name] for name in ("retry", "max_attempts", "backoff")):
        policy = options.policy(own["retry"], own["max_attempts"], own["backoff"], default)
        found |= options.stored_policy(policy, of.retry)
    if elsewhere or own["timeout"] != declared["timeout"]:
        limit = options.timeout(own["timeout"]) or timeout
        if limit != of.timeout:
            usual = jobs_settings().timeout_seconds
            found["timeout_seconds"] = usual if limit is None else limit.total_seconds()
    if options.limits(own["limit"]) != of.limits:
        raise InvalidJob("limit: belongs to the task: give it to @task(limit=...)", field="limit")
    if elsewhere:
        found["backend"] = task.backend
    return found


def _own(task: Any) -> dict[str, Any]:
    """What ``task`` says of these; None where it is of another backend's class."""
    return {
        name: getattr(task, name, None) for name in ("retry", "max_attempts", "backoff", "timeout", "unique", "limit")
    }


def _payload_class(task: Any) -> type[TaskCall]:
    func = task.func
    made: type[TaskCall] = dataclasses.dataclass(frozen=True)(
        type(func.__name__, (TaskCall,), {"__doc__": func.__doc__ or ""})
    )
    made.__module__, made.__qualname__ = func.__module__, func.__qualname__
    return made


def _parameters(task: Any) -> dict[str, inspect.Parameter]:
    found = dict(inspect.signature(task.func).parameters)
    if task.takes_context:
        found.pop(next(iter(found)))
    return found


def _options(encoded: bytes) -> dict[str, Any]:
    if b'"options"' not in encoded:  # as of nearly all
        return {}
    content = json.loads(encoded)
    found = content.get("options", {}) if isinstance(content, dict) else {}
    return found if isinstance(found, dict) else {}


def _plain(value: Any) -> Any:
    """A parameter's default, as part of a key."""
    try:
        return json.loads(_TEXT.encode(value))
    except (TypeError, ValueError):
        return repr(value)


_declared: dict[str, TaskType] = {}
