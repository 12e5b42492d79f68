"""Batched SQL in one dialect: rows as a CTE, the database's clock, times to and from the driver.

Only the life cycle writes SQL by hand, and only because its batches need what the ORM cannot say: many guarded
updates, each with values of its own, in one statement that answers which rows it moved.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model
from django.utils import timezone
from django.utils.dateparse import parse_datetime

T = TypeVar("T")

# kind of a column -> PostgreSQL's array type to send it in, and the cast that it needs afterwards
KINDS = {
    "id": ("bigint", ""),
    "int": ("integer", ""),
    "bool": ("boolean", ""),
    "float": ("double precision", ""),
    "text": ("text", ""),
    "time": ("timestamptz", ""),
    "json": ("text", "::jsonb"),
}


def is_postgresql(connection: BaseDatabaseWrapper) -> bool:
    """Whether the connection speaks to PostgreSQL (else: SQLite)."""
    return connection.vendor == "postgresql"


def database_now(connection: BaseDatabaseWrapper) -> datetime:
    """The database's clock, aware, UTC. SQLite has no clock but the host's."""
    if not is_postgresql(connection):
        return timezone.now()
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        now: datetime = cursor.fetchone()[0]
    return now.astimezone(UTC)


def to_time(connection: BaseDatabaseWrapper, value: datetime | None) -> Any:
    """``value`` as the driver wants it."""
    return connection.ops.adapt_datetimefield_value(value)


def from_time(value: Any) -> datetime | None:
    """A time that a raw cursor returned, aware, UTC. SQLite hands out text without a zone."""
    if isinstance(value, str):
        value = parse_datetime(value)
    if value is None:
        return None
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)  # type: ignore[no-any-return]


def rows_cte(
    connection: BaseDatabaseWrapper, name: str, columns: dict[str, str], rows: Sequence[Sequence[Any]]
) -> tuple[str, list[Any]]:
    """``rows`` as a common table expression ``name(columns)``, with its parameters.

    ``columns`` maps each name to a key of KINDS. Rows must not be empty.
    """
    names = ", ".join(columns)
    if is_postgresql(connection):
        arrays = ", ".join(f"%s::{KINDS[kind][0]}[]" for kind in columns.values())
        casts = ", ".join(f"{column}{KINDS[kind][1]}" for column, kind in columns.items())
        sql = f"{name}({names}) AS (SELECT {casts} FROM unnest({arrays}) AS raw({names}))"
        return sql, [list(values) for values in zip(*rows, strict=True)]
    line = f"({', '.join(['%s'] * len(columns))})"
    times = [index for index, kind in enumerate(columns.values()) if kind == "time"]
    params: list[Any] = []
    for row in rows:
        values = list(row)
        for index in times:
            values[index] = to_time(connection, values[index])
        params += values
    return f"{name}({names}) AS (VALUES {', '.join([line] * len(rows))})", params


def insert(
    connection: BaseDatabaseWrapper, model: type[Model], columns: dict[str, str], rows: Sequence[Sequence[Any]]
) -> None:
    """Insert ``rows`` into the table of ``model`` in as few statements as the driver allows."""
    names = ", ".join(columns)
    for chunk in chunks(rows, 1_000):
        cte, params = rows_cte(connection, "v", columns, chunk)
        with connection.cursor() as cursor:
            cursor.execute(f"WITH {cte} INSERT INTO {model._meta.db_table} ({names}) SELECT {names} FROM v", params)


def add_up(
    connection: BaseDatabaseWrapper,
    model: type[Model],
    columns: dict[str, str],
    rows: Sequence[Sequence[Any]],
    *,
    key: Sequence[str],
) -> None:
    """Insert ``rows``, or add what is not in ``key`` (a unique constraint) to the row that is there."""
    names, table = ", ".join(columns), model._meta.db_table
    sums = ", ".join(f"{name} = {table}.{name} + excluded.{name}" for name in columns if name not in key)
    for chunk in chunks(rows, 1_000):
        cte, params = rows_cte(connection, "v", columns, chunk)
        with connection.cursor() as cursor:
            cursor.execute(
                f"WITH {cte} INSERT INTO {table} ({names}) SELECT {names} FROM v WHERE TRUE "
                f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET {sums}",
                params,
            )


def chunks(items: Sequence[T], size: int) -> Iterable[Sequence[T]]:
    """``items`` in slices of at most ``size``."""
    return (items[start : start + size] for start in range(0, len(items), size))
