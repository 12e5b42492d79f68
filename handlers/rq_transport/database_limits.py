"""How long a supervisor waits for its database."""

from __future__ import annotations

from django.db.backends.base.base import BaseDatabaseWrapper

from handlers.models.sessions import has_own_session
from handlers.models.sql import is_postgresql


def be_brief(connection: BaseDatabaseWrapper, **_: object) -> None:
    """Bound what the supervisor waits for in the database: its children's timeouts and leases hang on it.

    For the signal ``connection_created``. Not behind a pooler: what is set there would stay for whoever comes next.
    """
    if is_postgresql(connection) and not has_own_session(connection):
        return
    with connection.cursor() as cursor:
        if is_postgresql(connection):
            cursor.execute("SET lock_timeout = '1s'")
            cursor.execute("SET statement_timeout = '5s'")
        else:
            cursor.execute("PRAGMA busy_timeout = 1000")
