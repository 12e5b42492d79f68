"""Runs whose effects are committed together with their outcomes: whatever dies, and when, all is there or nothing.

What such a handler writes to the database that holds the jobs, the jobs that it enqueues among it, and the move of its
own job to *succeeded*, which still needs the claim's token, are one transaction. So a worker that has lost the job
commits nothing, and a job whose effects are there never runs again.
"""

from __future__ import annotations

import logging
import time
from asyncio import CancelledError
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from typing import Any, TypeVar

from django.db import Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.transaction import TransactionManagementError

from handlers import lifecycle, tidying, tracing
from handlers.exceptions import JobCancelled
from handlers.failures import class_path
from handlers.lifecycle import Claim, Move
from handlers.models import JobRecord
from handlers.models.sql import is_postgresql
from handlers.states import State
from handlers.writing import writing

logger = logging.getLogger(__name__)

T = TypeVar("T")

LONGEST_SECONDS = 0.04  # of runs that share a commit: so long its locks are held, and outcomes wait
IN_ERROR = 3  # libpq's PQTRANS_INERROR


class Lost(Exception):
    """Jobs are no longer their runs': what was to be committed with them is taken back."""

    def __init__(self, job_ids: Collection[int]) -> None:
        super().__init__(job_ids)
        self.job_ids = job_ids


def alone(call: Callable[[], Move], worker: str) -> Move:
    """The move that ``call``, which runs the handler, returns, once it is recorded. Raises what the handler raises.

    And Lost, and what the database raises at the end. After an error that hides whether it was committed, the job's
    token does not: a move that is tried then is not carried out if it was.
    """
    alias = lifecycle.database()
    hooks = len(connections[alias].run_on_commit)  # of the code around it, where jobs run in their caller's transaction
    with writing(alias):
        move = _complete(call, alias)
        _record([move], worker, alias, hooks)
    return _recorded([move])[0]


class SharedCommit:
    """Short runs, one after another in one thread, that share a transaction: its commit costs more than most of them.

    When one raises, all are taken back, and run again: that one by itself, so that what is recorded of it is nothing
    that another one's lost effects have led to. Should the commit fail, each runs again by itself.
    """

    def __init__(self, worker: str) -> None:
        self._worker, self._alias = worker, ""
        self._stack: ExitStack | None = None
        self._began = 0.0
        self._claims: list[Claim] = []
        self._moves: list[Move] = []
        self._recorded: list[Move] = []
        self._again: list[Claim] = []
        self._by_itself: list[Claim] = []

    @property
    def is_open(self) -> bool:
        """Whether runs wait for their commit. Until then this thread must write nothing else."""
        return self._stack is not None

    def is_due(self, now: float) -> bool:
        """Whether they should not wait for one more that takes as long as they did."""
        count = len(self._claims)
        return count > 0 and (now - self._began) * (count + 1) >= LONGEST_SECONDS * count

    def run(self, claim: Claim, call: Callable[[], Move]) -> None:
        """Have ``call`` run the handler. What it raises is raised, with nothing open any more.

        It ends this attempt only where ``has`` says that the run was not carried out here: else it runs again.
        """
        try:
            if self._stack is None:
                self._open()
            move = _complete(call, self._alias)
        except BaseException as error:
            if before := self._claims:
                logger.info("%d jobs run again: job %d raised %s", len(before), claim.job_id, class_path(error))
                self._again += before
                if not isinstance(error, JobCancelled | CancelledError):  # it was asked to stop: nobody's fault
                    self._again.append(claim)
                    self._by_itself.append(claim)
            self.drop()
            raise
        self._claims.append(claim)
        self._moves.append(move)

    def end(self) -> None:
        """Commit what has run. ``take`` says what came of it."""
        stack, self._stack = self._stack, None
        claims, self._claims = self._claims, []
        moves, self._moves = self._moves, []
        if stack is None:
            return
        try:
            with stack:
                _record(moves, self._worker, self._alias, 0)
        except Lost as error:
            self._again += (kept := _still_ours(claims, error.job_ids, self._alias))
            self._by_itself += kept
            logger.info("%d jobs run again: others of their commit are no longer ours", len(kept))
        except Exception as error:  # noqa: BLE001 - whose fault it is shows as each runs alone
            tidying.close_broken_connections()
            logger.info("%d jobs run again, each by itself: their commit raised %s", len(claims), class_path(error))
            self._again += claims
            self._by_itself += claims
        else:
            self._recorded += _recorded(moves)

    def has(self, claim: Claim) -> bool:
        """Whether this run, the last one, was carried out here, or will be again."""
        return any(claims[-1] is claim for claims in (self._claims, self._again) if claims)

    def take(self) -> tuple[list[Move], list[Claim], list[Claim]]:
        """What was recorded since the last call, what is to be run again, and which of these by themselves."""
        taken = self._recorded, self._again, self._by_itself
        self._recorded, self._again, self._by_itself = [], [], []
        return taken

    def drop(self) -> None:
        """Take back what is not committed."""
        stack, self._stack = self._stack, None
        self._claims, self._moves = [], []
        if stack is not None:
            connections[self._alias].set_rollback(True)
            stack.close()

    def _open(self) -> None:
        self._alias, self._began = lifecycle.database(), time.monotonic()
        connection = connections[self._alias]
        with ExitStack() as stack:
            stack.enter_context(tidying.sparing([connection]))
            stack.enter_context(writing(self._alias))
            self._stack = stack.pop_all()


