"""Job types for the tests. Each handler appends what it saw to a file, because it runs in another process."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import resource
import signal
import time
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

from django.db import connection, transaction

from handlers import (
    CancellationToken,
    Command,
    FixedBackoff,
    GiveUp,
    Job,
    JobHandler,
    Limit,
    RetryAfter,
    RetryPolicy,
    Sensitive,
    command_bus,
    handles,
    handles_command,
    job_scheduler,
)

NO_RETRY = RetryPolicy(max_attempts=1)
QUICK = RetryPolicy(max_attempts=3, backoff=FixedBackoff(timedelta(seconds=0.2)), jitter=0)


def note(text: str) -> None:
    """Append a line to the file that the test reads."""
    path = os.environ.get("TEST_NOTES")
    if path:
        with Path(path).open("a") as file:
            file.write(text + "\n")


@dataclass(frozen=True)
class Note(Job):
    """Write a note."""

    text: str


@handles(Note, retry=NO_RETRY)
class NoteHandler(JobHandler[Note]):
    """Writes the job's text to the notes."""

    def handle(self, job: Note, token: CancellationToken) -> None:
        """Write it."""
        note(job.text)


@dataclass(frozen=True)
class Nothing(Job):
    """Do nothing; for measuring."""


@handles(Nothing, retry=NO_RETRY)
def nothing(job: Nothing) -> None:
    """Return."""


@dataclass(frozen=True)
class AsyncNote(Job):
    """Write a note from a coroutine."""

    text: str


@handles(AsyncNote, queue="mail")
async def async_note(job: AsyncNote, token: CancellationToken) -> None:
    """Write the note after a turn of the event loop."""
    await asyncio.sleep(0)
    note(job.text)


@dataclass(frozen=True)
class Sleep(Job):
    """Take a while."""

    seconds: float
    text: str = ""


@handles(Sleep, timeout=timedelta(seconds=30), retry=NO_RETRY)
def sleep(job: Sleep, token: CancellationToken) -> None:
    """Sleep without looking at the token."""
    note(f"start {job.text} {os.getpid()}")
    time.sleep(job.seconds)
    note(f"end {job.text}")


@dataclass(frozen=True)
class Charge(Job):
    """Take a while, one at a time for each tenant."""

    seconds: float
    tenant: int = 1
    text: str = ""


@handles(Charge, retry=NO_RETRY, limits=[Limit("tills", concurrency=1, key="tenant")])
def charge(job: Charge) -> None:
    """Say when it begins and when it ends."""
    note(f"start {job.tenant} {job.text} {os.getpid()}")
    time.sleep(job.seconds)
    note(f"end {job.tenant} {job.text}")


@dataclass(frozen=True)
class OfTenant(Job):
    """Do nothing for a tenant; for measuring."""

    tenant: int


@dataclass(frozen=True)
class LimitedOfTenant(Job):
    """The same, ten at a time for each tenant."""

    tenant: int


@handles(OfTenant, retry=NO_RETRY)
def of_tenant(job: OfTenant) -> None:
    """Return."""


@handles(LimitedOfTenant, retry=NO_RETRY, limits=[Limit("tenants", concurrency=10, key="tenant")])
def limited_of_tenant(job: LimitedOfTenant) -> None:
    """Return."""


@dataclass(frozen=True)
class Call(Job):
    """Start so often in a time, and no oftener."""

    text: str = ""


@handles(Call, retry=NO_RETRY, limits=[Limit("calls", rate="4/2s")])
def call(job: Call) -> None:
    """Say when."""
    note(f"call {job.text} {time.time()}")


@dataclass(frozen=True)
class Steady(Job):
    """Take a while, as another type than Sleep."""

    seconds: float
    text: str = ""


@handles(Steady, retry=NO_RETRY)
def steady(job: Steady, token: CancellationToken) -> None:
    """Do the same."""
    sleep(Sleep(job.seconds, job.text), token)


@dataclass(frozen=True)
class Patient(Job):
    """Wait for cancellation."""

    text: str = ""
    seconds: float = 60


@handles(Patient, timeout=timedelta(seconds=60), retry=QUICK)
def patient(job: Patient, token: CancellationToken) -> None:
    """Wait until asked to stop."""
    note(f"start {job.text}")
    if token.wait(job.seconds):
        note(f"cancelled {job.text} {token.reason}")
    token.raise_if_cancelled()


@dataclass(frozen=True)
class Impatient(Job):
    """Wait for cancellation, with a short timeout."""

    text: str = ""


@handles(Impatient, timeout=timedelta(seconds=0.5), retry=NO_RETRY)
def impatient(job: Impatient, token: CancellationToken) -> None:
    """Wait until asked to stop."""
    token.wait(60)
    note(f"cancelled {job.text} {token.reason}")
    token.raise_if_cancelled()


@dataclass(frozen=True)
class Stubborn(Job):
    """Never look at the token."""


@handles(Stubborn, timeout=timedelta(seconds=0.5), retry=NO_RETRY)
def stubborn(job: Stubborn) -> None:
    """Sleep far beyond the timeout."""
    time.sleep(60)


@dataclass(frozen=True)
class Fail(Job):
    """Fail some times, then succeed."""

    times: int
    key: str = ""


@handles(Fail, retry=QUICK, queue="flaky")
def fail(job: Fail, token: CancellationToken) -> None:
    """Fail while this is one of the first attempts."""
    if token.attempt <= job.times:
        raise ValueError(f"attempt {token.attempt} of {job.key} fails")
    note(f"done {job.key}")


