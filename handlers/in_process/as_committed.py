"""What runs inside a caller's transaction finds what it would find without one.

A job's handler begins with no transaction: each of its statements stands by itself, and what it does in a block of its
own is committed, with its ``on_commit`` hooks, as the block ends. In a test case all of that lies in the test's own
transaction, so it is imitated with savepoints.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

from django.db import Error, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

logger = logging.getLogger(__name__)

BLOCK = "_block_of_jobs"  # the attribute of Django's connection
STATEMENT = "jobs_statement"  # the savepoint around one


@contextmanager
def as_committed(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Let what runs inside work as if no transaction were open; what it leaves open is rolled back."""
    if not connection.in_atomic_block:
        try:
            yield
        finally:
            _end_what_is_left(connection)
        return
    _watch_blocks()
    block = _Block(connection)
    attributes: dict[str, Any] = vars(connection)
    ours = {BLOCK: block, "on_commit": block.on_commit, "savepoint_commit": block.savepoint_commit}
    before = {name: attributes[name] for name in ours if name in attributes}  # where a job runs another one
    with connection.execute_wrapper(block.execute):
        attributes |= ours
        try:
            yield
        finally:
            for name in ours:
                del attributes[name]
            attributes |= before
            block.end()


@cache
def _watch_blocks() -> None:
    """Let each block that begins look whether it begins inside of one of these. From now on: others may be at it."""
    enter = transaction.Atomic.__enter__

    def watched(self: Any) -> None:
        block: _Block | None = vars(transaction.get_connection(self.using)).get(BLOCK)
        if block is None:
            enter(self)
        else:
            block.enter(self, enter)

    transaction.Atomic.__enter__ = watched  # type: ignore[method-assign]


class _Block:
    """A transaction that is not the job's, as it stood before."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._connection = connection
        self._depth, self._hooks = len(connection.savepoint_ids), len(connection.run_on_commit)
        self._was_broken = connection.needs_rollback

    @property
    def _is_outside(self) -> bool:
        """Whether no block of the job's own is open."""
        return len(self._connection.savepoint_ids) <= self._depth

    def enter(self, atomic: Any, enter: Callable[[Any], None]) -> None:
        """Begin a block: the job's outermost ones are transactions, so they need savepoints, whatever they say."""
        if not self._is_outside:
            enter(atomic)
            return
        self._mend()
        given, atomic.savepoint = atomic.savepoint, True
        try:
            enter(atomic)
        finally:
            atomic.savepoint = given

    def execute(self, execute: Any, sql: Any, params: Any, many: Any, context: Any) -> Any:
        """Run a statement. One that fails outside of the job's own blocks leaves the transaction whole."""
        if not self._is_outside:
            return execute(sql, params, many, context)
        self._mend()
        if self._connection.vendor != "postgresql" or _is_about_savepoints(sql):
            return execute(sql, params, many, context)
        raw = self._connection.connection
        raw.execute(f"SAVEPOINT {STATEMENT}")
        try:
            result = execute(sql, params, many, context)
        except BaseException:
            raw.execute(f"ROLLBACK TO SAVEPOINT {STATEMENT}")
            raise
        finally:
            raw.execute(f"RELEASE SAVEPOINT {STATEMENT}")
        return result

    def on_commit(self, func: Callable[[], object], robust: bool = False) -> None:
        """``connection.on_commit``: at once, where no block of the job's own is open."""
        if self._is_outside:
            _call(func, robust=robust)
        else:
            type(self._connection).on_commit(self._connection, func, robust)

    def savepoint_commit(self, sid: str) -> None:
        """``connection.savepoint_commit``: the end of the job's outermost block is a commit."""
        type(self._connection).savepoint_commit(self._connection, sid)
        if self._is_outside:
            self._run_hooks()

    def end(self) -> None:
        """Roll back what is left open."""
        connection = self._connection
        left = connection.savepoint_ids[self._depth :]
        del connection.atomic_blocks[len(connection.atomic_blocks) - len(left) :]
        del connection.savepoint_ids[self._depth :]
        self._mend()
        if outermost := next((sid for sid in left if sid), None):
            with suppress(Error):
                connection.savepoint_rollback(outermost)
        connection.needs_rollback = self._was_broken
        del connection.run_on_commit[self._hooks :]

    def _mend(self) -> None:
        """Without a transaction of its own, an error breaks none."""
        self._connection.needs_rollback = self._was_broken

    def _run_hooks(self) -> None:
        hooks = self._connection.run_on_commit[self._hooks :]
        del self._connection.run_on_commit[self._hooks :]
        for _, func, robust in hooks:  # type: ignore[misc] # its stubs still describe a pair
            _call(func, robust=robust)


def _call(func: Callable[[], object], *, robust: bool) -> None:
    try:
        func()
    except Exception:
        if not robust:
            raise
        logger.exception("an on_commit hook raised")


def _is_about_savepoints(sql: object) -> bool:
    return isinstance(sql, str) and sql.startswith(("SAVEPOINT ", "RELEASE SAVEPOINT ", "ROLLBACK TO "))


def _end_what_is_left(connection: BaseDatabaseWrapper) -> None:
    if connection.connection is None or not (connection.in_atomic_block or not connection.autocommit):
        return
    connection.in_atomic_block = connection.needs_rollback = connection.closed_in_transaction = False
    connection.savepoint_ids, connection.atomic_blocks, connection.run_on_commit = [], [], []
    try:
        connection.rollback()
        connection.set_autocommit(True)
    except Error:
        connection.close()
