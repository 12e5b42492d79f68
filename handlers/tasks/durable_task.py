"""The class of tasks, of each family: Django's own, with what else a job can have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from typing import Any

from asgiref.sync import sync_to_async

from handlers.registry import registry
from handlers.retries import Backoff, RetryPolicy
from handlers.tasks.families import Family, family

KEEP: Any = object()  # what ``using`` leaves as it is
OWN = ("max_attempts", "backoff", "retry", "timeout", "unique", "limit", "metadata")


def _made(of: Family) -> Any:
    @dataclass(frozen=True, slots=True, kw_only=True)
    class DurableTask(of.task):  # type: ignore[misc, name-defined] # which of the two is known at run time
        """A task whose calls are durable jobs.

        ``max_attempts``: total runs allowed. ``backoff``: how the wait grows, one of ``handlers``' or a timedelta.
        ``retry``: a whole ``RetryPolicy``, True for the usual one, False for none. ``timeout`` of one attempt: a
        timedelta, or seconds. ``unique``: of which calls there is one at a time, a ``Unique`` or True; ``limit``: how
        many run at once or start in a time, a ``Limit`` or several; both name parameters of the function.
        ``metadata``: a dict of JSON that goes with each call. Raises the family's InvalidTask for what does not fit.
        """

        max_attempts: int | None = None
        backoff: Backoff | Any = None
        retry: RetryPolicy | bool | None = None
        timeout: Any = None
        unique: Any = None
        limit: Any = None
        metadata: dict[str, Any] = field(default_factory=dict, hash=False)

        def __post_init__(self) -> None:
            if isinstance(self.limit, list):
                object.__setattr__(self, "limit", tuple(self.limit))
            if self.metadata is None:
                object.__setattr__(self, "metadata", {})
            self.get_backend().validate_task(self)

        def __reduce__(self) -> Any:
            # By the function's path: its name leads to the task, and not to the function.
            values = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "func"}
            return _restored, (self.module_path, values)

        def using(
            self,
            *,
            priority: int | None = None,
            queue_name: str | None = None,
            run_after: Any = None,
            backend: str | None = None,
            max_attempts: Any = KEEP,
            backoff: Any = KEEP,
            retry: Any = KEEP,
            timeout: Any = KEEP,
            unique: Any = KEEP,
            limit: Any = KEEP,
            metadata: Any = KEEP,
        ) -> Any:
            """A new task that differs in this. Which errors are retried, and ``limit``, stay the task's."""
            usual = {"priority": priority, "queue_name": queue_name, "run_after": run_after, "backend": backend}
            changes = {name: value for name, value in usual.items() if value is not None}
            own = (max_attempts, backoff, retry, timeout, unique, limit, metadata)
            changes |= {name: value for name, value in zip(OWN, own, strict=True) if value is not KEEP}
            return replace(self, **changes)

        def enqueue_many(self, calls: Iterable[Iterable[Any] | Mapping[str, Any]]) -> list[Any]:
            """Enqueue a call with each of these: a tuple of arguments, or a dict of named ones. All, or none."""
            return self.get_backend().enqueue_many(self, calls)  # type: ignore[no-any-return]

        async def aenqueue_many(self, calls: Iterable[Iterable[Any] | Mapping[str, Any]]) -> list[Any]:
            """The same for asynchronous callers."""
            return await sync_to_async(self.enqueue_many, thread_sensitive=True)(calls)

    return DurableTask


@cache
def _task_class(name: str) -> Any:
    return _made(family(name))


def task_class(of: Family) -> Any:
    """The class of a family's tasks."""
    return _task_class(of.name)


def like(task: Any, **changes: Any) -> Any:
    """``task`` with these values, as they are on record: its backend may refuse them by now, and is not asked."""
    made = object.__new__(type(task))
    for each in fields(task):
        value = changes[each.name] if each.name in changes else getattr(task, each.name)
        object.__setattr__(made, each.name, value)
    return made


def _restored(path: str, values: dict[str, Any]) -> Any:
    """A pickled task."""
    return like(registry.find(path).task, **values)  # type: ignore[attr-defined] # whoever has pickled it is a task
