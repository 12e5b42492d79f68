"""Whether a connection to PostgreSQL has a server session of its own.

A pooler that hands out server connections by the transaction (PgBouncer and its like) gives what one client leaves in a
session to the next: under a prepared statement's name another client's statement runs, and a cursor's name leads to
another client's rows. Each client must tell the pooler from the server by itself, and can: when it connects it is told
the number of the process that serves it, which a pooler makes up or leaves out; asked by SQL, the server names the real
one. A connection through a pooler stays one, so that is asked once for each.
"""

from __future__ import annotations

import logging
import secrets
import sys
from typing import TYPE_CHECKING, Any

from django.db.backends.base.base import BaseDatabaseWrapper

if TYPE_CHECKING:
    from psycopg import Connection

logger = logging.getLogger(__name__)

NAME_BITS = 62
POOLED = (
    "The database %r is reached through a connection pooler (PgBouncer or the like), of which its settings say nothing."
    " Statements are not prepared, and iterator() reads all rows at once."
)
POOLED_HINT = (
    "Tell Django: DISABLE_SERVER_SIDE_CURSORS = True in its settings, or DATABASE_POOLER=1 where jobsite's settings are"
    " in use. In transaction mode handlers cannot count on what a session keeps: SET, LISTEN, advisory locks that"
    " outlive a transaction, temporary tables. Or connect workers to PostgreSQL itself, which is faster."
)

_KEPT = "_session_of_jobs"  # the attribute of the driver's connection that holds its Session
_pooled: set[str] = set()  # aliases that lead to a pooler, of which their settings say nothing


class Session:
    """What is known of one connection of the driver.

    ``prepares``: whether statements may be prepared on it. ``seen``: the texts of statements that ran on it once.
    """

    __slots__ = ("is_own", "prepares", "seen")

    def __init__(self, raw: Connection[Any], *, is_own: bool) -> None:
        self.is_own = is_own
        self.prepares = is_own and _name_apart(raw)
        self.seen: set[str] = set()
        if self.prepares and raw.prepare_threshold is None:
            raw.prepare_threshold = sys.maxsize  # nothing by itself, but what asks for it


def session_of(raw: Connection[Any]) -> Session | None:
    """What is known of the driver's connection; None before ``has_own_session`` asked."""
    return vars(raw).get(_KEPT)


def has_own_session(connection: BaseDatabaseWrapper) -> bool:
    """Whether ``connection``, open and to PostgreSQL, has a server session of its own: no pooler stands between.

    No, unasked, where its settings have DISABLE_SERVER_SIDE_CURSORS, which is how Django is told of such a pooler.
    They have it, too, once one was found: so Django reads no rows by cursors that would outlive their transaction.
    """
    raw, settings = connection.connection, connection.settings_dict
    session = session_of(raw)
    if session is None:
        is_told = settings.get("DISABLE_SERVER_SIDE_CURSORS", False)
        session = Session(raw, is_own=not is_told and _is_direct(raw))
        setattr(raw, _KEPT, session)
        if not (is_told or session.is_own):
            _pooled.add(connection.alias)
            settings["DISABLE_SERVER_SIDE_CURSORS"] = True
            logger.warning(f"{POOLED} %s", connection.alias, POOLED_HINT)  # noqa: G004 - two constants
        if not session.is_own and connection.alias in _pooled:
            raw.prepare_threshold = None  # whatever the settings ask for, which know of no pooler
    return session.is_own


def leads_to_pooler(alias: str) -> bool:
    """Whether a connection of ``alias`` was found to go through a pooler of which its settings said nothing."""
    return alias in _pooled


def look_for_pooler(connection: BaseDatabaseWrapper, **_: object) -> None:
    """Receive Django's signal ``connection_created``."""
    if connection.vendor == "postgresql" and connection.Database.__name__ == "psycopg":  # type: ignore[attr-defined]
        has_own_session(connection)


def _name_apart(raw: Connection[Any]) -> bool:
    """Give its statements names that no other connection uses; whether that could be done.

    Should a pooler ever pass for the server, then its answer is an error: no such statement. By psycopg's own count,
    from 0 on, it would be another client's row. The count is psycopg's own business (it is there in 3.1 to 3.3).
    """
    statements = getattr(raw, "_prepared", None)
    if not isinstance(getattr(statements, "_prepared_idx", None), int):
        return False
    statements._prepared_idx = secrets.randbits(NAME_BITS)  # type: ignore[union-attr]
    return True


def _is_direct(raw: Connection[Any]) -> bool:
    row = raw.execute("SELECT pg_backend_pid()", prepare=False).fetchone()
    if not raw.autocommit:
        raw.rollback()
    return row is not None and row[0] == raw.info.backend_pid