def unless_undone(around: Callable[[Callable[[], T]], T], handler: Callable[[], T]) -> T:
    """What ``around`` returns, which calls ``handler``. Raises TransactionManagementError if it then took back, by a
    transaction of its own, what that had written: the job's success would be recorded without its effects."""
    connection = connections[lifecycle.database()]

    def mark() -> None:
        """Dropped by Django with what was written before it."""

    def marked() -> T:
        value = handler()
        connection.on_commit(mark)
        return value

    value = around(marked)
    hooks = connection.run_on_commit
    connection.run_on_commit = [hook for hook in hooks if hook[1] is not mark]
    if len(connection.run_on_commit) == len(hooks):
        raise TransactionManagementError(
            "the handler is atomic, and a middleware rolled back what it had written, by a transaction around call_next"
        )
    return value


def _complete(call: Callable[[], Move], alias: str) -> Move:
    connection = connections[alias]
    savepoints, blocks = [*connection.savepoint_ids], [*connection.atomic_blocks]
    watch = _Watch(connection)
    try:
        with connection.execute_wrapper(watch):
            move = call()
        is_left = (connection.savepoint_ids, connection.atomic_blocks) != (savepoints, blocks)
    finally:
        # Else who ends our transaction would end one that was left open inside of it, and commit nothing.
        connection.savepoint_ids[:], connection.atomic_blocks[:] = savepoints, blocks
    if is_left:
        raise TransactionManagementError(
            "the handler is atomic, and left a transaction.atomic() open: use it in a with statement"
        )
    if connection.needs_rollback or _is_begun(connection) is None:  # else it would be rolled back without a word
        raise TransactionManagementError(
            "the handler is atomic, and left its transaction to be rolled back: raise an error where a job has failed,"
            " and put what may fail into a transaction.atomic() of its own"
        )
    watch.look()
    if watch.has_ended:  # with what others have written
        raise TransactionManagementError(
            "the handler is atomic, and ended its transaction by a statement of its own: leave that to the worker"
        )
    return move


class _Watch:
    """Sees a transaction end while a handler runs: by a statement, or by the driver, since Django itself ends none.

    On PostgreSQL it begins with the first statement, so that only after one it must be there.
    """

    __slots__ = ("_connection", "_has_begun", "has_ended")

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._connection, self._has_begun, self.has_ended = connection, False, False
        self.look()

    def __call__(self, execute: Callable[..., T], sql: str, params: Any, many: bool, context: Any) -> T:
        self.look()
        try:
            return execute(sql, params, many, context)
        finally:
            self._has_begun = True
            self.look()

    def look(self) -> None:
        """See whether it is still there."""
        if _is_begun(self._connection) is not False:
            self._has_begun = True
        elif self._has_begun:
            self.has_ended = True


def _is_begun(connection: BaseDatabaseWrapper) -> bool | None:
    """Whether the database knows of the transaction yet; None: it takes no more of it, after an error. Asks nothing."""
    raw = connection.connection
    if raw is None:
        return False
    if not is_postgresql(connection):
        return bool(raw.in_transaction)
    status = int(raw.pgconn.transaction_status)
    return None if status == IN_ERROR else status != tidying.IDLE


def _record(moves: Sequence[Move], worker: str, alias: str, hooks: int) -> None:
    """Record all of these with what was written, and be ready to commit. Raises Lost where one is not ours any more.

    ``hooks``: how many there were before the runs.
    """
    moved = lifecycle.apply(moves, actor=worker, using=alias).moved
    if len(moved) < len(moves):
        raise Lost({move.job_id for move in moves} - moved)
    _bear_hooks(alias, hooks)


def _still_ours(claims: Sequence[Claim], lost: Collection[int], alias: str) -> list[Claim]:
    """Those that may run again. Others are over: no job comes back to a run that has lost it.

    It is looked once more, since it may be the transaction itself that deleted one, and that was taken back.
    """
    try:
        rows = JobRecord.objects.using(alias).filter(pk__in=lost, state=State.PROCESSING)
        ours = set(rows.values_list("pk", "token"))
    except Error:
        tidying.close_broken_connections()
        return [*claims]
    kept = [claim for claim in claims if claim.job_id not in lost or (claim.job_id, claim.token) in ours]
    for claim in claims:
        if claim not in kept:
            tracing.settled(claim.job_id, claim.token, "dropped")
    return kept


def _recorded(moves: Sequence[Move]) -> list[Move]:
    """The same moves, which are committed."""
    tracing.moved(moves, {move.job_id for move in moves})
    return [move._replace(is_recorded=True) for move in moves]


def _bear_hooks(alias: str, since: int) -> None:
    """What runs after the commit can no longer make a job fail: what it raises is logged, and stops no other hook."""
    connection = connections[alias]
    hooks = connection.run_on_commit
    connection.run_on_commit = hooks[:since] + [(*hook[:2], True) for hook in hooks[since:]]  # type: ignore[misc]
