"""Middleware of jobs: code of the site's around each enqueue and around each run, named by ``JOBS["MIDDLEWARE"]``.

What a middleware does wrong harms no job: it goes on without it, and the log, the job's own too, says so.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from handlers.runs.run import Run

__all__ = ["JobMiddleware", "JobRequest"]


@dataclass(frozen=True, slots=True)
class JobRequest:
    """A job that is about to be enqueued. Queue, priority, tags, correlation and context may be others:

        call_next([replace(job, context={**job.context, "shop": 7}) for job in jobs])

    with ``dataclasses.replace``. They are checked as those of an enqueue are.
    """

    job_type: str
    payload: Any  # its arguments, a JSON value, with sensitive ones as they are
    queue: str
    priority: int = 0
    tags: tuple[str, ...] = ()  # beside those of its type
    correlation: str = ""
    context: Mapping[str, Any] = field(default_factory=dict)  # what travels with it: see ``handlers.context``
    run_at: datetime | None = None
    delay: timedelta | None = None
    parent_id: int | None = None  # the job whose handler asks for it


class JobMiddleware:
    """Base of middleware, of which one instance serves a process, all its threads. Override what you need.

    The first in the list is the outermost. Each method must call ``call_next`` once; what it returns is not looked at.
    It has ``JOBS["MIDDLEWARE_SECONDS"]`` before that call and as long after it.
    """

    def enqueue(self, jobs: Sequence[JobRequest], call_next: Callable[[Sequence[JobRequest]], list[int]]) -> Any:
        """Around the statement that writes ``jobs``, in the caller's transaction. ``call_next`` answers their ids."""
        return call_next(jobs)

    def run(self, run: Run, call_next: Callable[[], Any]) -> Any:
        """Around a handler, in its thread. ``call_next`` answers what it returns, and raises what it raises."""
        return call_next()

    async def arun(self, run: Run, call_next: Callable[[], Awaitable[Any]]) -> Any:
        """The same around an async handler, in its task."""
        return await call_next()
