"""One log line for each failure, once it is on record: what Sentry and log alerts see of jobs.

On the logger ``handlers.jobs``, ERROR for a failure that is final, INFO for one that is tried again. The templates are
constant, and what the lines are about is in their arguments and in ``extra``. No exception goes with a line: its frames
hold arguments in clear, and keep what a handler left open. The traceback in ``extra`` is the stored one, without
sensitive arguments.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import suppress
from contextvars import ContextVar

from handlers.lifecycle import Failed
from handlers.states import State

logger = logging.getLogger("handlers.jobs")

# The job type whose failure is told here and now: who mails errors must not mail that a mail could not be sent.
telling: ContextVar[str] = ContextVar("handlers_telling", default="")


def log_failures(failures: Iterable[Failed]) -> None:
    """A line for each of ``failures``. Never raises: what an app's log does wrong must not cost an outcome."""
    for failed in failures:
        before = telling.set(failed.failure.job_type)
        try:
            with suppress(Exception):
                _log(failed)
        finally:
            telling.reset(before)


def _log(failed: Failed) -> None:
    failure = failed.failure
    extra = {
        "job_id": failed.job_id,
        "job_type": failure.job_type,
        "queue": failure.queue,
        "attempt": failure.attempt,
        "correlation": failure.correlation,
        "exception": failure.exception,
        "error": failure.line,
        "fingerprint": failed.fingerprint,
        "traceback": failure.traceback,
    }
    about = failed.job_id, failure.job_type, failure.attempt, failure.line
    if failed.target == State.SCHEDULED:
        seconds = failed.delay.total_seconds() if failed.delay else 0.0
        extra["retry_in_seconds"] = seconds
        logger.info(
            "job %d (%s): attempt %d failed, next one in %.1f s: %s", *about[:3], seconds, failure.line, extra=extra
        )
    else:
        logger.error("job %d (%s) failed for good with attempt %d: %s", *about, extra=extra)
