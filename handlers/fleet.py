"""Who runs jobs: the rows that workers and schedulers keep about themselves, and what can be read from them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

from django.db import connections
from django.db.models import Exists, QuerySet, TextField, Value
from django.db.models.functions import Cast, Now

from handlers.lifecycle import database
from handlers.models import JobRecord, KnownTypes, WorkerProcess
from handlers.models.sql import database_now
from handlers.registry import registry
from handlers.states import State

LIVE = timedelta(seconds=20)  # a heartbeat younger than this is a live process's
LOST = timedelta(hours=1)  # a row older than this tells nobody anything
QUEUE_SERVER = "queue server"  # what a scheduler calls Redis among its troubles
NAMED_RUNS = 10  # of a process that its row names
LOOK = 1_000  # waiting jobs whose types are looked at
TOLD = [
    "heartbeat_at", "queues", "types", "running_async", "max_async", "running_sync", "threads", "runs", "job_id",
    "job_since", "done", "failed", "memory_bytes", "lag_seconds", "troubles",
]  # fmt: skip


class LiveProcess(NamedTuple):
    """What is asked of all of them at once: with the other columns a thousand take as long as the rest of a page."""

    queues: list[str]
    name: str
    kind: str
    host: str
    types: str
    running_async: int | None
    running_sync: int | None
    job_id: int | None
    lag_seconds: float | None
    troubles: list[dict[str, str]] | None
    threads: int | None = None
    max_async: int | None = None
    memory_bytes: int | None = None


class Trouble(NamedTuple):
    """Something that does not work for a scheduler: one of its duties, or what several of them need."""

    what: str
    since: datetime
    reason: str


def troubles(process: WorkerProcess | LiveProcess) -> list[Trouble]:
    """What the scheduler says that does not work, the oldest first."""
    return [
        Trouble(told["what"], datetime.fromisoformat(told["since"]), told["reason"]) for told in process.troubles or ()
    ]


class Run(NamedTuple):
    """A job that a worker runs, and since when."""

    job_id: int
    since: datetime | None


def runs(process: WorkerProcess) -> list[Run]:
    """What the worker says that it runs, the oldest first; not more than NAMED_RUNS."""
    if process.runs is None:  # an older release's
        return [] if process.job_id is None else [Run(process.job_id, process.job_since)]
    return [Run(told["job"], datetime.fromisoformat(told["since"])) for told in process.runs]


def running(process: WorkerProcess | LiveProcess) -> int:
    """How many jobs the worker runs."""
    if process.running_sync is None:
        return int(process.job_id is not None)
    return process.running_sync + (process.running_async or 0)


class Told(NamedTuple):
    """What workers learn when they give a sign of life."""

    asked: set[str]  # the names of those asked to stop
    wanted: bool  # whether there is what the caller asked for


def known() -> KnownTypes:
    """What this process has handlers for: the row that its workers' rows name."""
    return KnownTypes(digest=registry.release, names=registry.versions())


def beat(
    rows: Sequence[WorkerProcess], known: KnownTypes | None = None, *, wanted: QuerySet[Any] | None = None
) -> Told:
    """Write ``rows``, each its process's first or next sign of life.

    ``known``: the job types that these processes know, unless written lately. ``wanted``: is there any of these, too?
    Times of the rows are the database's.
    """
    if not rows:
        return Told(set(), wanted=False)
    alias = database()
    if known is not None:
        KnownTypes.objects.using(alias).bulk_create([known], ignore_conflicts=True)
    WorkerProcess.objects.using(alias).bulk_create(
        rows, update_conflicts=True, unique_fields=["name"], update_fields=TOLD
    )
    if all(row.kind == "scheduler" for row in rows):  # which nobody asks
        return Told(set(), wanted=False)
    written = WorkerProcess.objects.using(alias).filter(name__in=[row.name for row in rows])
    told = written.values_list("name", "stop_requested_at", Value(value=False) if wanted is None else Exists(wanted))
    return Told({name for name, asked_at, _ in told if asked_at}, any(is_wanted for *_, is_wanted in told))


def leave(names: Iterable[str]) -> None:
    """Remove the rows of processes that have ended."""
    WorkerProcess.objects.using(database()).filter(name__in=list(names)).delete()


def tidy() -> None:
    """Remove the rows of what died long ago, and the lists of types that no row names any more."""
    alias = database()
    rows = WorkerProcess.objects.using(alias)
    rows.filter(heartbeat_at__lt=database_now(connections[alias]) - LOST).delete()
    KnownTypes.objects.using(alias).exclude(digest__in=rows.values("types")).delete()


def live_processes() -> list[WorkerProcess]:
    """The workers and schedulers that gave a sign of life lately, by name."""
    return list(_live())


def live_briefly() -> list[LiveProcess]:
    """The same, each in short."""
    first, *others = LiveProcess._fields
    rows = _live().annotate(text=Cast(first, TextField())).values_list("text", *others)
    read = cache(json.loads)  # many serve the same queues
    return [LiveProcess(read(text), *rest) for text, *rest in rows]


def live_workers() -> list[LiveProcess]:
    """The worker processes that gave a sign of life lately, by name, each in short."""
    return [process for process in live_briefly() if process.kind == "worker"]


def known_types(workers: Iterable[WorkerProcess | LiveProcess]) -> dict[str, frozenset[str]]:
    """The names of the types that ``workers`` know, by the digest in their rows. What they find counts as known."""
    digests = {worker.types for worker in workers}
    rows = KnownTypes.objects.using(database()).filter(digest__in=digests)
    found = {job_type.name for job_type in registry.all() if job_type.is_found}
    return {digest: frozenset(names) | found for digest, names in rows.values_list("digest", "names")}


def unservable_types(workers: Iterable[WorkerProcess | LiveProcess] | None = None) -> list[str]:
    """The types, registered here or of the first jobs that wait, that no live worker has a handler for.

    ``workers``: those that live, where the caller has read them.
    """
    known = known_types(live_workers() if workers is None else workers)
    enqueued = JobRecord.objects.using(database()).filter(state=State.ENQUEUED)
    first = enqueued.order_by("queue", "enqueued_at", "pk").values_list("job_type", flat=True)[:LOOK]
    wanted = {job_type.name for job_type in registry.all()} | set(first)
    return sorted(wanted.difference(*known.values()))


def lag_seconds() -> float:
    """How late the most overdue scheduled job is; 0 when none is."""
    alias = database()
    scheduled = JobRecord.objects.using(alias).filter(state=State.SCHEDULED).order_by("run_at", "pk")
    run_at = scheduled.values_list("run_at", flat=True).first()
    return 0.0 if run_at is None else max((database_now(connections[alias]) - run_at).total_seconds(), 0.0)


def _live() -> QuerySet[WorkerProcess]:
    # By the database's clock. If that was set back, what died before would live on for as long.
    rows = WorkerProcess.objects.using(database())
    return rows.filter(heartbeat_at__range=(Now() - LIVE, Now() + LIVE)).order_by("name")
