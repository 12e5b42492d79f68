"""What a handler of many jobs gets, and what it says became of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, overload

from handlers.exceptions import InvalidJob
from handlers.payloads import Command, Job

if TYPE_CHECKING:
    from handlers.runs.run import Run

T_co = TypeVar("T_co", bound=Job | Command, covariant=True)


class Chunk(Sequence[T_co], Generic[T_co]):
    """The jobs of one call, in the order in which they were claimed: a sequence of their payloads.

    ``runs`` has what is known of each, in the same order.
    """

    def __init__(self, payloads: Sequence[T_co], runs: Sequence[Callable[[], Any]]) -> None:
        self._payloads, self._runs = tuple(payloads), runs

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        """The ``Run`` of each: its id, attempt, correlation and idempotency key, its log, progress and checkpoint.

        What is logged and enqueued inside of ``with run.as_current():`` belongs to that job alone.
        """
        return tuple(cast("Run", make()) for make in self._runs)

    def __len__(self) -> int:
        return len(self._payloads)

    @overload
    def __getitem__(self, index: int) -> T_co: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[T_co]: ...
    def __getitem__(self, index: int | slice) -> T_co | Sequence[T_co]:
        return self._payloads[index]

    def __repr__(self) -> str:
        return f"Chunk({len(self)} jobs)"

    def outcomes(self, returned: Any, type_name: str) -> list[Any]:
        """What a handler that ``returned`` this says of each job: its result, or the exception that it failed with.

        None: all succeeded. A list or tuple: one for each, in order. A mapping by job id: those that it does not name
        succeeded. Raises InvalidJob for anything else.
        """
        if returned is None:
            return [None] * len(self)
        if isinstance(returned, Mapping):
            ids = [run.job_id for run in self.runs]
            known = set(ids)
            if strange := [key for key in returned if key not in known]:
                raise InvalidJob(
                    f"{type_name}: its handler returned an outcome for {repr(strange[0])[:100]}, which is no job of"
                    " this call: a mapping has outcomes by job id, run.job_id of the chunk's runs"
                )
            return [returned.get(job_id) for job_id in ids]
        if not isinstance(returned, list | tuple):
            raise InvalidJob(
                f"{type_name}: its handler returned a {type(returned).__qualname__} for {len(self)} jobs: return None,"
                " a list with an outcome for each, or a mapping of outcomes by job id"
            )
        if len(returned) != len(self):
            raise InvalidJob(
                f"{type_name}: its handler returned {len(returned)} outcomes for {len(self)} jobs: return one for"
                " each, in their order, or a mapping of outcomes by job id"
            )
        return list(returned)
