"""A type whose jobs run many in one call."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

from handlers.cancellation import CancellationToken
from handlers.exceptions import InvalidJob, NoHandler
from handlers.job_types import JobType
from handlers.many.chunk import Chunk
from handlers.registry import registry
from handlers.results import NOTHING, ResultShape, hint_of

MOST = 1_000  # jobs in one call
LONGEST = timedelta(minutes=1)  # that a claimed job may wait for company


@dataclass(frozen=True)
class ManyType(JobType):
    """One declared type whose handler takes up to ``size`` jobs. The first of them waits up to ``wait`` for others."""

    argument: ClassVar[str] = "jobs"
    beside: ClassVar[tuple[str, ...]] = ("", ", token")

    size: int = 100
    wait: timedelta = timedelta(seconds=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.size, int) or isinstance(self.size, bool) or not 1 <= self.size <= MOST:
            raise InvalidJob(f"{self.name}: size must be from 1 to {MOST:,}, not {self.size!r}", field="size")
        if not isinstance(self.wait, timedelta) or not timedelta(0) <= self.wait <= LONGEST:
            raise InvalidJob(
                f"{self.name}: wait must be a timedelta from zero to a minute, such as timedelta(seconds=1)",
                field="wait",
            )
        if self.is_async:
            raise InvalidJob(
                f"{self.name}: a handler of many jobs is called with them in a thread of its worker: write def instead"
                " of async def, and asyncio.run(...) inside of it"
            )
        if "run" in self.wants:
            raise InvalidJob(
                f"{self.name}: the handler must take (jobs) or (jobs, token): each job has its own run, in jobs.runs"
            )

    def shape_of_result(self, function: Callable[..., Any]) -> ResultShape:
        """Of one job's outcome: any JSON, unless the handler says that it returns nothing."""
        keep = self.keep_result and hint_of(function) not in NOTHING
        return ResultShape(self.name, _anything, keep=keep)

    def call(self, payload: Any, token: CancellationToken, run: Callable[[], Any] = lambda: None) -> Any:
        """The handler's outcome for one job in a call of its own, as where jobs are run one at a time."""
        chunk = Chunk([payload], [run])
        [outcome] = self.call_many(chunk, token)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def call_many(self, chunk: Chunk[Any], token: CancellationToken) -> list[Any]:
        """The handler's outcome for each of a chunk: a result, or an exception. What it raises is raised."""
        returned = super().call(chunk, token)
        if inspect.iscoroutine(returned):  # of a factory, say, that wraps the handler
            returned.close()
            raise InvalidJob(f"{self.name}: its handler returned a coroutine, which nobody awaits here")
        return chunk.outcomes(returned, self.name)


def many_type(job_type: str) -> ManyType | None:
    """The type of this name, if its jobs run many in one call."""
    try:
        known = registry.find(job_type)
    except NoHandler:
        return None
    return known if isinstance(known, ManyType) else None


def largest() -> int:
    """How many jobs one call may have, of any type; 0 where none has more than one."""
    return max((known.size for known in registry.all() if isinstance(known, ManyType)), default=0)


def _anything() -> Any:
    return None
