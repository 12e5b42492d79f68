"""What a handler logs while its job runs is kept for the job page: bounded, cleaned, without sensitive arguments.

Only what the app's loggers let through arrives here, from INFO up: a logger whose effective level is WARNING (the
default of Python's root logger) drops its info lines before anyone sees them.
"""

from __future__ import annotations

import logging
import re
import threading
import traceback
import warnings
from datetime import UTC, datetime
from functools import cache
from typing import TextIO

from handlers.current import CurrentJob, LogLine, current
from handlers.failures import clean

MAX_LINE = 2_000  # characters
UNAWAITED = re.compile("coroutine '.*' was never awaited")

logger = logging.getLogger(__name__)


class JobLogHandler(logging.Handler):
    """Collects records into the buffer of the job that runs in this context. Never raises, prints nothing."""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep ``record``, if a job runs."""
        job = current.get()
        if job is not None and record.name not in _left_out:
            try:
                job.keep(_line(record, job))
            except Exception:  # noqa: BLE001 - a line that cannot be written must not fail the job that logged it
                job.keep((_now(), record.levelname[:20], "", "(a log line that could not be written)"))
        if logging.root.handlers == [self]:
            _last_resort(record, self)


def leave_out(name: str) -> None:
    """What this logger says of jobs their history says, too: it is no part of what a job logged."""
    _left_out.add(name)


def attach() -> None:
    """A job, or a batch of them, begins: put the one handler on the root logger. Each call needs its ``detach``.

    It is there no longer than that, so that ``logging.basicConfig()`` still works otherwise: it does nothing where the
    root logger has a handler. (Called by a job's own handler, it needs ``force=True``.)
    """
    global _jobs  # noqa: PLW0603 - guarded by the lock
    with _lock:
        _jobs += 1
    stay_attached()


def stay_attached() -> None:
    """Where a job that ran since ``attach`` has set up logging anew, put the handler on it again."""
    if _handler not in logging.root.handlers:
        logging.root.addHandler(_handler)


def detach() -> None:
    """A job ended: without any other, the root logger is again as the app left it."""
    global _jobs  # noqa: PLW0603 - guarded by the lock
    with _lock:
        _jobs -= 1
        if not _jobs:
            logging.root.removeHandler(_handler)


@cache
def hear_of_unawaited() -> None:
    """From now on log, each time, that a coroutine was never awaited: Python prints it once for each place."""
    show = warnings.showwarning

    def log(
        message: Warning | str, category: type[Warning], filename: str, lineno: int,
        file: TextIO | None = None, line: str | None = None,
    ) -> None:  # fmt: skip
        if category is RuntimeWarning and UNAWAITED.fullmatch(str(message)):
            logger.warning("%s (%s, line %d)", message, filename, lineno)
        else:
            show(message, category, filename, lineno, file, line)

    warnings.showwarning = log
    warnings.filterwarnings("always", UNAWAITED.pattern, RuntimeWarning)


def lines_of(job: CurrentJob) -> tuple[LogLine, ...] | None:
    """What ``job`` logged; None when that is nothing."""
    if job.log is None:
        return None
    _handler.acquire()  # a thread that the handler left behind may still log
    try:
        return job.log.lines()
    finally:
        _handler.release()


def _line(record: logging.LogRecord, job: CurrentJob) -> LogLine:
    text = record.getMessage()
    if record.exc_info and record.exc_info[0] is not None:
        text = "\n".join([text, "".join(traceback.format_exception(*record.exc_info)).rstrip()])
    at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    # Hidden before the cut, which could halve a secret.
    return (at, clean(record.levelname, 20), clean(job.hide(record.name), 200), clean(job.hide(text), MAX_LINE))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _last_resort(record: logging.LogRecord, own: logging.Handler) -> None:
    """Print what Python would print where an app set up no handler at all: ours must not silence it."""
    last = logging.lastResort
    if last is None or record.levelno < last.level:
        return
    logger: logging.Logger | None = logging.getLogger(record.name)
    while logger is not None:
        if any(handler is not own for handler in logger.handlers):
            return
        logger = logger.parent
    last.handle(record)


_handler = JobLogHandler(logging.INFO)
_lock = threading.Lock()
_left_out: set[str] = set()
_jobs = 0  # jobs, and batches of them, that run in this process now
