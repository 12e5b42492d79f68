"""A time limit on what a page reads: a filter that no index serves ends in words, not in a database that labours."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.db import OperationalError, connections, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from handlers.models import JobRecord

STATEMENT_SECONDS = 2.0  # where the setting CONSOLE_STATEMENT_SECONDS says nothing else
_CANCELLED = "57014"  # PostgreSQL's code for a statement that was ended by its limit
_STEPS = 5_000  # of SQLite's machine between two looks at the clock


class TookTooLong(Exception):
    """Reading took longer than its limit."""


def statement_seconds() -> float:
    """How long one read of a page may take."""
    return float(getattr(settings, "CONSOLE_STATEMENT_SECONDS", STATEMENT_SECONDS))


@contextmanager
def time_limit(seconds: float | None = None, using: str | None = None) -> Iterator[None]:
    """Whatever is read inside ends after ``seconds`` (default: the setting). Raises TookTooLong.

    It is the database that stops, at once on both; statements that begin after the time has passed do not start.
    """
    limit = statement_seconds() if seconds is None else seconds
    connection = connections[using or router.db_for_read(JobRecord)]
    connection.ensure_connection()
    deadline = time.monotonic() + limit

    def in_time(execute: Any, sql: Any, params: Any, many: Any, context: Any) -> Any:
        if time.monotonic() > deadline:
            raise TookTooLong(f"longer than {limit:g} s")
        return execute(sql, params, many, context)

    inside = _on_postgresql if connection.vendor == "postgresql" else _on_sqlite
    try:
        with inside(connection, limit, deadline), connection.execute_wrapper(in_time):
            yield
    except OperationalError as error:
        if _is_timeout(error):
            raise TookTooLong(f"longer than {limit:g} s") from None
        raise


def _is_timeout(error: OperationalError) -> bool:
    cause = error.__cause__
    return getattr(cause, "sqlstate", None) == _CANCELLED or str(error) == "interrupted"


@contextmanager
def _on_postgresql(connection: BaseDatabaseWrapper, limit: float, deadline: float) -> Iterator[None]:
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_setting('statement_timeout'), set_config('statement_timeout', %s, true)",
            [str(max(int(limit * 1000), 1))],
        )
        before = cursor.fetchone()[0]
        yield
        # The transaction may be a caller's, and go on. After an error its savepoint takes the setting back.
        cursor.execute("SELECT set_config('statement_timeout', %s, true)", [before])


@contextmanager
def _on_sqlite(connection: BaseDatabaseWrapper, limit: float, deadline: float) -> Iterator[None]:
    raw: Any = connection.connection
    raw.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
    try:
        yield
    finally:
        raw.set_progress_handler(None, 0)
