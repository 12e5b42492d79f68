"""Where in the order of ids a moment lies: jobs get their ids in the order in which they are created, very nearly."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import connections

from handlers.models import JobRecord
from handlers.models.sql import to_time

# How far a job's id may be out of its time's order: a transaction that took long, a clock that was set.
SLACK = timedelta(hours=1)
SMALL = 50_000  # fewer ids than this are quicker read than searched

_TABLE = JobRecord._meta.db_table
_ONE_END = f"(SELECT id FROM {_TABLE} ORDER BY id {{}} LIMIT 1)"  # noqa: S608
_MIDDLE = "low + (high - low) / 2"
_IS_BEFORE = f"(SELECT j.created_at FROM {_TABLE} j WHERE j.id >= {_MIDDLE} ORDER BY j.id LIMIT 1) < %s"  # noqa: S608
# Halves the range of ids some forty times, each time with two looks at the primary key.
_SEARCH = f"""
    WITH RECURSIVE search(low, high) AS (
        SELECT low, high FROM (SELECT {_ONE_END.format("")} AS low, {_ONE_END.format("DESC")} + 1 AS high) AS ends
        WHERE high - low > {SMALL}
        UNION ALL
        SELECT CASE WHEN {_IS_BEFORE} THEN {_MIDDLE} + 1 ELSE low END,
               CASE WHEN {_IS_BEFORE} THEN high ELSE {_MIDDLE} END
        FROM search WHERE low < high
    )
    SELECT low FROM search WHERE low >= high
"""  # noqa: S608 - our own table, and a number


def first_id_created_since(at: datetime, using: str) -> int | None:
    """An id such that every job before it was created before ``at``, nearly the largest; None: not worth knowing."""
    return _search(at - SLACK, using)


def last_id_created_before(at: datetime, using: str) -> int | None:
    """An id such that every job from it on was created at ``at`` or later, nearly the smallest; None as above."""
    return _search(at + SLACK, using)


def _search(at: datetime, using: str) -> int | None:
    connection = connections[using]
    with connection.cursor() as cursor:
        cursor.execute(_SEARCH, [to_time(connection, at)] * 2)
        row = cursor.fetchone()
    return int(row[0]) if row else None
