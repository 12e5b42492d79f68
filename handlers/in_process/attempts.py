"""Jobs run in the process of whoever asks, on its database connections, by the steps that a worker takes.

For development and tests (``JOBS["EAGER"]``, ``handlers.testing``): no worker imports this. Where the caller has a
transaction open, as a test case has, the job runs inside it, and finds what it would find in a worker: each statement
outside of its own ``atomic`` blocks stands by itself, and ``on_commit`` hooks run as its own blocks end.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from datetime import timedelta
from typing import NamedTuple

from django.db import connections

from handlers import admission, carried, execution, following, lifecycle, logs, tidying, together
from handlers.cancellation import CancellationToken, CancelReason
from handlers.conf import jobs_settings
from handlers.failures import Failure
from handlers.hard_timeouts import hard_timeout
from handlers.in_process.as_committed import as_committed
from handlers.lifecycle import Claim
from handlers.many.types import largest, many_type
from handlers.models import JobRecord
from handlers.signals.delivery import tell_now
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
    worker = _worker()
    for claim in admission.claim([message], worker=worker, lease=LEASE):
        return _run(claim, worker)
    return None


def _worker() -> str:
    return f"{socket.gethostname()[:60]}.{os.getpid()}.in-process"


def run_together(messages: Sequence[Message]) -> list[Run]:
    """The same for jobs of one type that run many in one call: those that can be claimed now run in one."""
    if len(messages) == 1:
        return [made for message in messages if (made := run(message))]
    worker = _worker()
    claims = admission.claim(messages, worker=worker, lease=LEASE, company=True)
    if not claims:
        return []
    first = claims[0]
    token = CancellationToken(_probe(first, worker), job_id=first.job_id, attempt=first.attempt, facts=first.facts)
    logs.attach()
    try:
        with _own_connections(), carried.entered("{}"):  # as above
            moves = together.run_together(
                claims, token, worker=worker, around=_around(token, *claims), in_company=lambda: True
            )  # fmt: skip
    finally:
        logs.detach()
    execution.settle(moves, worker=worker)
    follow()
    failures = {move.job_id: move.change.failure for move in moves}
    states = _states(claims)
    return [
        Run(claim.job_id, claim.job_type, claim.attempt, states[claim.job_id], failures.get(claim.job_id))
        for claim in claims
    ]


def take(waiting: deque[Message], types: dict[int, str] | None = None) -> list[Message]:
    """What runs next of ``waiting``, taken out: the first, with those behind it that run in one call with it."""
    first = waiting.popleft()
    if not largest():
        return [first]
    if types is None:
        jobs = JobRecord.objects.using(lifecycle.database()).filter(pk__in=[first.job_id, *(m.job_id for m in waiting)])
        types = dict(jobs.values_list("pk", "job_type"))
    known = many_type(types.get(first.job_id, ""))
    if known is None:
        return [first]
    names = {known.name, *known.aliases}
    found = [message for message in waiting if types.get(message.job_id) in names][: known.size - 1]
    for message in found:
        waiting.remove(message)
    return [first, *found]


def _run(claim: Claim, worker: str) -> Run:
    token = CancellationToken(_probe(claim, worker), job_id=claim.job_id, attempt=claim.attempt, facts=claim.facts)
    logs.attach()
    try:
        with _own_connections(), carried.entered("{}"):  # what its caller is about is not its own
            move = execution.run_attached(
                claim, token, worker=worker, around=_around(token, claim), in_company=lambda: True
            )
    finally:
        logs.detach()
    if move is not None:
        execution.settle([move], worker=worker)
        follow()
    state = _states([claim])[claim.job_id]
    return Run(claim.job_id, claim.job_type, claim.attempt, state, move.change.failure if move else None)


def _states(claims: Sequence[Claim]) -> dict[int, str]:
    """Where these jobs are."""
    ids = [claim.job_id for claim in claims]
    jobs = JobRecord.objects.using(lifecycle.database()).filter(pk__in=ids)
    return dict.fromkeys(ids, State.DELETED.value) | dict(jobs.values_list("pk", "state"))


def follow() -> None:
    """Do what follows from moves so far, where no commit will say so: in a transaction of the caller's."""
    if connections[lifecycle.database()].in_atomic_block:
        following.follow()
        tell_now(connections[lifecycle.database()])


@contextmanager
def _around(token: CancellationToken, *claims: Claim) -> Iterator[None]:
    """The handler's own time, with its end: a worker would kill the process of what goes on behind that.

    Here it is broken off where that can be done, and fails when it has ended elsewhere: in another thread than the
    main one, or where somebody has set the process's alarm already, as a test's own time limit does.
    """
    is_taken = signal.getitimer(signal.ITIMER_REAL)[0] > 0
    until = time.monotonic() + execution.timeout_of(claims[0]) + jobs_settings().timeout_grace_seconds
    try:
        with nullcontext() if is_taken else hard_timeout(claims[0], token):
            for each in meddle:
                for claim in claims:
                    each(claim)
            yield
    finally:
        if time.monotonic() >= until:
            raise execution.timed_out(claims[0])


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
