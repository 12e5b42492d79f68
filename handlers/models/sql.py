"""Batched SQL in one dialect: rows as a CTE, the database's clock, times to and from the driver.

Only the life cycle writes SQL by hand, and only because its batches need what the ORM cannot say: many guarded
updates, each with values of its own, in one statement that answers which rows it moved.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from functools import cache, partial
from typing import Any, TypeVar

from django.db import DataError, NotSupportedError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from django.db.models import Model, QuerySet
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from pydantic_core import to_json

T = TypeVar("T")
M = TypeVar("M", bound=Model)

KEPT = "_cursor_of_jobs"  # the attribute of Django's connection under which ``fetch`` leaves a cursor

# What ``go_by_index`` sets, as a column of a statement whose transaction then goes on.
BY_INDEX = "set_config('synchronous_commit', 'off', TRUE), " + ", ".join(
    f"set_config('enable_{scan}', 'off', TRUE)" for scan in ("seqscan", "bitmapscan")
)

# kind of a column -> its type in PostgreSQL
KINDS = {
    "id": "bigint",
    "int": "integer",
    "bool": "boolean",
    "float": "double precision",
    "text": "text",
    "uuid": "uuid",  # 32 hex digits
    "time": "timestamptz",
    "json": "jsonb",  # JSON text
    "value": "jsonb",  # what JSON is made of
}


def is_postgresql(connection: BaseDatabaseWrapper) -> bool:
    """Whether the connection speaks to PostgreSQL (else: SQLite)."""
    return connection.vendor == "postgresql"


# How rows of jobs are locked. NO KEY: FOR UPDATE alone would pass over a job, or wait for one, that a row of the site's
# refers to by a foreign key, for as long as the transaction that wrote the row is open.
LOCK_JOBS = "FOR NO KEY UPDATE"


def lock_jobs(jobs: QuerySet[M], *, skip: bool = False, of: Sequence[str] = ()) -> QuerySet[M]:
    """``jobs``, to be locked as they are read; SQLite passes it over. ``skip``: not those that others have locked."""
    return jobs.select_for_update(skip_locked=skip, of=of, no_key=True)


def write_lazily(connection: BaseDatabaseWrapper) -> None:
    """Let the commit of this transaction not wait for PostgreSQL's disk.

    For what a crash of the server may take back, as a whole: something else does it again then.
    """
    if is_postgresql(connection):
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL synchronous_commit TO off")


def go_by_index(connection: BaseDatabaseWrapper) -> None:
    """``write_lazily``, and until this transaction ends let PostgreSQL find rows by indexes alone.

    So a plan that is made while a table is empty, or before it has statistics, is one for a full table, too, and can be
    kept (see ``fetch``).
    """
    if is_postgresql(connection):
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {BY_INDEX}")


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


def seconds(column: str, *, postgresql: bool) -> str:
    """What to select for a time, where there are many rows: its driver makes a number of one at a tenth of the cost."""
    return f"date_part('epoch', {column})" if postgresql else column


def from_time(value: Any) -> datetime | None:
    """A time that a raw cursor returned, aware, UTC; from ``seconds``, too. SQLite hands out text without a zone."""
    if isinstance(value, float):
        return from_epoch(value)
    if isinstance(value, str):
        value = parse_datetime(value)
    if value is None:
        return None
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)  # type: ignore[no-any-return]


def from_epoch(seconds: float) -> datetime:
    """A time that a statement returned as seconds since 1970, aware, UTC: to the microsecond what was written."""
    return datetime.fromtimestamp(seconds, UTC)


def prepared(connection: BaseDatabaseWrapper, *, keep: bool = False) -> CursorWrapper:
    """A cursor for a statement whose text is always the same, so that the database plans it only once.

    ``keep``: the one that ``fetch`` left with the connection, if there is one.

    Behind a pooler PostgreSQL plans anew each time. (SQLite's driver keeps each connection's statements by itself.)
    """
    if not is_postgresql(connection):
        return connection.cursor()
    # What connection.cursor() does, but for the kind of cursor. To keep it saves a twentieth of a statement's time.
    connection.close_if_health_check_failed()
    connection.ensure_connection()
    raw = connection.connection
    # Taken, not shared: whoever runs another statement before the answer is read gets a cursor of its own.
    cursor = vars(connection).pop(KEPT, None) if keep else None
    if cursor is None or cursor.closed or cursor.connection is not raw:
        cursor = _cursor_class()(raw)
    return connection._prepare_cursor(cursor)  # type: ignore[attr-defined, no-any-return]


@cache
def _cursor_class() -> type[Any]:
    from handlers.models.preparing import PreparingCursor  # a project on SQLite need not have its driver

    return PreparingCursor


def fetch(
    connection: BaseDatabaseWrapper, sql: str, params: Sequence[Any] | Mapping[str, Any], *, keep: bool = False
) -> list[tuple[Any, ...]]:
    """The rows that a statement whose text is always the same answers.

    ``keep`` its cursor, with its parameters and its answer, in memory for the next such statement: for small ones.
    """
    try:
        cursor = prepared(connection, keep=keep)
        cursor.execute(sql, params)
        rows = list(cursor.fetchall())
        if keep:
            setattr(connection, KEPT, cursor.cursor)
        return rows
    except NotSupportedError:
        if connection.in_atomic_block or not is_postgresql(connection):
            raise
        # "cached plan must not change result type": a migration has changed a table since it was planned.
        with connection.cursor() as cursor:
            cursor.execute("DEALLOCATE ALL")
            cursor.execute(sql, params)
            return list(cursor.fetchall())


def fetch_anew(connection: BaseDatabaseWrapper, sql: str, params: Sequence[Any]) -> list[tuple[Any, ...]]:
    """The same of a statement that is planned each time: over tables that are empty now and have many rows soon.

    A plan that was made while one had hardly any would read it as a whole for each row that is looked for.
    """
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return list(cursor.fetchall())


def rows_cte(name: str, columns: dict[str, str], *, postgresql: bool = True, place: str = "", rows: str = "%s") -> str:
    """A common table expression ``name(columns)`` of the rows in one parameter, which ``as_rows`` makes.

    ``columns`` maps each name to a key of KINDS; ``place`` names a further one, for the row's number (PostgreSQL only).
    ``rows``: the parameter's place. The text depends on nothing else, however many the rows are. (MATERIALIZED: else
    PostgreSQL may take a value out of the JSON again for each row that it joins with.)
    """
    if not postgresql:
        values = ", ".join(f"json_extract(value, '$[{at}]') AS {column}" for at, column in enumerate(columns))
        return f"{name} AS (SELECT {values} FROM json_each({rows}))"
    values = ", ".join(f"{_read(at, kind)} AS {column}" for at, (column, kind) in enumerate(columns.items()))
    elements = f"jsonb_array_elements({rows}::jsonb)"
    if place:
        return f"{name} AS MATERIALIZED (SELECT {values}, {place} FROM {elements} WITH ORDINALITY AS raw(x, {place}))"
    return f"{name} AS MATERIALIZED (SELECT {values} FROM {elements} AS raw(x))"


def one_line(sql: str) -> str:
    """``sql`` without what indents it. Psycopg reads one of over 4,096 characters anew each time."""
    return " ".join(sql.split())


def of_rows(*, postgresql: bool) -> str:
    """The condition that a column is an ``id`` of ``v``, as ``rows_cte`` makes it: found by the column's index."""
    return "= ANY (ARRAY(SELECT id FROM v))" if postgresql else "IN (SELECT id FROM v)"


