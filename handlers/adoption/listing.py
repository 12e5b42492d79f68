"""What stays RQ's own, as a page shows it: read from Redis, a page at a time, and nothing is unpickled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django_rq.connection_utils import get_connection
from redis import Redis
from redis.exceptions import RedisError
from rq.queue import Queue
from rq_scheduler import Scheduler

from handlers.adoption.found import FoundJob, Unreadable
from handlers.exceptions import TransportUnavailable
from handlers.rq_transport.connections import site_queues, whereabouts
from handlers.rq_transport.lua import script
from handlers.rq_transport.messages import parse_rq_job_id

PAGE = 50
MOST_TOLD = 20  # waits of one job
QUEUED, SCHEDULER = "queued", "rq-scheduler"
# RQ's registries: the word for each, and its key before the queue's name.
REGISTRIES = {
    "started": "rq:wip:", "scheduled": "rq:scheduled:", "deferred": "rq:deferred:", "failed": "rq:failed:",
    "finished": "rq:finished:", "canceled": "rq:canceled:",
}  # fmt: skip
KINDS = (QUEUED, *REGISTRIES, SCHEDULER)
NEWEST_FIRST = ("failed", "finished", "canceled", "deferred")
_FIELDS = (
    "data", "description", "origin", "status", "created_at", "enqueued_at", "started_at", "ended_at", "worker_name",
    "timeout", "result_ttl", "failure_ttl", "ttl", "retries_left", "retry_intervals", "number_of_retries",
    "repeats_left", "dependency_ids", "failure_callback_name", "success_callback_name", "rate_limit_key", "group_id",
)  # fmt: skip

# ARGV: how many fields, their names, then ids. Of each id the fields, and which of its dependencies are gone.
_LOOK = script(
    """
