"""A loop's way through an outage: say once that something is away, try again ever more slowly, say when it is back."""

from __future__ import annotations

import logging
import time

SLOWEST_SECONDS = 1.0  # between two tries: the longest that work waits after an outage ended


class Outage:
    """How one thing that a loop depends on is doing. ``name`` begins the log's sentences."""

    def __init__(self, name: str, log: logging.Logger) -> None:
        self._name = name
        self._log = log
        self._since: float | None = None
        self._tries = 0

    def failed(self, error: BaseException, *, traceback: bool = False) -> float:
        """Note a failure; only an outage's first is logged. Seconds to wait before the next try."""
        if self._since is None:
            self._since = time.monotonic()
            self._tries = 0
            reason = " ".join(str(error).split()) or type(error).__name__
            self._log.warning("%s: %s; trying again", self._name, reason, exc_info=error if traceback else None)
        self._tries += 1
        return min(SLOWEST_SECONDS, 0.05 * 2.0 ** min(self._tries, 10))

    def worked(self) -> None:
        """Note that it works."""
        if self._since is not None:
            self._log.warning("%s: works again after %.1f s", self._name, time.monotonic() - self._since)
            self._since = None
