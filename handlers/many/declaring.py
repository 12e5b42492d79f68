"""``@handles_many``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from handlers.limited import Limit
from handlers.many.types import ManyType
from handlers.payloads import Command, Job
from handlers.registry import declare_type
from handlers.retries import RetryPolicy
from handlers.tagging import Tags
from handlers.unique import Unique

H = TypeVar("H", bound=Callable[..., Any])


def handles_many(
    job_class: type[Job | Command],
    *,
    size: int = 100,
    wait: timedelta = timedelta(seconds=1),
    queue: str = "default",
    retry: RetryPolicy | None = None,
    timeout: timedelta | None = None,
    unique: Unique | None = None,
    limits: Sequence[Limit] = (),
    priority: int = 0,
    keep_result: bool = True,
    tags: Tags = (),
    title: Callable[[Any], str] | None = None,
    links: Callable[[Any], Any] | None = None,
    name: str | None = None,
    aliases: tuple[str, ...] = (),
) -> Callable[[H], H]:
    """Declare the handler of ``job_class`` (a job or a command) as one that takes many of its jobs in one call.

    A function ``(jobs)`` or ``(jobs, token)``, or a class with ``handle(self, jobs, token)``; not ``async``. ``jobs``
    is a ``Chunk``: a sequence of payloads, with ``jobs.runs``. It returns None, and all have succeeded; or a list with
    an outcome for each, in their order; or a mapping of outcomes by job id, and those that it leaves out succeeded. An
    outcome is a result, or an exception that this job failed with: also ``RetryAfter``, ``GiveUp`` or ``Snooze``. What
    the handler raises is the outcome of all; a wrong number of outcomes fails all. Each follows its own retry policy.

    ``size``: how many jobs a call has at most, 1 to 1,000. ``wait``: how long the first of them waits in its worker
    for company, up to a minute; with zero it runs with those that were claimed together. ``timeout``: of the call. A
    job that its worker may run only alone has a call of its own. Everything else as for ``handles``. Raises InvalidJob
    when something does not fit.
    """
    return declare_type(
        job_class, partial(ManyType, size=size, wait=wait), queue=queue, retry=retry, timeout=timeout, unique=unique,
        limits=limits, priority=priority, keep_result=keep_result, tags=tags, title=title, links=links, name=name,
        aliases=aliases,
    )  # fmt: skip
