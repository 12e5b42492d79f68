"""Jobs run in the test's own process, by the steps that a worker takes; and a transport that only takes notes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any, TypeVar

from django.db import connection, connections
from django.utils import timezone

from handlers import CancellationToken, execution, lifecycle
from handlers.lifecycle import Claim, Move
from handlers.models import JobRecord
from handlers.states import State
from handlers.transport import LastWords, Message, ServerState

T = TypeVar("T")

WORKER = "host-1.17.0"
LEASE = timedelta(seconds=15)


class NotingTransport:
    """Notes each call. What was published counts as held by its queue."""

    def __init__(self) -> None:
        self.published: list[list[Message]] = []  # one list per call
        self.delayed: list[list[Message]] = []
        self.withdrawn: list[list[Message]] = []
        self.words: dict[str, LastWords] = {}
        self.asked: list[str] = []  # the queues that were looked through

    def publish(self, messages: Sequence[Message], *, wait: bool = True, front: bool = False) -> None:
        self.published.append(list(messages))

    def publish_delayed(self, messages: Sequence[Message], *, wait: bool = True) -> None:
        self.delayed.append(list(messages))

    def withdraw(self, messages: Sequence[Message]) -> None:
        self.withdrawn.append(list(messages))

    def missing(self, queue: str, messages: Sequence[Message]) -> list[Message]:
        self.asked.append(queue)
        held = {(m.job_id, m.token) for call in self.published for m in call}
        return [message for message in messages if (message.job_id, message.token) not in held]

    def trouble(self) -> str:
        return ""

    def measure(self, queues: Sequence[str]) -> ServerState:
        return ServerState(0.001)

    def leave_last_words(self, worker: str, words: LastWords) -> None:
        self.words[worker] = words

    def last_words(self, workers: Sequence[str]) -> dict[str, LastWords]:
        return {worker: self.words[worker] for worker in workers if worker in self.words}

    @property
    def ids(self) -> list[list[int]]:
        """The ids of the jobs in each call of publish."""
        return [[message.job_id for message in call] for call in self.published]


def record(job_id: int) -> JobRecord:
    """The job as the database has it now."""
    return JobRecord.objects.get(pk=job_id)


def message(job_id: int) -> Message:
    """The message with which the job got where it is."""
    row = record(job_id)
    return Message(row.pk, row.token, row.queue, priority=row.priority)


def claim(*job_ids: int, worker: str = WORKER) -> list[Claim]:
    """Claim the jobs in one batch, with messages that are up to date."""
    return lifecycle.claim([message(job_id) for job_id in job_ids], worker=worker, lease=LEASE)


def perform(claimed: Claim, token: CancellationToken | None = None) -> Move | None:
    """Run the attempt; its outcome, not yet recorded."""
    token = token or CancellationToken(job_id=claimed.job_id, attempt=claimed.attempt, facts=claimed.facts)
    return execution.run(claimed, token, worker=WORKER)


def run(*job_ids: int) -> set[int]:
    """Claim, run and settle the jobs; which of them had their outcome recorded."""
    moves = [perform(claimed) for claimed in claim(*job_ids)]
    return execution.settle([move for move in moves if move], worker=WORKER)


def drain() -> list[int]:
    """Run whatever is enqueued, as workers would, until there is nothing more; which jobs, in their order."""
    ran = []
    while ids := list(JobRecord.objects.filter(state=State.ENQUEUED).order_by("pk").values_list("pk", flat=True)):
        ran += ids
        assert run(*ids)  # else it would go on for ever
    return ran


def states(*jobs: Any) -> list[str]:
    """Where these are, by their ids or as nodes of a workflow."""
    return [record(getattr(job, "job_id", job)).state for job in jobs]


def make_due(job_id: int) -> list[Message]:
    """Let a scheduled job's time come, and promote it."""
    JobRecord.objects.filter(pk=job_id).update(run_at=timezone.now() - timedelta(seconds=1))
    return lifecycle.promote_due()


def expire(*job_ids: int) -> None:
    """Let the leases of the jobs run out."""
    JobRecord.objects.filter(pk__in=job_ids).update(lease_expires_at=timezone.now() - timedelta(seconds=1))


def moves_of(job_id: int) -> list[tuple[str, str]]:
    """The job's history as (from, to), oldest first."""
    return list(record(job_id).history.order_by("pk").values_list("from_state", "to_state"))


def facts(job_id: int, *names: str) -> tuple[Any, ...]:
    """Columns of the job's row."""
    values: tuple[Any, ...] = JobRecord.objects.values_list(*names).get(pk=job_id)
    return values


def at_once(*acts: Callable[[], T]) -> list[T]:
    """What they answer, each on a connection of its own, all begun at one moment."""
    barrier = threading.Barrier(len(acts))

    def act(each: Callable[[], T]) -> T:
        try:
            connection.ensure_connection()
            barrier.wait(60)
            return each()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(act, acts))


def waits_for_a_lock() -> bool:
    """Whether somebody waits for another one's lock (PostgreSQL)."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return bool(cursor.fetchone()[0])
