"""A time limit on what is read: a filter that no index serves ends in an error, not in a database that labours."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.db import OperationalError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from handlers import patience

SILENT_SECONDS = 3.0  # beyond a limit, for the answer that says so
_CANCELLED = "57014"  # PostgreSQL's code for a statement that was ended by its limit
_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)  # of the read inside, on SQLite
_STEPS = 5_000  # of SQLite's machine between two looks at the clock


class TookTooLong(Exception):
    """Reading took longer than its limit."""


@contextmanager
def time_limit(seconds: float, using: str) -> Iterator[None]:
    """Whatever is read inside ends after ``seconds``. Raises TookTooLong.

    It is the database that stops, at once on both; statements that begin after the time has passed do not start. One
    that says nothing any more is an OperationalError a little later.
    """
    connection = connections[using]
    connection.ensure_connection()
    deadline = time.monotonic() + seconds

    def in_time(execute: Any, sql: Any, params: Any, many: Any, context: Any) -> Any:
        if time.monotonic() > deadline:
            raise TookTooLong(f"longer than {seconds:g} s")
        return execute(sql, params, many, context)

    inside = _on_postgresql if connection.vendor == "postgresql" else _on_sqlite
    try:
        with (
            patience.limited(seconds + SILENT_SECONDS),
            inside(connection, seconds, deadline),
            connection.execute_wrapper(in_time),
        ):
            yield
    except OperationalError as error:
        if _is_timeout(error):
            raise TookTooLong(f"longer than {seconds:g} s") from None
        raise


def _is_timeout(error: OperationalError) -> bool:
    cause = error.__cause__
    return getattr(cause, "sqlstate", None) == _CANCELLED or str(error) == "interrupted"


@contextmanager
def _on_postgresql(connection: BaseDatabaseWrapper, limit: float, deadline: float) -> Iterator[None]:
    own = connection.get_autocommit() and not connection.in_atomic_block
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:  # noqa: TID251 - PostgreSQL, to read
        cursor.execute(
            "SELECT current_setting('statement_timeout'), set_config('statement_timeout', %s, true)",
            [str(max(int(limit * 1000), 1))],
        )
        before = cursor.fetchone()[0]
        yield
        if not own:  # then the transaction goes on. After an error its savepoint takes the setting back
            cursor.execute("SELECT set_config('statement_timeout', %s, true)", [before])


@contextmanager
def _on_sqlite(connection: BaseDatabaseWrapper, limit: float, deadline: float) -> Iterator[None]:
    raw: Any = connection.connection
    outer = _deadline.get()
    mark = _deadline.set(deadline if outer is None else min(deadline, outer))
    raw.set_progress_handler(_is_over, _STEPS)
    try:
        yield
    finally:
        _deadline.reset(mark)
        if outer is None:
            raw.set_progress_handler(None, 0)


def _is_over() -> bool:
    return (deadline := _deadline.get()) is not None and time.monotonic() > deadline
