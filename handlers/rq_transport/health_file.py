"""A file by which whatever supervises a process sees that it lives: its time is now, its text what the process does."""

from __future__ import annotations

import logging
import os
import time
from contextlib import suppress
from pathlib import Path

logger = logging.getLogger(__name__)

BEAT_SECONDS = 1.0

READY, STOPPING = "ready", "stopping"


class HealthFile:
    """Written by the process's main loop and by nothing else: a loop that hangs lets the file grow old.

    ``path``: None for no file at all. Raises OSError when it cannot be written.
    """

    def __init__(self, path: str | None) -> None:
        self._path = None if path is None else Path(path).absolute()
        self._state, self._beat_at, self._is_failing = "", 0.0, False
        if self._path is not None:
            self._write("starting")

    def beat(self, state: str) -> None:
        """This process lives, and is in this ``state``, a line of words. Never raises."""
        now = time.monotonic()
        if self._path is None or (state == self._state and now < self._beat_at + BEAT_SECONDS):
            return
        self._beat_at = now
        try:
            if state == self._state:
                with suppress(FileNotFoundError):
                    os.utime(self._path)
                    return
            self._write(state)
        except OSError as error:
            if not self._is_failing:  # once, and not each second
                logger.warning("the health file cannot be written: %s", error)
            self._is_failing = True
        else:
            self._is_failing = False

    def remove(self) -> None:
        """The process has come to its end."""
        if self._path is not None:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)

    def _write(self, state: str) -> None:
        # Whole or not at all: who reads it meanwhile finds the text of before.
        assert self._path is not None
        made = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        made.write_text(f"{state}\n")
        made.replace(self._path)
        self._state = state