local fields, found = {}, {}
local count = tonumber(ARGV[1])
for i = 1, count do fields[i] = ARGV[i + 1] end
for i = count + 2, #ARGV do
  local key = '@JOB@' .. ARGV[i]
  local gone = {}
  local on = redis.call('HGET', key, 'dependency_ids')
  if on then
    for id in string.gmatch(on, '"([%w_-]+)"') do
      if redis.call('EXISTS', '@JOB@' .. id) == 0 then gone[#gone + 1] = id end
    end
  end
  found[#found + 1] = {redis.call('HMGET', key, unpack(fields)), gone}
end
return found
"""
)


@dataclass(frozen=True, slots=True)
class ForeignQueue:
    """A queue of the site's, and how many jobs RQ has of it in each of its places."""

    name: str
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class ForeignJob:
    """One of RQ's own jobs. ``truths``: what is to be known of it, in words."""

    id: str
    call: str  # as RQ describes it
    queue: str
    status: str
    since: datetime | None  # when it came there, or is due
    worker: str
    truths: tuple[str, ...]
    is_there: bool = True


def foreign_queues() -> list[ForeignQueue]:
    """Every queue that the site declares for RQ. Raises TransportUnavailable."""
    found = []
    for name in names():
        with _telling(), get_connection(name).pipeline(transaction=False) as pipe:
            pipe.llen(Queue.redis_queue_namespace_prefix + name)
            for key in REGISTRIES.values():
                pipe.zcard(key + name)
            counts = pipe.execute()
        found.append(ForeignQueue(name, dict(zip((QUEUED, *REGISTRIES), counts, strict=True))))
    return found


def scheduled_count() -> int:
    """How many jobs rq-scheduler has. Raises TransportUnavailable."""
    with _telling():
        return sum(int(_zcard(connection)) for connection in _servers())  # one, nearly always


def jobs(kind: str, queue: str, offset: int = 0) -> tuple[list[ForeignJob], bool]:
    """A page of the jobs in one place, of ``KINDS``, and whether there are more. Raises TransportUnavailable.

    Of a queue that the site does not declare, or a kind that there is not, there are none.
    """
    if kind not in KINDS or queue not in names():
        return [], False
    connection, last = get_connection(queue), offset + PAGE
    with _telling():
        entries: Any
        if kind == QUEUED:
            listed: Any = connection.lrange(Queue.redis_queue_namespace_prefix + queue, offset, last)
            entries = [(entry, None) for entry in listed]
        else:
            key = Scheduler.scheduled_jobs_key if kind == SCHEDULER else REGISTRIES[kind] + queue
            entries = connection.zrange(key, offset, last, desc=kind in NEWEST_FIRST, withscores=True)
        found = [(entry.decode(errors="replace"), score) for entry, score in entries]
        # A run of a started one is named by its job's id and its own.
        ids = [text.partition(":")[0] for text, _ in found[:PAGE]]
        answers: Any = _LOOK(connection, [], [len(_FIELDS), *_FIELDS, *ids]) if ids else []
    page = [
        _job(rq_id, dict(zip(_FIELDS, values, strict=True)), gone, kind=kind, queue=queue, score=score)
        for (rq_id, (_, score), (values, gone)) in zip(ids, found, answers, strict=False)
        if parse_rq_job_id(rq_id) is None  # ours, on a list that both use
    ]
    return page, len(found) > PAGE


def names() -> list[str]:
    """The queues that the site itself declares for RQ, by name."""
    return sorted(site_queues())


def _job(
    rq_id: str, fields: Mapping[str, bytes | None], gone: Sequence[bytes], *, kind: str, queue: str, score: float | None
) -> ForeignJob:
    job = FoundJob(rq_id, {name: value for name, value in fields.items() if value})
    return ForeignJob(
        id=rq_id,
        call=_call(job),
        queue=job.text("origin") or queue,
        status=job.text("status") or "unknown",
        since=_since(job, kind, score),
        worker=job.text("worker_name"),
        truths=tuple(_truths(job, kind, [each.decode() for each in gone])),
        is_there=job.is_there,
    )


def _call(job: FoundJob) -> str:
    if text := job.text("description"):
        return text[:500]
    try:
        return job.call(trust_pickle=False).path
    except Unreadable:
        return "(a pickle without a description)"


def _since(job: FoundJob, kind: str, score: float | None) -> datetime | None:
    if kind in ("scheduled", SCHEDULER) and score is not None:
        try:
            return datetime.fromtimestamp(score, UTC)
        except (ValueError, OverflowError, OSError):  # no calendar has it
            return None
    for name in ("ended_at", "started_at", "enqueued_at", "created_at"):
        if (at := job.time(name)) is not None:
            return at if at.tzinfo else at.replace(tzinfo=UTC)
    return None


def _truths(job: FoundJob, kind: str, gone: Sequence[str]) -> Iterator[str]:
    """What RQ's own pages do not say of it."""
    if not job.is_there:
        yield "Only its id is left: a worker passes over it."
        return
    intervals, left = job.listed("retry_intervals"), job.number("retries_left")
    if kind == "failed" and left == 0:
        yield "Its retries are used up, and requeueing does not give it new ones: it would have one run."
    if left or intervals:
        yield "Of attempts that were retried RQ keeps no error: only the last one's is there."
    if len(intervals) > 1:
        left = max(0, left or 0)
        waits = ", ".join(
            f"{intervals[min(len(intervals), n) - 1]} s" for n in range(left, max(0, left - MOST_TOLD), -1)
        )
        waits += ", ..." if left > MOST_TOLD else ""
        yield f"RQ reads its intervals from the end of the list{f': it would wait {waits}' if waits else ''}."
    if job.text("failure_callback_name") and kind == "failed":
        yield "It has an on_failure callback: if that raised, its error stands in the place of the job's own."
    if job.number("failure_ttl") == -1 or job.number("result_ttl") == -1:
        yield "A TTL of -1: it never expires, and RQ's own answer when it does is wrong."
    if kind == "deferred" and gone:
        yield f"It waits for what is gone ({', '.join(gone[:3])}): nothing will ever free it."
    elif kind != "deferred" and gone:
        yield f"What it waited for is gone ({', '.join(gone[:3])})."
    if job.number("repeats_left"):
        yield "A run that fails ends its series."


def _servers() -> list[Redis]:
    places = {whereabouts(config): name for name, config in site_queues().items()}
    return [get_connection(name) for name in places.values()]


def _zcard(connection: Redis) -> Any:
    return connection.zcard(Scheduler.scheduled_jobs_key)


@contextmanager
def _telling() -> Iterator[None]:
    try:
        yield
    except RedisError as error:
        raise TransportUnavailable(f"Redis does not answer: {type(error).__name__}") from None


__all__ = ["KINDS", "PAGE", "ForeignJob", "ForeignQueue", "foreign_queues", "jobs", "names", "scheduled_count"]
