"""What handlers leave in database connections is undone between two jobs, and no connection is shared with a fork.

A connection belongs to a thread, and closes by itself neither when its thread ends nor soon after. So those that were
opened here are known by their threads: those of a thread that has ended are closed by the one that runs the jobs. Those
of a thread that lives are its own business, but for asgiref's: it does the sync work of coroutines that a handler runs
by ``asyncio.run``, and outlives them.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import cache

from asgiref.sync import SyncToAsync
from django.db import Error, close_old_connections, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from handlers import patience
from handlers.conf import jobs_settings

IDLE = 0  # libpq's PQTRANS_IDLE

_opened: dict[threading.Thread, set[BaseDatabaseWrapper]] = {}  # in threads that are younger than the first job
_older: set[threading.Thread] = set()
_theirs: set[BaseDatabaseWrapper] = set()  # those that the older ones opened
_of_thread = threading.local()
_inherited: list[object] = []  # a parent's: kept, because letting go of one would close it for the parent too


@cache
def watch() -> None:
    """From now on know which connections this process opens. To call it again changes nothing."""
    _older.update(threading.enumerate())  # the process's own, which look after themselves
    _theirs.update(connections.all(initialized_only=True))
    connection_created.connect(_note)
    SyncToAsync.single_thread_executor = _SyncThread()
    os.register_at_fork(after_in_child=_forget)


def tidy() -> None:
    """Undo what a handler left behind: an open transaction, manual commits, a connection that broke or was closed.

    For the calling thread, which has run the handler, and for those that the handler had work for it.
    """
    _tidy_own()
    for thread in list(_opened) if _opened else ():
        if not thread.is_alive():
            for connection in _opened.pop(thread, ()):
                if connection.connection is not None:
                    _discard(connection)
        elif isinstance(executor := SyncToAsync.single_thread_executor, _SyncThread) and thread is executor.thread:
            executor.tidy(_opened[thread])


def _note(connection: BaseDatabaseWrapper, **_: object) -> None:
    """Receive Django's signal ``connection_created``."""
    thread = threading.current_thread()
    (_theirs if thread in _older else _opened.setdefault(thread, set())).add(connection)


class _SyncThread(ThreadPoolExecutor):
    """What asgiref does sync work of coroutines in where nobody waits for them: the same, but its thread is known."""

    def __init__(self) -> None:
        super().__init__(max_workers=1, initializer=self._begin)
        self.thread: threading.Thread | None = None
        self._tidying: Future[None] | None = None

    def tidy(self, opened: set[BaseDatabaseWrapper]) -> None:
        """Have it done, if need be. Not waited for: something that was broken off may still be under way there."""
        if any(map(_needs_care, tuple(opened))) and (self._tidying is None or self._tidying.done()):
            self._tidying = self.submit(self._tidy)

    def _begin(self) -> None:
        self.thread = threading.current_thread()

    def _tidy(self) -> None:
        with patience.limited(jobs_settings().lease_seconds):
            _tidy_own()
            close_old_connections()


def _forget() -> None:
    """In a forked child: make connections of its own, and do sync work of coroutines in a thread that it has."""
    for connection in connections.all(initialized_only=True):
        _inherited.append(connection)
        del connections[connection.alias]
    _inherited.extend((*_opened.values(), *_theirs))
    _opened.clear()
    _theirs.clear()
    SyncToAsync.single_thread_executor = _SyncThread()


def _tidy_own() -> None:
    for connection in _open_connections():
        if connection.connection is None:
            continue
        try:
            if connection.errors_occurred:
                connection.close_if_unusable_or_obsolete()
            left = _is_left(connection)
        except Error:
            left = True
        if left:
            _discard(connection)


def _open_connections() -> Sequence[BaseDatabaseWrapper]:
    """This thread's connections, open or not. To look each up between two jobs costs more than all that is tidied."""
    known: Sequence[BaseDatabaseWrapper] = getattr(_of_thread, "connections", ())
    if len(known) < len(connections.settings):  # once a thread has them all, they stay the same objects
        known = _of_thread.connections = connections.all(initialized_only=True)
    return known


def _is_left(connection: BaseDatabaseWrapper) -> bool:
    """Whether a transaction is open on it, or someone closed it behind Django's back. Asks nothing of the server."""
    raw = connection.connection
    if raw is None:
        return False
    if connection.in_atomic_block or not connection.autocommit:
        return True
    if connection.vendor == "sqlite":
        try:
            return bool(raw.total_changes < 0 or raw.in_transaction)
        except sqlite3.ProgrammingError:  # closed
            return True
    return bool(raw.pgconn.transaction_status != IDLE)  # nor is that of a closed one


def _needs_care(connection: BaseDatabaseWrapper) -> bool:
    """The same, and whether an error or its age speaks against it; seen from another thread."""
    if connection.connection is None:
        return False
    is_old = connection.close_at is not None and time.monotonic() >= connection.close_at
    return is_old or connection.errors_occurred or _is_left(connection)


def _discard(connection: BaseDatabaseWrapper) -> None:
    # Dropping the driver's connection rolls back. Django's own close() would only mark one inside an atomic block.
    connection.in_atomic_block = False
    connection.savepoint_ids = []
    connection.atomic_blocks = []
    connection.run_on_commit = []
    connection.needs_rollback = False
    connection.closed_in_transaction = False
    with suppress(Exception):
        connection.connection.rollback()
    with suppress(Exception):  # not close() on the driver's: a pool counts what it has given, and wants it back
        connection._close()  # type: ignore[attr-defined]
    connection.connection = None
