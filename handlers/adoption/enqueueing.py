"""A call of RQ's is written as a durable job, or it is said why it stays RQ's own."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from rq.job import Dependency, Job, JobStatus

from handlers import lifecycle
from handlers.adoption import options
from handlers.adoption.calls import make
from handlers.adoption.handle import DurableJob, find, made
from handlers.deadlines import LONGEST_WAIT
from handlers.exceptions import InvalidJob
from handlers.gateway import job_scheduler
from handlers.models import RQOrigin
from handlers.writing import writing

logger = logging.getLogger("handlers.adoption")

AT_FRONT = 100  # the priority of what RQ would put before all others
MOST_REPEATS = 1_000
# What a durable job cannot do as RQ does it.
PLAIN = ("pipeline", "unique", "rate_limit", "webhooks", "on_stopped")


class StaysPlain(Exception):
    """The call is none that can be a durable job, and why."""


def enqueue(
    func: Any,
    args: Sequence[Any] | None,
    kwargs: Mapping[str, Any] | None,
    given: Mapping[str, Any],
    *,
    queue: str,
    connection: Any,
    run_at: datetime | None = None,
) -> DurableJob:
    """The call as a durable job, in the caller's transaction; its handle. ``given``: RQ's options of the call.

    Raises StaysPlain, with nothing written; ValueError for a call that could wait for its dependencies neither here nor
    in RQ.
    """
    parents, when = _parents(given.get("depends_on"))
    try:
        return _enqueue(func, args, kwargs, given, parents, when, queue=queue, connection=connection, run_at=run_at)
    except StaysPlain as error:
        if parents:
            raise ValueError(f"it depends on a durable job, and can be none itself: {error}") from None
        raise


def _enqueue(
    func: Any,
    args: Sequence[Any] | None,
    kwargs: Mapping[str, Any] | None,
    given: Mapping[str, Any],
    parents: list[int],
    when: str,
    *,
    queue: str,
    connection: Any,
    run_at: datetime | None,
) -> DurableJob:
    for name in PLAIN:
        if given.get(name):
            raise StaysPlain(f"{name} is RQ's alone")
    repeat, ttl = given.get("repeat"), given.get("ttl")
    if repeat is not None and repeat.times > MOST_REPEATS:
        raise StaysPlain(f"it is to be repeated {repeat.times:,} times, more than {MOST_REPEATS:,}")
    if ttl and ttl > LONGEST_WAIT.total_seconds():
        raise StaysPlain(f"its ttl is longer than {LONGEST_WAIT.days:,} days")
    if parents and (run_at is not None or ttl):
        raise StaysPlain("a job that waits for others has no time of its own, and no ttl")
    try:
        brought = options.stored(
            **{key: given.get(key) for key in ("retry", "timeout", "on_success", "on_failure", "meta", "job_id")},
            description=given.get("description"),
        )
        call = make(options.named(func), args, kwargs, brought)
        front = AT_FRONT if given.get("at_front") else None
        with writing(lifecycle.database()):
            if parents:
                job_id = job_scheduler.continue_with(parents, call, when=when, queue=queue, priority=front)
            elif run_at is not None:
                job_id = job_scheduler.schedule(call, run_at, queue=queue, priority=front)
            else:
                expires = timedelta(seconds=ttl) if ttl and ttl > 0 else None
                job_id = job_scheduler.enqueue(call, queue=queue, priority=front, expires=expires)
            repeat_after(int(job_id), call, repeat, queue)
            if given.get("job_id"):
                _name(given["job_id"], int(job_id))
    except InvalidJob as error:
        raise StaysPlain(str(error)) from None
    status = JobStatus.DEFERRED if parents else JobStatus.SCHEDULED if run_at else JobStatus.QUEUED
    content: Any = call
    path = options.named(func)
    return made(
        int(job_id), path, content.args, content.kwargs, brought, queue=queue, connection=connection, status=status
    )


def repeat_after(job_id: int, call: Any, repeat: Any, queue: str, *, when: str = "success") -> None:
    """Have the call run again after the job, as RQ's ``repeat`` says; None: never. Each time is a job that waits."""
    for number in range(repeat.times if repeat is not None else 0):
        delay = timedelta(seconds=repeat.get_interval(number, repeat.intervals))
        job_id = int(job_scheduler.continue_with(job_id, call, when=when, queue=queue, delay=delay))


def _name(name: str, job_id: int) -> None:
    """The id that the caller chose leads to this job from now on."""
    rows = RQOrigin.objects.using(lifecycle.database())
    rows.update_or_create(origin=f"id:{name}", defaults={"job_id": job_id, "rq_id": name})


def _parents(depends_on: Any) -> tuple[list[int], str]:
    """The durable jobs that a call is to wait for, and how they have to end. ValueError where some are RQ's own."""
    if not depends_on:
        return [], ""
    when = "success"
    found: list[Any] = [depends_on] if isinstance(depends_on, Job | str | Dependency) else list(depends_on)
    parents, plain = [], []
    while found:
        each = found.pop(0)
        if isinstance(each, Dependency):
            when = "ended" if each.allow_failure else when
            found += each.dependencies
        elif (pk := _durable(each)) is not None:
            parents.append(pk)
        elif each is not None:
            plain.append(each)
    if parents and plain:
        raise ValueError("it depends on durable jobs and on RQ's own: nothing can wait for both")
    return parents, when


def _durable(dependency: Any) -> int | None:
    if isinstance(dependency, DurableJob):
        return dependency.record_id
    if isinstance(dependency, str) and (record := find(dependency)) is not None:
        return record.pk
    return None


@cache
def _warned(path: str, reason: str) -> None:
    logger.warning("%s stays RQ's own job: %s", path, reason)


def tell_plain(func: Any, reason: object) -> None:
    """Say once why calls of a function are no durable jobs."""
    path = func if isinstance(func, str) else f"{getattr(func, '__module__', '')}.{getattr(func, '__qualname__', func)}"
    _warned(str(path)[:200], str(reason)[:300])
