"""Jobs that ask PostgreSQL for what only they can be told, while others of their process do."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from asgiref.sync import sync_to_async
from django.db import connection, transaction
from rq import Worker

from handlers import Job, handles
from tests.app.jobs import NO_RETRY, note

ROUNDS = 5


def _ask(number: int) -> None:
    """Raises ValueError when another answer comes."""
    for turn in range(ROUNDS):
        with connection.cursor() as cursor:
            cursor.execute("SELECT %s, %s", [number, turn])
            if (row := cursor.fetchone()) != (number, turn):
                raise ValueError(f"asked for {number} and {turn}, and was told {row}")


def _atomic(number: int) -> None:
    _ask(number)
    transaction.atomic().__enter__()
    _ask(number)


def _closed(number: int) -> None:
    _ask(number)
    connection.connection.close()


def _threads(number: int) -> None:
    """Two at once, which leave their connections open."""
    with ThreadPoolExecutor(2) as executor:
        list(executor.map(_ask, (number, -number)))


def _coroutines(number: int) -> None:
    async def ask() -> None:
        await asyncio.gather(*(sync_to_async(_ask, thread_sensitive=False)(each) for each in (number, -number)))

    asyncio.run(ask())


def _fork(number: int) -> None:
    """The child asks while its parent does, both several times."""
    if not (child := os.fork()):
        _ask(-number)
        sys.exit(0)
    _ask(number)
    if status := os.waitpid(child, 0)[1]:
        raise ValueError(f"the child ended with {os.waitstatus_to_exitcode(status)}")


def _fork_idle(number: int) -> None:
    """The same, when all connections are in the pool: each takes the one that is next."""
    _ask(number)
    connection.close()
    _fork(number)


def _fork_in_thread(number: int) -> None:
    """It has no connection, and its process has some."""
    _ask(number)
    failed: list[Exception] = []

    def fork() -> None:
        try:
            if not (child := os.fork()):
                code = 1
                try:
                    _ask(-number)
                    code = 0
                finally:
                    os._exit(code)
            if os.waitpid(child, 0)[1]:
                raise ValueError("the child was told something else")
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=fork)
    thread.start()
    _ask(number)
    thread.join()
    if failed:
        raise failed[0]


HOWS: dict[str, Callable[[int], None]] = {
    "ask": _ask,
    "atomic": _atomic,
    "closed": _closed,
    "threads": _threads,
    "coroutines": _coroutines,
    "fork": _fork,
    "fork idle": _fork_idle,
    "fork in thread": _fork_in_thread,
}


@dataclass(frozen=True)
class Ask(Job):
    """Ask for ``number``, in the way that ``how`` names."""

    number: int
    how: str = "ask"


@handles(Ask, retry=NO_RETRY)
def ask(job: Ask) -> None:
    """Ask, and write that the answer was right."""
    HOWS[job.how](job.number)
    note(f"{job.number}")


class Asking(Worker):
    """RQ's worker, which forks a process for each job, of a site that asks the database between them."""

    def fork_work_horse(self, job: Any, queue: Any) -> None:
        """Fork it."""
        _ask(0)
        connection.close()
        super().fork_work_horse(job, queue)
