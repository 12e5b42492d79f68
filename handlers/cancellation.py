"""What a handler sees of its own run: whether it was asked to stop."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from enum import StrEnum

from handlers.exceptions import InvalidJob, JobCancelled

POLL_SECONDS = 0.05  # how often a waiting token asks its probe


class CancelReason(StrEnum):
    """Why a run was asked to stop."""

    DELETED = "deleted"  # the job was deleted while it ran
    STOPPING = "stopping"  # the worker shuts down; the job will run again
    LEASE_LOST = "lease_lost"  # another worker may run the job by now; this run's outcome no longer counts
    TIMEOUT = "timeout"  # the attempt ran longer than its job type allows


Probe = Callable[[], CancelReason | None]


class CancellationToken:
    """Set when a run should stop. Cheap to ask; safe to use from several threads, and to set in a signal handler.

    ``probe``: asked at each look until it names a reason, for what only another process knows. The first reason stays.
    ``facts``: what makes the run's request the same as another one's, for ``idempotency_key``.
    """

    def __init__(
        self, probe: Probe | None = None, *, job_id: int, attempt: int, facts: Callable[[], bytes] | None = None
    ) -> None:
        self.job_id = job_id
        self.attempt = attempt  # 1 for the job's first run
        self._probe, self._facts = probe, facts
        self._reason: CancelReason | None = None

    def cancel(self, reason: CancelReason) -> None:
        """Ask the run to stop. A second call changes nothing."""
        if self._reason is None:
            self._reason = reason
            self._open()

    @property
    def idempotency_key(self) -> str:
        """32 hex digits, the same for all attempts of the job, its retries and its replays; others after an edit.

        For whatever can be asked twice and should do it once, such as a payment gateway.
        """
        facts = self._facts() if self._facts is not None else str(self.job_id).encode()
        return hashlib.sha256(facts).hexdigest()[:32]

    @property
    def reason(self) -> CancelReason | None:
        """Why the run should stop; None while it should go on."""
        if self._reason is None and self._probe is not None and (found := self._probe()) is not None:
            self.cancel(found)
        return self._reason

    @property
    def is_cancelled(self) -> bool:
        """Whether the run should stop."""
        return self.reason is not None

    def raise_if_cancelled(self) -> None:
        """Raise JobCancelled when the run should stop. Leave it uncaught: the engine knows what it means."""
        if (reason := self.reason) is not None:
            raise JobCancelled(f"job {self.job_id} was asked to stop: {reason.value.replace('_', ' ')}")

    def wait(self, timeout: float | timedelta | None = None) -> bool:
        """Sleep until the run should stop, or ``timeout`` (seconds, or a timedelta; None: no limit) has passed.

        Returns whether it should stop. Use it instead of ``time.sleep``.
        """
        if timeout is not None and not isinstance(timeout, int | float | timedelta):
            raise InvalidJob(f"wait: timeout must be seconds or a timedelta, not {repr(timeout)[:60]}", field="timeout")
        seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
        deadline = None if seconds is None else time.monotonic() + seconds
        gate = self._closed_gate()
        while not self.is_cancelled:  # asked once the gate is there
            pause = POLL_SECONDS if self._probe is not None else 3600.0
            if deadline is not None:
                pause = min(pause, deadline - time.monotonic())
                if pause <= 0:
                    return False
            if gate.acquire(timeout=pause):
                self._open()  # for the next who waits
        return True

    async def cancelled(self) -> CancelReason:
        """Return the reason as soon as the run should stop; meant to be raced against the work of an async handler."""
        while (reason := self.reason) is None:
            await asyncio.sleep(POLL_SECONDS)
        return reason

    def _closed_gate(self) -> threading.Lock:
        """What opens when the token is set. Most tokens are never waited for, and need none.

        Not a threading.Event: setting one in a signal handler can deadlock, because the handler may interrupt the same
        thread inside the event's own lock. Releasing a plain lock cannot.
        """
        gate = threading.Lock()
        gate.acquire()
        shared: threading.Lock = vars(self).setdefault("gate", gate)  # in one step: whoever waits has the same one
        return shared

    def _open(self) -> None:
        if (gate := vars(self).get("gate")) is not None:
            with suppress(RuntimeError):  # it is open already
                gate.release()

    def __repr__(self) -> str:
        return f"CancellationToken(job_id={self.job_id}, attempt={self.attempt}, reason={self._reason})"
