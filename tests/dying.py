"""What is killed, or loses its database, at any one of its instants: before a statement, around a commit."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from typing import Any

import pytest
from django.db import Error, OperationalError, connection, connections

from tests.processes import wait_for


def kills(prepare: Callable[[], object], act: Callable[[], object], *, least: int = 5) -> Iterator[bool]:
    """What ``prepare`` makes here, ``act`` goes on with where it is ``killed``, over and over, at one instant after the
    other, until it comes to its end.

    Each time it is over comes whether it was killed. AssertionError when there were not ``least`` such instants.
    """
    for number in count():
        prepare()
        was_killed = killed(act, at=number)
        yield was_killed
        if not was_killed:
            assert number >= least, f"it was over after {number} instants"
            return


def killed(act: Callable[[], object], *, at: int) -> bool:
    """Do this in a process of its own, which kills itself at its instant of this number; whether it got there.

    It is over when the database knows. AssertionError for what raises.
    """

    def instant(number: int) -> None:
        if number == at:
            os.kill(os.getpid(), signal.SIGKILL)

    connections.close_all()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            with _instants(instant):
                act()
            status = 0
        except BaseException:  # no test goes on here
            traceback.print_exc()
        finally:
            os._exit(status)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "it raised, see above"
    if connection.vendor == "postgresql":
        wait_for("its connection's end", _is_alone)
    return os.WIFSIGNALED(status)


def _is_alone() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        return bool(cursor.fetchone()[0] == 0)


def cut(act: Callable[[], object], *, at: int) -> bool:
    """Do this here, and have PostgreSQL end the connection at the instant of this number; whether it got there.

    After a commit its answer is lost with it.
    """
    was_cut = False

    def instant(number: int) -> bool:
        nonlocal was_cut
        if is_now := number == at:
            was_cut = True
            _end_backend(connection.connection.info.backend_pid)
        return is_now

    try:
        with _instants(instant), suppress(Error):
            act()
    finally:
        connection.close()
    return was_cut


class Death(BaseException):
    """Nothing catches it. Where it is raised at a commit it may be lost: Django fails to end the transaction then."""


def broken_off(act: Callable[[], object], *, at: int) -> bool:
    """Do this here until its instant of this number; whether it got there. The cheapest way, for many tries.

    Its connection dies with it: what comes later would commit what that has left undone.
    """
    is_dead = False

    def instant(number: int) -> None:
        nonlocal is_dead
        is_dead = is_dead or number == at
        if is_dead:
            raise Death

    try:
        with _instants(instant):
            act()
    except (Death, Error):
        if not is_dead:
            raise
    finally:
        if is_dead:
            connection.close()
    return is_dead


DEATHS = [killed, pytest.param(cut, marks=pytest.mark.postgresql)]  # SQLite has no connection that could be cut


def _end_backend(pid: int) -> None:
    """And wait until it is gone."""
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 60000)", [pid])
    finally:
        other.close()


@contextmanager
def _instants(instant: Callable[[int], object]) -> Iterator[None]:
    """Call ``instant`` with the number of each. What is true after a commit loses the answer to that."""
    number, commit = 0, connection._commit  # type: ignore[attr-defined]

    def pass_by() -> object:
        nonlocal number
        number += 1
        return instant(number - 1)

    def execute(execute: Callable[..., Any], *args: Any) -> Any:
        pass_by()
        return execute(*args)

    def committing() -> None:
        pass_by()
        commit()
        if pass_by():
            raise OperationalError("the connection was cut before the answer came")

    connection._commit = committing  # type: ignore[attr-defined]
    try:
        with connection.execute_wrapper(execute):
            yield
    finally:
        connection._commit = commit  # type: ignore[attr-defined]
