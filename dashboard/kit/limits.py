"""A time limit on what a page reads: a filter that no index serves ends in words, not in a database that labours."""

from __future__ import annotations

from contextlib import AbstractContextManager

from django.conf import settings

from handlers import limits
from handlers.limits import TookTooLong
from handlers.models.kept import database

__all__ = ["STATEMENT_SECONDS", "TookTooLong", "statement_seconds", "time_limit"]

STATEMENT_SECONDS = 2.0  # where the setting CONSOLE_STATEMENT_SECONDS says nothing else


def statement_seconds() -> float:
    """How long one read of a page may take."""
    return float(getattr(settings, "CONSOLE_STATEMENT_SECONDS", STATEMENT_SECONDS))


def time_limit(seconds: float | None = None, using: str | None = None) -> AbstractContextManager[None]:
    """Whatever is read inside ends after ``seconds`` (default: the setting). Raises TookTooLong.

    It is the database that stops, at once on both; statements that begin after the time has passed do not start.
    """
    limit = statement_seconds() if seconds is None else seconds
    return limits.time_limit(limit, using or database())
