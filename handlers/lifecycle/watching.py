"""Who is told, after the commit, that a watched job has moved. What moved is on record until then: see WatchedMove."""

from __future__ import annotations

from collections.abc import Callable

from django.db.backends.base.base import BaseDatabaseWrapper

_told: Callable[[], object] = bool  # until there is somebody


def call(follow: Callable[[], object]) -> None:
    """Have ``follow``, which raises nothing, called after each commit by which watched jobs have moved."""
    global _told  # noqa: PLW0603
    _told = follow


def tell(connection: BaseDatabaseWrapper) -> None:
    """Watched jobs have moved. Without Django's knowledge of the commit a scheduler finds out, within seconds."""
    if connection.in_atomic_block:
        connection.on_commit(_told, robust=True)
    elif connection.get_autocommit():
        _told()