@dataclass(frozen=True)
class Ship(Job):
    """Ship an order."""

    order_id: int
    address: str = "Main Street 1"


@handles(Ship, retry=NO_RETRY)
def ship(job: Ship) -> None:
    """Fail for an address that is none, and while the carrier is down: a file beside the notes says so."""
    if job.address == "nowhere":
        raise ValueError(f"order {job.order_id}: no such address: {job.address}")
    if Path(os.environ["TEST_NOTES"] + ".down").exists():
        raise ConnectionError(f"carrier is down, order {job.order_id}")
    note(f"shipped {job.order_id} to {job.address}")


@dataclass(frozen=True)
class Crash(Job):
    """Kill its own process."""


@handles(Crash)
def crash(job: Crash) -> None:
    """Die as by the kernel's hand."""
    note("crash")
    os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Hoard(Job):
    """Take all the memory that there is, and never let go."""


@handles(Hoard, retry=NO_RETRY)
def hoard(job: Hoard) -> None:
    """Fill what is left below a limit of this process's own, down to the last small pieces."""
    note("hoard")
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + (64 << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for size in (1 << 20, 1 << 16, 1 << 12, 1 << 9, 1 << 6):
        try:
            while True:
                HOARD.append(bytearray(size))
        except MemoryError:
            continue
    raise MemoryError


HOARD: list[bytearray] = []


@dataclass(frozen=True)
class Leave(Job):
    """End its own process as if all were well."""


@handles(Leave)
def leave(job: Leave) -> None:
    """Exit with status 0."""
    note("leave")
    os._exit(0)


@dataclass(frozen=True)
class Busy(Job):
    """Hold the interpreter for seconds, as a bad regular expression does."""

    n: int = 26


@handles(Busy, retry=NO_RETRY)
def busy(job: Busy) -> None:
    """Backtrack."""
    re.match(r"(a+)+$", "a" * job.n + "b")


class Nasty(Exception):
    """Cannot say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


@dataclass(frozen=True)
class Hostile(Job):
    """End in a hostile way."""

    how: str


@handles(Hostile, retry=NO_RETRY)
def hostile(job: Hostile) -> Any:  # noqa: C901 - a list
    """Do what ``how`` says."""
    match job.how:
        case "nul":
            raise ValueError("a\0b")
        case "surrogate":
            raise ValueError("a\ud800b")
        case "nan":
            return float("nan")
        case "huge":
            raise ValueError("x" * 50_000_000)
        case "str":
            raise Nasty
        case "exit":
            raise SystemExit(3)
        case "base":
            raise BaseException("base")
        case "keyboard":
            raise KeyboardInterrupt
        case "atomic":
            transaction.atomic().__enter__()
        case "manual":
            transaction.set_autocommit(False)
        case "begin":
            connection.ensure_connection()
            connection.connection.execute("BEGIN")
        case "closed":
            connection.ensure_connection()
            connection.connection.close()
        case "giveup":
            raise GiveUp("never works")
        case "later":
            raise RetryAfter(timedelta(seconds=0.1))
        case "unasked":
            from handlers import JobCancelled

            raise JobCancelled("nobody asked")
    return None


@dataclass(frozen=True)
class Vanish(Job):
    """Deleted when exhausted."""


@handles(Vanish, retry=RetryPolicy(max_attempts=1, on_exhausted="delete"))
def vanish(job: Vanish) -> None:
    """Fail once and for all."""
    raise ValueError("gone")


@dataclass(frozen=True)
class Greet(Command):
    """A command."""

    name: str


@handles_command(Greet, queue="mail")
def greet(command: Greet) -> None:
    """Write a greeting."""
    note(f"hello {command.name}")


@dataclass(frozen=True)
class Announce(Job):
    """Log a line, and send a command."""

    name: str


@handles(Announce, retry=NO_RETRY)
async def announce(job: Announce) -> None:
    """Do both after a turn of the event loop."""
    await asyncio.sleep(0)
    logging.getLogger("shop").warning("announcing %s", job.name)
    await command_bus.asend(Greet(job.name))


@dataclass(frozen=True)
class Fan(Job):
    """Enqueue many jobs at once from a coroutine."""

    count: int


@handles(Fan, retry=NO_RETRY)
async def fan(job: Fan) -> None:
    """Each waits for its answer."""
    await asyncio.gather(*(job_scheduler.aenqueue(Note(f"fan {number}")) for number in range(job.count)))


@dataclass(frozen=True)
class Card:
    """A part of a job, with a secret."""

    number: Annotated[str, Sensitive()]
    holder: str = ""


@dataclass(frozen=True)
class Pay(Job):
    """Pay with secrets at every kind of place."""

    order_id: int
    token: Annotated[str, Sensitive()]
    card: Card | None = None
    pins: list[Annotated[int, Sensitive()]] = field(default_factory=list)
    note: str | None = None


@handles(Pay, retry=NO_RETRY)
def pay(job: Pay) -> None:
    """Fail, and tell the secrets."""
    raise ValueError(f"order {job.order_id}: cannot pay with {job.token}, {job!r}")


import tests.app.atomic  # noqa: E402, F401 - each registers its own
from tests.app import coroutines, forking, launching, leaving, lifetimes, many, pooling, runs, silence, standing, ways  # noqa: E402, F401 - files of their own, since there is much of it

if "TEST_ASYNC" in os.environ:
    ways.make_async()
