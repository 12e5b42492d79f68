"""A cancellation token for a test that calls a handler directly."""

from __future__ import annotations

from handlers.cancellation import CancellationToken, CancelReason


def token(
    *, cancelled: bool = False, after: int | None = None, reason: str = "stopping", attempt: int = 1, job_id: int = 0
) -> CancellationToken:
    """A token that lets the handler go on; ``cancelled``, or from the look ``after`` so many others on, it does not.

    ``reason``: ``stopping``, ``deleted``, ``timeout`` or ``lease_lost``; ValueError for any other.
    """
    why = CancelReason(reason)
    made = CancellationToken(_later(after, why) if after is not None else None, job_id=job_id, attempt=attempt)
    if cancelled:
        made.cancel(why)
    return made


class _later:  # noqa: N801 - a function with a memory
    def __init__(self, looks: int, reason: CancelReason) -> None:
        self._left, self._reason = looks, reason

    def __call__(self) -> CancelReason | None:
        self._left -= 1
        return self._reason if self._left < 0 else None
