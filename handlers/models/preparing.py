"""The cursor of the statements that are written by hand, on PostgreSQL."""

from __future__ import annotations

from typing import Any

from psycopg import Cursor

from handlers.models.sessions import session_of


class PreparingCursor(Cursor[Any]):
    """Has the server plan once what runs again and again, where the connection has a session of its own.

    A statement is prepared when it runs for the second time on a connection. Behind a pooler none is, whatever the
    connection's settings say: there its name can lead to another client's statement, and to that one's rows.
    """

    def execute(self, query: Any, params: Any = None, **_: Any) -> PreparingCursor:
        """Run ``query``, a str whose text is always the same."""
        session = session_of(self.connection)
        again = session is not None and session.prepares and query in session.seen
        if session is not None and not again:
            session.seen.add(query)
        super().execute(query, params, prepare=again)
        return self
