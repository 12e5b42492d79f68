"""A database that is away for the processes that a test starts, and not for the test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction

from handlers.models.sql import is_postgresql
from tests.conftest import database_url

ROLE = "guest"


def say(*statements: str) -> None:
    """Execute ``statements``."""
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


@contextmanager
def guest_url() -> Iterator[str]:
    """The URL of this test's database for a user of its own, who may do what the processes do. SQLite has no users."""
    if not is_postgresql(connection):
        yield database_url(connection.settings_dict)
        return
    say(
        f"CREATE ROLE {ROLE} LOGIN PASSWORD '{ROLE}'",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {ROLE}",
        f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {ROLE}",
    )
    try:
        yield database_url(connection.settings_dict | {"USER": ROLE, "PASSWORD": ROLE})
    finally:
        say(f"DROP OWNED BY {ROLE}", f"DROP ROLE {ROLE}")


@contextmanager
def away() -> Iterator[None]:
    """The guest is thrown out and not let in. On SQLite the database is locked."""
    if not is_postgresql(connection):
        with transaction.atomic():  # the write lock, from its beginning on
            yield
        return
    throw_out = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{ROLE}'"  # noqa: S608
    say(f"ALTER ROLE {ROLE} NOLOGIN", throw_out)
    try:
        yield
    finally:
        say(f"ALTER ROLE {ROLE} LOGIN")