def listed(ids: Iterable[int | str]) -> str:
    """``ids``, or several that are listed, as they are handed to the database and may come from there: nobody looks at
    each of them."""
    return ",".join(map(str, ids))


def as_ids(connection: BaseDatabaseWrapper, ids: str) -> str:
    """``ids``, which are ``listed``, as the parameter of ``among``."""
    return f"{{{ids}}}" if is_postgresql(connection) else f"[{ids}]"


def among(postgresql: bool) -> str:
    """The condition that a column is one of the ids in a parameter, found by the column's index."""
    # A subquery, of which a few rows are expected: for a thousand ids of a table that was small when it was looked at
    # last, all of that would be read.
    return "= ANY (ARRAY(SELECT unnest(%s::bigint[])))" if postgresql else "IN (SELECT value FROM json_each(%s))"


def one_row(name: str, columns: dict[str, str]) -> str:
    """The same of a single row, for PostgreSQL: a subquery, each of its values a parameter of the column's name."""
    values = ", ".join(f"%({column})s::{KINDS[kind]} AS {column}" for column, kind in columns.items())
    return f"(SELECT {values}) AS {name}"


def _read(at: int, kind: str) -> str:
    return f"NULLIF(x->{at}, 'null')" if kind == "value" else f"(x->>{at})::{KINDS[kind]}"


