"""Jobs run in the process of whoever asks, on its database connections, by the steps that a worker takes.

For development and tests (``JOBS["EAGER"]``, ``handlers.testing``): no worker imports this. Where the caller has a
transaction open, as a test case has, the job runs inside it, and finds what it would find in a worker: each statement
outside of its own ``atomic`` blocks stands by itself, and ``on_commit`` hooks run as its own blocks end.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import NamedTuple

from django.db import connections

from handlers import admission, execution, following, lifecycle, logs, tidying
from handlers.cancellation import CancellationToken, CancelReason
from handlers.failures import Failure
from handlers.in_process.as_committed import as_committed
from handlers.lifecycle import Claim
from handlers.models import JobRecord
from handlers.states import State
from handlers.transport import Message

LEASE = timedelta(hours=1)  # nobody renews it

# What is called in the handler's place and time, before it: what it raises, the attempt raises. For tests.
meddle: list[Callable[[Claim], None]] = []


class Run(NamedTuple):
    """An attempt, and what it came to."""

    job_id: int
    job_type: str
    attempt: int
    state: str  # where the job was after it
    failure: Failure | None = None

    @property
    def error(self) -> str:
        """Why it failed, in one line; empty when it did not."""
        return self.failure.line if self.failure else ""


def run(message: Message) -> Run | None:
    """Claim this job, run it and record it; None where it cannot be claimed now."""
    worker = f"{socket.gethostname()[:60]}.{os.getpid()}.in-process"
    for claim in admission.claim([message], worker=worker, lease=LEASE):
        return _run(claim, worker)
    return None


def _run(claim: Claim, worker: str) -> Run:
    token = CancellationToken(_probe(claim, worker), job_id=claim.job_id, attempt=claim.attempt, facts=claim.facts)
    logs.attach()
    try:
        with _own_connections():
            move = execution.run_attached(claim, token, worker=worker, around=_before(claim), in_company=lambda: True)
    finally:
        logs.detach()
    if move is not None:
        execution.settle([move], worker=worker)
        follow()
    jobs = JobRecord.objects.using(lifecycle.database()).filter(pk=claim.job_id)
    state = jobs.values_list("state", flat=True).first() or State.DELETED.value
    return Run(claim.job_id, claim.job_type, claim.attempt, state, move.change.failure if move else None)


def follow() -> None:
    """Do what follows from moves so far, where no commit will say so: in a transaction of the caller's."""
    if connections[lifecycle.database()].in_atomic_block:
        following.follow()


@contextmanager
def _before(claim: Claim) -> Iterator[None]:
    for each in meddle:
        each(claim)
    yield


@contextmanager
def _own_connections() -> Iterator[None]:
    opened = connections.all(initialized_only=True)
    with tidying.sparing(opened), ExitStack() as stack:
        for connection in opened:
            stack.enter_context(as_committed(connection))
        yield


def _probe(claim: Claim, worker: str) -> Callable[[], CancelReason | None]:
    """What a supervisor would tell the token: whether time is up, or the job no longer this run's."""
    until = time.monotonic() + execution.timeout_of(claim)

    def look() -> CancelReason | None:
        if time.monotonic() >= until:
            return CancelReason.TIMEOUT
        jobs = JobRecord.objects.using(lifecycle.database()).filter(pk=claim.job_id)
        state, token, holder = jobs.values_list("state", "token", "worker").first() or (State.DELETED, "", "")
        if (state, token, holder) == (State.PROCESSING, claim.token, worker):
            return None
        return CancelReason.DELETED if state == State.DELETED else CancelReason.LEASE_LOST

    return look
