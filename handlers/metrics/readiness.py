"""Whether a process has what it needs to serve: the database, with the tables of this code, and the queue server."""

from __future__ import annotations

from collections.abc import Collection

from django.db import Error, connections
from django.db.migrations.executor import MigrationExecutor

from handlers import execution, tidying
from handlers.exceptions import TransportUnavailable
from handlers.lifecycle import database
from handlers.transport import get_transport

_migrated: set[str] = set()  # aliases whose migrations this process has seen applied: they stay so


def not_ready(*, without: Collection[str] = ()) -> list[str]:
    """What is missing, a line each, which names no address and no value; empty when nothing is. Never raises.

    ``without``: what does not count, of database, migrations, redis.
    """
    asked = {"database": _database, "migrations": _migrations, "redis": _server}
    return [f"{name}: {why}" for name, ask in asked.items() if name not in without and (why := ask())]


def forget() -> None:
    """Look for migrations anew."""
    _migrated.clear()


def _database() -> str:
    return execution.database_trouble()


def _migrations() -> str:
    alias = database()
    if alias in _migrated:
        return ""
    try:
        executor = MigrationExecutor(connections[alias])
        plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except Error:
        tidying.close_broken_connections()
        return "the database does not say which are applied"
    if plan:
        return f"{len(plan)} are not applied: run manage.py migrate"
    _migrated.add(alias)
    return ""


def _server() -> str:
    try:
        return "it takes no messages" if get_transport().trouble() else ""
    except TransportUnavailable:
        return "none is configured"
