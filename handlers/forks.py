"""A process that a handler forks is not the worker: it dies of its signals, and ends where the handler ends."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import FrameType
from typing import Any

logger = logging.getLogger(__name__)

Handler = Callable[[int, FrameType | None], Any] | int | None  # as the signal module takes and gives them
STOPS = frozenset({signal.SIGTERM, signal.SIGINT})

_process_id = os.getpid()
_last: list[Callable[[], object]] = []
_held = threading.local()  # ``mask``: what the thread that forks lets through otherwise


def process_id() -> int:
    """That of this process, without asking the system for it; after a fork in C it is still the parent's."""
    return _process_id


def _learn_process_id() -> None:
    global _process_id  # noqa: PLW0603 - each process has its own
    _process_id = os.getpid()


os.register_at_fork(after_in_child=_learn_process_id)


def at_end(act: Callable[[], object]) -> None:
    """Do ``act`` in each process that ``end_unless`` is about to end."""
    _last.append(act)


def end_unless(owner: int) -> None:
    """Called where a handler ends, with the process that began it: whatever it forked goes no further.

    How such a process ends is what it would be in a program of its own: 0 after a return, the code of a SystemExit, 1
    after an error. Its parent's job, marks, counts and connections are not its business.
    """
    if os.getpid() == owner:
        return
    error = sys.exc_info()[1]
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    else:
        code = int(error is not None)
        if error is not None:  # without its text, which may be private
            logger.error("process %d, which a handler forked, ended with %s", os.getpid(), type(error).__qualname__)
    for act in _last:
        with suppress(Exception):
            act()
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(code & 0xFF)


def hold_signals() -> None:
    """Let SIGTERM and SIGINT wait. Around a fork: else one that comes before the child is itself would be lost."""
    _held.mask = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)


def release_signals() -> None:
    """Let them come again, as before ``hold_signals``."""
    signal.pthread_sigmask(signal.SIG_SETMASK, _held.mask)


def make_ordinary(ours: Handler, before: Mapping[int, Handler]) -> None:
    """From now on a process that is forked here has the signal handlers of ``before`` wherever this one has ``ours``.

    Once per process; a fork in C does not know of it.
    """

    def in_child() -> None:
        for number, handler in before.items():
            if signal.getsignal(number) == ours:
                signal.signal(number, handler)
        release_signals()

    os.register_at_fork(before=hold_signals, after_in_parent=release_signals, after_in_child=in_child)
