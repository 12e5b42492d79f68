"""The one way to begin a transaction that will write."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from django.db import OperationalError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

AT_ONCE = "IMMEDIATE"  # SQLite's word for a transaction that has the lock from its begin on
FIRST_LOOK_SECONDS, LOOK_SECONDS = 0.00025, 0.001  # how often a writer looks whether it is its turn


def writing(using: str, *, savepoint: bool = True) -> transaction.Atomic:
    """A transaction of alias ``using`` that will write, or a part of the caller's: Django's ``atomic``, but for SQLite.

    There it has the one lock from its begin on, and waits ``in_turn`` for it. Where transactions are not IMMEDIATE, as
    a project may have it, one that reads first would fail later, and not wait, when another one has written meanwhile.
    PostgreSQL locks rows, as they are read. Without ``savepoint`` an error leaves the caller's transaction no choice
    but to be rolled back.
    """
    return _Writing(using, savepoint, durable=False)


class _Writing(transaction.Atomic):
    def __enter__(self) -> None:
        connection: Any = transaction.get_connection(self.using)
        if connection.vendor != "sqlite" or _has_lock(connection):
            super().__enter__()
            return
        depth = len(connection.atomic_blocks)
        try:
            self._enter_locked(connection)
        except BaseException as error:
            if len(connection.atomic_blocks) > depth:
                self.__exit__(type(error), error, error.__traceback__)
            raise

    def _enter_locked(self, connection: Any) -> None:
        if connection.in_atomic_block or not connection.get_autocommit():
            super().__enter__()
            with connection.cursor() as cursor:  # a write of nothing, to a table that each database of Django has
                cursor.execute("DELETE FROM sqlite_sequence WHERE FALSE")
            return
        connection.ensure_connection()  # which sets how its transactions begin
        usual, connection.transaction_mode = connection.transaction_mode, AT_ONCE
        try:
            in_turn(connection, super().__enter__)
        finally:
            connection.transaction_mode = usual


def in_turn(connection: BaseDatabaseWrapper, begin: Callable[[], object]) -> None:
    """Wait for our turn to write to SQLite: until ``begin``, which takes the lock or raises, has it.

    SQLite waits for another writer by sleeping, up to a tenth of a second at a time, and so loses its turn to whoever
    comes meanwhile. Our transactions take milliseconds: asking several times in one shares the turns; less often after
    a while, because then there are many of us.
    """
    pause = FIRST_LOOK_SECONDS
    driver = connection.connection  # what is said of the connection alone costs a third of the price there
    (patience,) = driver.execute("PRAGMA busy_timeout").fetchone()  # ms
    until = time.monotonic() + patience / 1000
    driver.execute("PRAGMA busy_timeout = 0")
    try:
        while True:
            try:
                begin()
            except OperationalError as error:
                if "locked" not in str(error) or time.monotonic() >= until:
                    raise
                connection.errors_occurred = False  # nothing is wrong with it
                time.sleep(pause)
                pause = min(pause * 1.5, LOOK_SECONDS)
            else:
                return
    finally:
        driver.execute(f"PRAGMA busy_timeout = {patience:d}")


def _has_lock(connection: Any) -> bool:
    """Whether SQLite's lock came with the transaction that Django has begun, and not its caller by hand."""
    if not (connection.in_atomic_block and connection.commit_on_exit):
        return False
    if connection.transaction_mode in (AT_ONCE, "EXCLUSIVE"):
        return True
    return any(isinstance(block, _Writing) for block in connection.atomic_blocks)
