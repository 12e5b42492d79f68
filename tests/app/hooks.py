"""Middleware that goes wrong."""

from __future__ import annotations

from typing import Any

from handlers import Run
from handlers.hooks import JobMiddleware


class Raises(JobMiddleware):
    """Around each run, before it begins."""

    def run(self, run: Run, call_next: Any) -> Any:
        """Raise."""
        raise LookupError("broken")
