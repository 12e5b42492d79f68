"""The connection of the tests' own process to PostgreSQL: to each test a new one, but only the first makes one.

To start a process of the server, which then looks up each of the tables that are emptied, costs more than most tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from handlers.models import sessions


@contextmanager
def reused() -> Iterator[Callable[[], None]]:
    """Yields what leaves the connection to the next test. Whoever closes it, a test among them, closes it as ever."""
    connection = connections[DEFAULT_DB_ALIAS]  # itself: patches of the proxy for it are not undone
    own = _Reused(connection)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection, "get_new_connection", own.connect)
        patch.setattr(connection, "close", own.close)
        yield own.leave
        own.close()


class _Reused:
    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._connection = connection
        self._connect, self._close = connection.get_new_connection, connection.close
        self._left: tuple[Any, dict[str, Any]] | None = None  # the driver's connection, and what it was made with

    def leave(self) -> None:
        """Django knows of none any more, and the server of nothing that was done on it."""
        raw: Any = self._connection.connection
        if raw is not None and raw.info.transaction_status.name == "IDLE" and not self._connection.in_atomic_block:
            try:
                raw.execute("DISCARD ALL", prepare=False)
            except raw.Error:  # the server has ended it
                pass
            else:
                self._left, self._connection.connection = (raw, self._connection.get_connection_params()), None
        self._close()

    def connect(self, params: dict[str, Any]) -> Any:
        """What is left, if it was made as this one is to be."""
        if self._left is None or self._left[1] != params:
            self._close_left()
            return self._connect(params)
        raw, self._left = self._left[0], None
        # What ours and the driver knew of the session.
        vars(raw).pop(sessions._KEPT, None)
        raw._prepared = type(raw._prepared)()
        raw.prepare_threshold = params.get("prepare_threshold")
        return raw

    def close(self) -> None:
        """As ever."""
        self._close_left()
        self._close()

    def _close_left(self) -> None:
        if self._left is not None:
            self._left[0].close()
        self._left = None
