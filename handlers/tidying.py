"""What handlers leave in database connections is undone between two jobs, and no connection is shared with a fork.

A connection belongs to a thread, and closes by itself neither when its thread ends nor soon after. So those that were
opened here are known by their threads: those of a thread that has ended are closed by the one that runs the jobs. Those
of a thread that lives are its own business, but for asgiref's: it does the sync work of coroutines that a handler runs
on an event loop, and outlives them.
"""

from __future__ import annotations

import os
import select
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, TypeVar

from asgiref.sync import SyncToAsync
from django.db import Error, close_old_connections, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

IDLE, GOOD = 0, 0  # libpq's PQTRANS_IDLE and CONNECTION_OK
AGE_SECONDS = 5.0  # how often it is looked whether connections are too old
T = TypeVar("T")

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
    SyncToAsync.single_thread_executor = TidyThreads(1)
    os.register_at_fork(after_in_child=_forget)


def tidy() -> None:
    """Undo what a handler left behind: an open transaction, manual commits, a connection that broke or was closed.

    For the calling thread, which has run the handler, and for those that worked for a handler and have ended.
    """
    _tidy_own()
    if _opened:
        close_of_ended_threads()


def with_something_open() -> set[BaseDatabaseWrapper]:
    """This thread's connections on which a transaction is open, or commits are manual."""
    return {connection for connection in _open_connections() if _is_left(connection)}


def drop_what_is_open(*, besides: Collection[BaseDatabaseWrapper]) -> None:
    """Undo what has been left open since ``with_something_open`` said ``besides``.

    An error that is none of the database's leaves Django's ``atomic`` so on PostgreSQL, where it strikes in the commit:
    Django takes the transaction for ended, and whatever is written next would never be committed.
    """
    for connection in _open_connections():
        if connection not in besides and _is_left(connection):
            _discard(connection)


@contextmanager
def sparing(connections: Sequence[BaseDatabaseWrapper]) -> Iterator[None]:
    """Leave this thread's ``connections`` alone inside, with what is open on them: they are not the job's, but its
    caller's, who looks after them."""
    before = getattr(_of_thread, "spared", ())
    _of_thread.spared = connections
    try:
        yield
    finally:
        _of_thread.spared = before


def close_of_ended_threads() -> None:
    """Close the connections that threads have left behind, with what was open on them."""
    for thread in list(_opened):
        if not thread.is_alive():
            for connection in _opened.pop(thread, ()):
                if connection.connection is not None:
                    _discard(connection)


def close_broken_connections() -> None:
    """Drop database connections that an error may have left unusable, so that the next query opens new ones."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            with suppress(Error):
                connection.close()


def _note(connection: BaseDatabaseWrapper, **_: object) -> None:
    """Receive Django's signal ``connection_created``."""
    thread = threading.current_thread()
    (_theirs if thread in _older else _opened.setdefault(thread, set())).add(connection)


class TidyThreads(ThreadPoolExecutor):
    """Threads for the sync work of coroutines, which outlive these: each is tidied after each call.

    Runs that share an event loop share them too. So what one call leaves open is nobody's after it. One thread keeps
    its connections for the next call; of several, whose number the database would have to bear, none does.
    """

    def __init__(self, threads: int) -> None:
        super().__init__(threads, thread_name_prefix="for coroutines")
        self._keeps = threads == 1

    def submit(self, call: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Have ``call`` done there."""
        return super().submit(self._carry_out, call, args, kwargs)

    def _carry_out(self, call: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> T:
        self._mend()
        try:
            return call(*args, **kwargs)
        finally:
            _tidy_own()
            if not self._keeps:
                connections.close_all()

    def _mend(self) -> None:
        """Let go of connections that their server has ended meanwhile, or that are as old as they may be."""
        close_if_old()
        for connection in _open_connections():
            if connection.connection is not None and _has_been_ended(connection):
                _discard(connection)


def close_if_old() -> None:
    """Close those of this thread's connections that are as old as they may be; looked at now and then."""
    if time.monotonic() >= getattr(_of_thread, "aged_at", 0.0) + AGE_SECONDS:
        _of_thread.aged_at = time.monotonic()
        close_old_connections()


def _forget() -> None:
    """In a forked child: make connections of its own, and do sync work of coroutines in a thread that it has."""
    for connection in connections.all(initialized_only=True):
        _inherited.append(connection)
        del connections[connection.alias]
    _inherited.extend((*_opened.values(), *_theirs))
    _opened.clear()
    _theirs.clear()
    SyncToAsync.single_thread_executor = TidyThreads(1)


def _tidy_own() -> None:
    for connection in _open_connections():
        if connection.connection is None or connection in getattr(_of_thread, "spared", ()):
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


def _has_been_ended(connection: BaseDatabaseWrapper) -> bool:
    """Whether PostgreSQL, or who stands before it, has ended an idle connection. Asks nothing of it."""
    link = getattr(connection.connection, "pgconn", None)
    if link is None:
        return False
    try:
        waiting = select.poll()
        waiting.register(link.socket, select.POLLIN)
        while link.status == GOOD and waiting.poll(0):
            link.consume_input()
    except Exception:  # noqa: BLE001 - the driver's, whatever it is
        return True
    return bool(link.status != GOOD)


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
