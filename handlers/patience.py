"""How long the engine waits for PostgreSQL: a server, a proxy or a network that went silent says nothing, for ever.

A thread says how long its own questions may take. A handler's take as long as they take: where a job is the current
one there is no limit. The waiting itself is limited, here, and not by what is set in the server: that a pooler would
hand to the next client, and who is silent enforces nothing. Neither would TCP notice a proxy that takes all and passes
nothing on.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

from django.db import Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from handlers.current import current

CANCEL_SECONDS = 1.0  # what a server that lives has to end a statement that it is asked to end
# What the kernel does about a peer that vanished while it was asked, in seconds: half a minute in all.
KEEPALIVES = {"keepalives": 1, "keepalives_idle": 15, "keepalives_interval": 5, "keepalives_count": 3}
USER_TIMEOUT_MS = 30_000


class _Thread(threading.local):
    seconds: float | None = None


_of_thread = _Thread()
_RAN_OUT = "ran_out_for_jobs"  # an attribute of the driver's error
_filled_in: dict[str, set[str]] = {}  # by alias: the names of OPTIONS that the settings left open


def limit(seconds: float | None) -> float | None:
    """From now on this thread waits no longer than ``seconds`` for an answer; None: for ever. What held before."""
    before = _of_thread.seconds
    _of_thread.seconds = seconds
    return before


@contextmanager
def limited(seconds: float | None) -> Iterator[None]:
    """In here this thread waits no longer than ``seconds`` for an answer."""
    before = limit(seconds)
    try:
        yield
    finally:
        limit(before)


def limit_connecting(alias: str, seconds: int, *, shared: bool) -> None:
    """Let this process connect to the database ``alias`` within ``seconds``, and notice a peer that vanished.

    ``shared``: handlers use these connections too. Then what they send may wait for as long as the server likes.
    What the settings say stays, in OPTIONS, a service file or the environment.
    """
    options = connections.settings[alias]["OPTIONS"]
    for name in _filled_in.pop(alias, ()):  # in a process that was forked: for its parent
        del options[name]
    if not _is_psycopg(connections[alias]) or "service" in options or "PGSERVICE" in os.environ:
        return
    ours: dict[str, Any] = dict(KEEPALIVES)
    if "PGCONNECT_TIMEOUT" not in os.environ:
        ours["connect_timeout"] = seconds
    if not shared:
        ours["tcp_user_timeout"] = USER_TIMEOUT_MS
    _filled_in[alias] = ours.keys() - options.keys()
    options |= {name: ours[name] for name in _filled_in[alias]}


def heed_limits(connection: BaseDatabaseWrapper, **_: object) -> None:
    """Receive Django's signal ``connection_created``."""
    if _is_psycopg(connection):
        raw: Any = connection.connection
        raw.__class__ = _limited(raw.__class__)


def ran_out(error: Error) -> bool:
    """Whether it is the limit that ended the wait. Nobody knows what the statement did then, or will do yet."""
    return hasattr(error.__cause__, _RAN_OUT)


def _is_psycopg(connection: BaseDatabaseWrapper) -> bool:
    return connection.vendor == "postgresql" and connection.Database.__name__ == "psycopg"  # type: ignore[attr-defined]


@cache
def _limited(kind: type[Any]) -> type[Any]:
    """The driver's class of connections, heeding this thread's limit."""
    if hasattr(kind, "heeds_limit"):
        return kind

    class Limited(kind):  # type: ignore[misc]
        __slots__ = ()
        heeds_limit = True

        def wait(self, gen: Generator[Any, Any, Any], *args: Any, **kwargs: Any) -> Any:
            seconds = None if current.get() else _of_thread.seconds
            return super().wait(gen if seconds is None else _in_time(self, gen, seconds), *args, **kwargs)

    return Limited


def _in_time(raw: Any, gen: Generator[Any, Any, Any], seconds: float) -> Generator[Any, Any, Any]:
    """``gen``, which is ended by an error once ``seconds`` have passed without an answer.

    The driver sends 0 into it several times a second while there is none. First the server is asked to end the
    statement: where it lives, and only something holds it up, it does so, and keeps no statement that nobody waits for.
    """
    until, asked = time.monotonic() + seconds, False
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if not ready and time.monotonic() >= until:
                if asked:
                    _hang_up(raw, seconds)
                until, asked = time.monotonic() + CANCEL_SECONDS, True
                _ask_to_cancel(raw)
            wanted = gen.send(ready)
    except StopIteration as end:
        return end.value
    except Exception as error:
        if asked:
            setattr(error, _RAN_OUT, True)
        raise


def _ask_to_cancel(raw: Any) -> None:
    import psycopg

    if psycopg.capabilities.has_cancel_safe():  # the older way waits without a limit
        with suppress(psycopg.Error):
            raw.cancel_safe(timeout=CANCEL_SECONDS)


def _hang_up(raw: Any, seconds: float) -> None:
    from psycopg import OperationalError

    raw.pgconn.finish()
    raise OperationalError(f"the database has not answered for {seconds:g} s: the connection is given up")
