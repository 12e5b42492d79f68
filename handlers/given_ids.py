"""On SQLite, an id that a table has given once is not given again after a migration either.

Most changes of a table make it anew there, of the rows that are left, and with it goes the highest id that was given: a
job that was deleted, and is still named by the audit or by a row of the site's, would be another one.
"""

from __future__ import annotations

from django.apps import AppConfig
from django.db import connections
from django.db.models.signals import post_migrate, pre_migrate

_given: dict[tuple[str, str], list[tuple[int, str]]] = {}  # by database and app, while it migrates: highest id, table


def watch(app: AppConfig) -> None:
    """Look after the tables of ``app``."""
    pre_migrate.connect(_remember, sender=app)
    post_migrate.connect(_keep, sender=app)


def _remember(*, sender: AppConfig, using: str, **_: object) -> None:
    """Receive ``pre_migrate`` of an app."""
    if connections[using].vendor != "sqlite":
        return
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_sequence'")
        if cursor.fetchone():
            tables = {model._meta.db_table for model in sender.get_models(include_auto_created=True)}
            cursor.execute("SELECT seq, name FROM sqlite_sequence")
            _given[using, sender.label] = [(highest, table) for highest, table in cursor.fetchall() if table in tables]


def _keep(*, sender: AppConfig, using: str, **_: object) -> None:
    """Receive ``post_migrate`` of an app. Without the other before it, as after a flush, do nothing."""
    if given := _given.pop((using, sender.label), []):
        with connections[using].cursor() as cursor:
            cursor.executemany("UPDATE sqlite_sequence SET seq = max(seq, %s) WHERE name = %s", given)
