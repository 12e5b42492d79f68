"""How many threads a worker's database has connections for."""

from __future__ import annotations

import logging
from contextlib import ExitStack

from django.db import Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from handlers import lifecycle, pools, tidying
from handlers.models.sessions import has_own_session
from handlers.models.sql import fetch, is_postgresql

logger = logging.getLogger(__name__)

# Connections of a process: those of its main thread, its keeper, the thread for coroutines, and the one for what
# follows from jobs.
BESIDE = 4

# A limit, what it is, and what to do about it. Those of roles and databases do not hold for a superuser.
LIMITS = """
SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
     - coalesce(current_setting('reserved_connections', true), '0')::int, 'max_connections less what is reserved'
UNION ALL
SELECT rolconnlimit, 'CONNECTION LIMIT of role ' || quote_ident(rolname)
FROM pg_roles WHERE rolname = session_user AND rolconnlimit >= 0 AND NOT rolsuper
UNION ALL
SELECT datconnlimit, 'CONNECTION LIMIT of database ' || quote_ident(datname)
FROM pg_database, pg_roles
WHERE datname = current_database() AND datconnlimit >= 0 AND rolname = session_user AND NOT rolsuper
"""


def fitting(threads: int, *, processes: int) -> int:
    """``threads``, or as many as each of ``processes`` can have connections for, and then it says so.

    Others connect too: that there is room for all when nobody else does is what can be known. A pooler tells no client
    its limit, but that it has come to it. On SQLite, which has none, it is ``threads``; so it is when the database does
    not say.
    """
    if threads == 1 or not processes:
        return threads
    try:
        limits = _limits(processes, threads + BESIDE)
    except Error as error:
        tidying.close_broken_connections()
        logger.debug("the database does not say how many connections it has: %s", str(error).strip())
        limits = []
    if not limits:
        return threads
    each, named = min(limits)
    fewer = max(min(threads, each - BESIDE), 1)
    if fewer < threads:
        logger.warning(
            "%d threads may need %d database connections in each of %d processes, which can have %d (%s):"
            " it runs %d. Raise that limit, or set --threads (JOBS['THREADS']) or --processes lower",
            threads, threads + BESIDE, processes, each, named, fewer,
        )  # fmt: skip
    return fewer


def _limits(processes: int, each: int) -> list[tuple[int, str]]:
    """Connections that one process may have, where ``each`` would like so many, and by which limit."""
    alias = lifecycle.database()
    connection = connections[alias]
    if not is_postgresql(connection):
        return []
    connection.ensure_connection()
    found = []
    if (most := pools.most(alias)) is not None:
        found.append((most, f"the pool of DATABASES[{alias!r}] holds {most}"))
        each = min(each, most)
    if has_own_session(connection):
        # The supervisor has one for itself.
        found += [((most - 1) // processes, f"{named}: {most}") for most, named in fetch(connection, LIMITS, ())]
    elif refused := _refused(connection, each * processes):
        given, why = refused
        found.append((given // processes, f"its pooler gives {given + 1}, and says: {why}"))
    return found


def _refused(connection: BaseDatabaseWrapper, wanted: int) -> tuple[int, str] | None:
    """How many more connections a pooler gives, if fewer than are ``wanted``, and why no more.

    They are those that the worker would open anyway, and closed at once: it takes nobody's place for longer.
    """
    params = connection.get_connection_params()
    with ExitStack() as given:
        for number in range(wanted):
            try:
                with connection.wrap_database_errors:
                    given.callback(connection.get_new_connection(params).close)
            except Error as error:
                words = str(error).strip().rpartition("FATAL:")[2].strip()
                if "connections" in words:
                    return number, words.splitlines()[0]
                raise  # it is away, or this process may open no more files
    return None
