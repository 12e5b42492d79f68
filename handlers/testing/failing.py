"""Attempts that fail because a test says so."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from handlers.in_process import attempts
from handlers.lifecycle import Claim
from handlers.testing.types import type_of


class fail_next:  # noqa: N801 - called as a function, and used in a with statement
    """Let the next attempt of this type fail with ``error``, in place of its handler; or the next ``times``.

    The rest is real: the retry policy decides by the error, and the history tells of it. It is about attempts that
    ``run_due_jobs`` or ``JOBS["EAGER"]`` makes in this process. ``job_type``: the class, or the stored name; ``error``:
    an exception, or its class.

    Used in a ``with`` statement, attempts that were not made by its end are an AssertionError. Without one it holds
    until the test's end, where the test case has ``JobsTestMixin`` or pytest runs it.
    """

    def __init__(self, job_type: Any, error: BaseException | type[BaseException], *, times: int = 1) -> None:
        if not (isinstance(error, BaseException) or (isinstance(error, type) and issubclass(error, BaseException))):
            raise TypeError(f"error: must be an exception, such as ConnectionError(), not {error!r}")
        self._type, self._error, self._times, self._left = type_of(job_type), error, times, times
        attempts.meddle.append(self._fail)

    def _fail(self, claim: Claim) -> None:
        if self._left and claim.job_type in (self._type.name, *self._type.aliases):
            self._left -= 1
            raise self._error

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._fail in attempts.meddle:
            attempts.meddle.remove(self._fail)
        if self._left and kind is None:
            raise AssertionError(f"{self._type.name}: {self._left} of {self._times} attempts to fail were not made")


def forget_failures() -> None:
    """Let no attempt fail any more."""
    attempts.meddle.clear()
