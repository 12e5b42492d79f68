"""What goes wrong with hooks of the site's, middleware and receivers: counted here, and written for people to see.

Where nothing goes wrong nothing is done. Else a thread writes it, moments later and seldom: not the code whose hook it
was, which may be in a transaction that is taken back, or in a hurry. What waits is lost with a process that is killed.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from django.db import connections

logger = logging.getLogger(__name__)

MOST = 100  # pieces whose troubles wait to be written: there are few, since code names them
LONGEST = 500  # characters of what is told of one
GATHER_SECONDS = 0.5  # from the first one until it is written, with what has come by then
PAUSE_SECONDS = 5.0  # between two times
END_SECONDS = 2.0  # that the thread is given as the process ends
RECEIVER, IMPORT = "jobs_moved", "import"  # hooks, beside middleware's ``enqueue``, ``run`` and ``arun``
EVERY_RECEIVER = "handlers.signals.jobs_moved"  # the name where it is not known whose fault it is


class Went(StrEnum):
    """How a hook goes wrong."""

    RAISED = "raised"
    SKIPPED = "skipped"  # it did not call what it is around
    SWALLOWED = "swallowed"  # what that raised
    SLOW = "slow"
    BROKEN_OFF = "broken off"  # since it took too long
    DROPPED = "dropped"  # moves that receivers were too slow for
    UNMADE = "unmade"  # it cannot be imported, or made


class Piece(NamedTuple):
    """A hook, by its dotted name, and how it is used."""

    name: str
    hook: str


@dataclass(slots=True)
class Tally:
    """How often it went wrong, and how for the last time."""

    count: int
    went: Went
    detail: str  # with no sensitive value


class Troubles:
    """Those of one process. ``process``: the name that its row has, if it is a worker or a scheduler."""

    def __init__(self) -> None:
        self.process = ""
        self.write: Callable[[str, Mapping[Piece, Tally]], None] | None = None  # who has models says how
        self._begin_anew()
        os.register_at_fork(after_in_child=self._begin_anew)
        atexit.register(self.end)

    def _begin_anew(self) -> None:
        """A fork has no thread of its parent's, maybe a lock that nobody opens; and the parent writes its own."""
        self._lock = threading.Lock()
        self._waiting: dict[Piece, Tally] = {}
        self._thread: threading.Thread | None = None
        self._ending = threading.Event()

    def note(self, name: str, hook: str, went: Went, detail: str = "", *, count: int = 1) -> None:
        """It has gone wrong. Never raises, and waits for nothing.

        In a process that runs tests nothing is written before ``flush``: it would outlive the test's transaction.
        """
        piece = Piece(name, hook)
        with self._lock:
            if piece in self._waiting:
                count += self._waiting[piece].count
            elif len(self._waiting) >= MOST:
                return
            self._waiting[piece] = Tally(count, went, detail[:LONGEST])
            if self._thread is None and self.write is not None and not _is_tested():
                thread = threading.Thread(target=self._run, name="troubles", daemon=True)
                with suppress(RuntimeError):  # there is no room for one now: it is tried again with the next
                    thread.start()
                    self._thread = thread

    def flush(self) -> None:
        """Write what waits, here and now. Raises the database's errors."""
        if (taken := self._take()) and self.write is not None:
            self.write(self.process, taken)

    def end(self) -> None:
        """The process ends, or may: what still waits is given a moment."""
        if (thread := self._thread) is not None:
            self._ending.set()
            thread.join(END_SECONDS)
            self._ending.clear()

    def _run(self) -> None:
        self._ending.wait(GATHER_SECONDS)
        while taken := self._take():
            if not self._is_written(taken) and self._ending.is_set():
                self._thread = None
                return
            self._ending.wait(PAUSE_SECONDS)

    def _take(self) -> dict[Piece, Tally]:
        """What waits; without any the thread is at its end."""
        with self._lock:
            taken, self._waiting = self._waiting, {}
            if not taken:
                self._thread = None
        return taken

    def _is_written(self, taken: Mapping[Piece, Tally]) -> bool:
        assert self.write is not None
        try:
            self.write(self.process, taken)
        except Exception as error:  # noqa: BLE001 - a database that is away, as likely as not
            logger.debug("cannot write the troubles of hooks: %s", str(error).strip())
            with self._lock:
                for piece, tally in taken.items():
                    if newer := self._waiting.get(piece):
                        newer.count += tally.count
                    else:
                        self._waiting[piece] = tally
            return False
        finally:
            connections.close_all()
        return True


def told(error: BaseException, text: str = "") -> str:
    """The error in one line: its class, ``text``, where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}{text}{place}"


def _is_tested() -> bool:
    """Whether Django's test runner, or pytest's, has set up this process."""
    from django.core import mail  # here: most processes need none of it

    return hasattr(mail, "outbox")


troubles = Troubles()
