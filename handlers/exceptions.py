"""The errors that the engine raises to its callers, and the ones that a handler raises to the engine."""

from __future__ import annotations

from datetime import timedelta

LONGEST_SIGNAL_NAME = 100  # characters


class JobsError(Exception):
    """Base of every error of this package."""


class InvalidJob(JobsError, ValueError):
    """A payload, schedule, queue or option is wrong. The message names the field and the reason.

    ``field``: dotted path of what is wrong, such as ``order_id``, ``at`` or ``queue``; empty: the job as a whole.
    """

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class DuplicateJob(JobsError):
    """Another job holds the key that this one wants, and ``Unique`` says that this is an error.

    ``job_id``: the one that holds it; None: another one of the same call. ``place``: which one of the call wants it,
    counted from 0.
    """

    def __init__(self, message: str, *, job_id: int | None, place: int = 0) -> None:
        super().__init__(message)
        self.job_id, self.place = job_id, place


class NoHandler(JobsError, LookupError):
    """No handler is registered for this job type."""


class TransportUnavailable(JobsError, ConnectionError):
    """The queue server cannot serve at the moment.

    ``is_news``: whether this was just found out; if not, nothing was tried, since it was known already.
    """

    def __init__(self, message: str, *, is_news: bool = True) -> None:
        super().__init__(message)
        self.is_news = is_news


class TransportRefuses(TransportUnavailable):
    """The queue server answers, but takes no messages: it is full, or a replica."""


class RetryAfter(JobsError):
    """Raised by a handler: this attempt failed, run the job again after ``delay`` (a non-negative timedelta).

    It counts as a failure: when the policy's ``max_attempts`` is reached the job ends as the policy says.
    """

    def __init__(self, delay: timedelta, reason: str = "") -> None:
        if not isinstance(delay, timedelta) or delay < timedelta(0):
            raise InvalidJob(f"RetryAfter: delay must be a non-negative timedelta, not {delay!r}", field="delay")
        super().__init__(reason or f"retry after {delay}")
        self.delay = delay


class Snooze(JobsError):
    """Raised by a handler: nothing failed, and it is too early. Run the job again after ``delay`` (from 0 to 365 days).

    It counts as no failure, however often it happens: ``max_attempts`` and backoff know nothing of it.
    """

    def __init__(self, delay: timedelta, reason: str = "") -> None:
        if not isinstance(delay, timedelta) or not timedelta(0) <= delay <= timedelta(days=365):
            raise InvalidJob(f"Snooze: delay must be a timedelta from 0 to 365 days, not {delay!r}", field="delay")
        super().__init__(reason or f"snoozed for {delay}")
        self.delay = delay


class WaitFor(JobsError):
    """Raised by a handler: nothing failed, and it waits for a signal. The job leaves its worker until that comes.

    Then, or after ``timeout`` (a timedelta above 0, up to 3,650 days; None: never), it runs again, as a new attempt
    that finds what was sent as ``run.signals[name]``, or ``name`` in ``run.timed_out``. It counts as no failure. One
    that has come already, and that no attempt has read, lets the job run again at once. ``name``: 1 to 100 printable
    characters.
    """

    def __init__(self, name: str, timeout: timedelta | None = None, reason: str = "") -> None:
        check_signal_name(name, "WaitFor: ")
        if timeout is not None and (
            not isinstance(timeout, timedelta) or not timedelta(0) < timeout <= timedelta(days=3650)
        ):
            raise InvalidJob(
                f"WaitFor: timeout must be a timedelta above 0, up to 3,650 days, not {timeout!r}", field="timeout"
            )
        super().__init__(reason or f"waits for {name}")
        self.name, self.timeout = name, timeout


def check_signal_name(name: object, who: str = "") -> None:
    """Raise InvalidJob unless ``name`` can be a signal's."""
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_SIGNAL_NAME or not name.isprintable():
        raise InvalidJob(
            f"{who}name: {str(name)[:50]!r} is no name of a signal: use 1 to {LONGEST_SIGNAL_NAME} printable"
            ' characters, such as "approval"',
            field="name",
        )


class GiveUp(JobsError):
    """Raised by a handler: this job can never succeed; end its retries now, with ``reason``."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class JobCancelled(JobsError):
    """Raised by ``CancellationToken.raise_if_cancelled`` inside a handler that was asked to stop."""


class JobTimeout(JobsError, TimeoutError):
    """An attempt ran longer than its job type's timeout."""


class WorkerLost(JobsError):
    """What is on record of a job whose workers died while they ran it. Nobody raises it."""


class Unrecordable(JobsError):
    """What is on record of a failure whose text the database refused. Nobody raises it."""