def as_rows(connection: BaseDatabaseWrapper, rows: Sequence[Sequence[Any]]) -> str:
    """``rows`` as the parameter of ``rows_cte``. A value of kind json is JSON text already.

    Raises DataError where JSON has no such number. PostgreSQL would, too; SQLite's error says nothing of the cause.
    """
    try:
        if is_postgresql(connection):  # reads times as pydantic writes them, in a third of the time
            return to_json(rows, fallback=_refuse).decode()
        return json.dumps(rows, default=partial(_as_json, connection), allow_nan=False)
    except ValueError as error:
        raise DataError(str(error)) from error


def _as_json(connection: BaseDatabaseWrapper, value: Any) -> Any:
    return str(to_time(connection, value)) if isinstance(value, datetime) else _refuse(value)


def _refuse(value: Any) -> Any:
    raise TypeError(f"no column holds a {type(value).__name__}")


def insert(
    connection: BaseDatabaseWrapper,
    model: type[Model],
    columns: dict[str, str],
    rows: Sequence[Sequence[Any]],
    *,
    cursor: CursorWrapper | None = None,
) -> None:
    """Insert ``rows`` into the table of ``model`` in as few statements as the driver allows.

    ``cursor``: one that is open, on SQLite, where one more costs as much as a small statement.
    """
    names, table = ", ".join(columns), model._meta.db_table
    if not is_postgresql(connection):
        times = [at for at, kind in enumerate(columns.values()) if kind == "time"]
        with nullcontext(cursor) if cursor else connection.cursor() as used:
            used.executemany(
                f"INSERT INTO {table} ({names}) VALUES ({', '.join(['%s'] * len(columns))})",
                [_adapted(connection, row, times) for row in rows],
            )
        return
    cte = rows_cte("v", columns, postgresql=True)
    for chunk in chunks(rows, 1_000):
        with prepared(connection) as cursor:
            cursor.execute(
                f"WITH {cte} INSERT INTO {table} ({names}) SELECT {names} FROM v", [as_rows(connection, chunk)]
            )


def _adapted(connection: BaseDatabaseWrapper, row: Sequence[Any], times: Sequence[int]) -> Sequence[Any]:
    if not times:
        return row
    values = list(row)
    for at in times:
        if isinstance(values[at], datetime):
            values[at] = to_time(connection, values[at])
    return values


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
    cte = rows_cte("v", columns, postgresql=is_postgresql(connection))
    for chunk in chunks(rows, 1_000):
        with prepared(connection) as cursor:
            cursor.execute(
                f"WITH {cte} INSERT INTO {table} ({names}) SELECT {names} FROM v WHERE TRUE "
                f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET {sums}",
                [as_rows(connection, chunk)],
            )


def chunks(items: Sequence[T], size: int) -> Iterable[Sequence[T]]:
    """``items`` in slices of at most ``size``."""
    return (items[start : start + size] for start in range(0, len(items), size))
