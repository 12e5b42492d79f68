"""Jobs that use Django's ORM beside coroutines, in every thread that there is for it."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from asgiref.sync import ThreadSensitiveContext, async_to_sync, sync_to_async
from django.db import connection, connections, transaction

from handlers import CancellationToken, Job, handles, job_scheduler
from handlers.models import JobRecord
from tests.app.jobs import NO_RETRY, Note, note

# --- where


async def _sensitive(act: Callable[[], Any]) -> Any:
    return await sync_to_async(act)()


async def _context(act: Callable[[], Any]) -> Any:
    async with ThreadSensitiveContext():
        return await sync_to_async(act)()


async def _pool(act: Callable[[], Any]) -> Any:
    return await sync_to_async(act, thread_sensitive=False)()


async def _cancelled(act: Callable[[], Any]) -> Any:
    """Nobody waits for it any more when it acts."""
    begun, given_up, done = threading.Event(), threading.Event(), threading.Event()

    def late() -> None:
        begun.set()
        given_up.wait()
        act()
        done.set()

    task = asyncio.create_task(_sensitive(late))
    await asyncio.to_thread(begun.wait)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        given_up.set()
    await asyncio.to_thread(done.wait)


async def _own_executor(act: Callable[[], Any]) -> Any:
    with ThreadPoolExecutor(1) as executor:
        return await sync_to_async(act, thread_sensitive=False, executor=executor)()


async def _thread(act: Callable[[], Any]) -> Any:
    thread = threading.Thread(target=act)
    thread.start()
    await asyncio.to_thread(thread.join)


ASYNC: dict[str, Callable[[Callable[[], Any]], Awaitable[Any]]] = {
    "sensitive": _sensitive,
    "context": _context,
    "pool": _pool,
    "cancelled": _cancelled,
    "executor": _own_executor,
    "thread": _thread,
}


def _in_new_thread(act: Callable[[], Any]) -> None:
    thread = threading.Thread(target=act)
    thread.start()
    thread.join()


SYNC: dict[str, Callable[[Callable[[], Any]], Any]] = {
    "run": lambda act: asyncio.run(_sensitive(act)),
    "run pool": lambda act: asyncio.run(_pool(act)),
    "async_to_sync": async_to_sync(_sensitive),
    "new thread": _in_new_thread,
}

# --- what


def _atomic() -> None:
    transaction.atomic().__enter__()
    JobRecord.objects.filter(pk=0).update(queue="")  # takes SQLite's write lock


def _manual() -> None:
    transaction.set_autocommit(False)
    JobRecord.objects.filter(pk=0).update(queue="")


def _begin() -> None:
    connection.ensure_connection()
    connection.connection.execute("BEGIN")


def _closed() -> None:
    connection.ensure_connection()
    connection.connection.close()


def _write() -> None:
    """A write that is lost in an open transaction."""
    job_scheduler.enqueue(Note("written"))


def _count() -> None:
    note(f"found {JobRecord.objects.count()}")


ACTS = {"atomic": _atomic, "manual": _manual, "begin": _begin, "closed": _closed, "write": _write, "count": _count}


@dataclass(frozen=True)
class AsyncAct(Job):
    """Do what ``act`` names in a thread that ``where`` names."""

    where: str
    act: str


@handles(AsyncAct, retry=NO_RETRY)
async def async_act(job: AsyncAct) -> None:
    """Do it for a coroutine."""
    await ASYNC[job.where](ACTS[job.act])


@dataclass(frozen=True)
class SyncAct(Job):
    """The same, from a handler that is not itself a coroutine."""

    where: str
    act: str


@handles(SyncAct, retry=NO_RETRY)
def sync_act(job: SyncAct) -> None:
    """Do it."""
    SYNC[job.where](ACTS[job.act])


@dataclass(frozen=True)
class AsyncCount(Job):
    """Ask by the ORM's own coroutines, of every alias."""


@handles(AsyncCount, retry=NO_RETRY)
async def async_count(job: AsyncCount) -> None:
    """Ask."""
    for alias in connections:
        note(f"found {await JobRecord.objects.using(alias).acount()}")


_running: set[object] = set()  # in this process, of the two types below


@contextmanager
def _counted() -> Iterator[None]:
    _running.add(this := object())
    try:
        yield
    finally:
        _running.discard(this)


@dataclass(frozen=True)
class Wait(Job):
    """Wait, as for another service."""

    seconds: float = 0.05


@handles(Wait, retry=NO_RETRY)
async def wait(job: Wait) -> None:
    """Do so."""
    with _counted():
        await asyncio.sleep(job.seconds)


@dataclass(frozen=True)
class CountUnawaited(Job):
    """Use the ORM in a coroutine as if it were none."""

    in_transaction: bool


@handles(CountUnawaited, retry=NO_RETRY)
async def count_unawaited(job: CountUnawaited) -> None:
    """Django refuses."""
    if job.in_transaction:
        with transaction.atomic():
            await asyncio.sleep(0)
    else:
        JobRecord.objects.count()


@dataclass(frozen=True)
class Doze(Job):
    """The same, in a thread."""

    seconds: float = 0.05


@handles(Doze, retry=NO_RETRY)
def doze(job: Doze) -> None:
    """Do so."""
    with _counted():
        time.sleep(job.seconds)


@dataclass(frozen=True)
class Block(Job):
    """Hold up the event loop."""

    seconds: float


@handles(Block, retry=NO_RETRY)
async def block(job: Block) -> None:
    """Wait as a sync handler would."""
    await asyncio.sleep(0)
    time.sleep(job.seconds)


@dataclass(frozen=True)
class CountForked(Job):
    """Ask the database in a coroutine, then in one that a forked child runs."""


@handles(CountForked, retry=NO_RETRY)
def count_forked(job: CountForked) -> None:
    """The child would wait for ever for a thread that only its parent has."""
    ask = SYNC["run"]
    ask(_count)
    if not (child := os.fork()):
        ask(_count)
        sys.exit(7)
    _, status = os.waitpid(child, 0)
    note(f"child: {os.waitstatus_to_exitcode(status)}")
    ask(_count)


@dataclass(frozen=True)
class AsyncStubborn(Job):
    """Never look at the token."""


@handles(AsyncStubborn, timeout=timedelta(seconds=0.5), retry=NO_RETRY)
async def async_stubborn(job: AsyncStubborn, token: CancellationToken) -> None:
    """Sleep far beyond the timeout, unless it is broken off."""
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        note("broken off")
        raise


@dataclass(frozen=True)
class Exclusive(Job):
    """Say what else runs in this process."""


@handles(Exclusive, retry=NO_RETRY, exclusive=True)
async def exclusive(job: Exclusive) -> None:
    """Wait a little, so that others could begin."""
    others = len(_running)
    await asyncio.sleep(0.3)
    note(f"beside {others + len(_running)}")


@dataclass(frozen=True)
class ExclusiveOnThread(Job):
    """The same, of a sync handler."""


@handles(ExclusiveOnThread, retry=NO_RETRY, exclusive=True)
def exclusive_on_thread(job: ExclusiveOnThread) -> None:
    """Wait a little, so that others could begin."""
    others = len(_running)
    time.sleep(0.3)
    note(f"beside {others + len(_running)}")
