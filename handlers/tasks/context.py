"""What a task with ``takes_context=True`` is given."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Protocol

from asgiref.sync import sync_to_async

from handlers.cancellation import CancellationToken
from handlers.exceptions import JobsError
from handlers.tasks.families import Family, family


class Context(Protocol):
    """Django's ``TaskContext``, with the job's token and its metadata."""

    task_result: Any
    token: CancellationToken
    metadata: dict[str, Any]

    def save_metadata(self) -> None:
        """Put the metadata on record now, as it is done when the task ends."""

    async def asave_metadata(self) -> None:
        """The same for asynchronous tasks."""

    def keep(self) -> None:
        """Put it on record if it was changed."""

    def keep_quietly(self) -> None:
        """The same where an error is under way: another one must not take its place."""


@cache
def _context_class(name: str) -> Any:
    of = family(name)

    @dataclass(frozen=True, slots=True, kw_only=True)
    class DurableContext(of.context):  # type: ignore[misc, name-defined] # which of the two is known at run time
        token: CancellationToken
        metadata: dict[str, Any]
        _saved: list[Any] = field(default_factory=lambda: [{}], repr=False)

        def save_metadata(self) -> None:
            from handlers.tasks.results import save_metadata

            clean = save_metadata(self.task_result, self.metadata, attempt=self.token.attempt)
            self._saved[0] = copy.deepcopy(self.metadata)
            object.__setattr__(self.task_result, "metadata", clean)

        async def asave_metadata(self) -> None:
            await sync_to_async(self.save_metadata)()

        def keep(self) -> None:
            if self.metadata != self._saved[0]:
                self.save_metadata()

        def keep_quietly(self) -> None:
            from django.db import Error

            try:
                self.keep()
            except (Error, JobsError):
                pass  # the task's own error is what counts

    return DurableContext


def context_of(of: Family, result: Any, token: CancellationToken) -> Context:
    """The context of a run."""
    made: Context = _context_class(of.name)(
        task_result=result,
        token=token,
        metadata=copy.deepcopy(result.metadata),
        _saved=[copy.deepcopy(result.metadata)],
    )
    return made
