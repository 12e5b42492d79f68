"""Middleware that goes wrong."""

from __future__ import annotations

import threading
import time
from typing import Any

from handlers import Run
from handlers.hooks import JobMiddleware
from tests.app.jobs import note
from tests.app.many import PAUSE


class Raises(JobMiddleware):
    """Around each run, before it begins."""

    def run(self, run: Run, call_next: Any) -> Any:
        """Raise."""
        raise LookupError("broken")


class Hangs(JobMiddleware):
    """Around each run, before it begins: in one wait, or in many where no signal would end that."""

    def run(self, run: Run, call_next: Any) -> Any:
        """Go on until somebody breaks it off."""
        note("hangs")
        if threading.current_thread() is threading.main_thread():
            time.sleep(600)
        while True:
            time.sleep(PAUSE)
