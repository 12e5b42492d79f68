"""``adopt_rq``: how long RQ's own queued and scheduled jobs take to become durable ones, killed half-way or not."""

from __future__ import annotations

import os
import signal
import time
from datetime import UTC, datetime, timedelta
from io import StringIO

from django.conf import settings
from django.core.management import call_command
from django.db import connections
from redis import Redis
from rq import Queue
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer
from rq_scheduler import Scheduler
from rq_scheduler.utils import to_unix

from handlers.models import JobRecord, RQOrigin
from tests.app import rq_calls
from tests.bench.places import Figures
from tests.bench.workforce import LONG
from tests.processes import wait_for

CALL = 1_000  # jobs that RQ is given at once


def adopt(*, queued: int, scheduled: int, killed: bool = False) -> Figures:
    """Seconds for ``queued`` jobs on a queue of RQ's own and ``scheduled`` ones of rq-scheduler's; none may stay.

    ``killed``: once, when half of them have moved; then it is begun again.
    """
    url = settings.RQ_QUEUES["default"]["URL"]
    settings.RQ_QUEUES = {"default": {"URL": url, "SERIALIZER": "json"}}
    before = JobRecord.objects.count()
    with Redis.from_url(url) as redis:
        _enqueue(redis, queued)
        _schedule(redis, scheduled)
        began = time.perf_counter()
        if killed:
            _kill_when(before + (queued + scheduled) // 2)
        _adopt()
        seconds = time.perf_counter() - began
        left = redis.zcard(Scheduler.scheduled_jobs_key)  # on the queue stand those that have moved
    moved, origins = JobRecord.objects.count() - before, _origins()
    if (moved, origins, left) != (queued + scheduled, queued + scheduled, 0):
        raise SystemExit(f"{moved:,} moved, of {origins:,} of RQ's jobs, {left:,} left")
    what = "adopt_rq, killed in the middle and begun again" if killed else "adopt_rq"
    return {f"{what}, RQ's jobs moved": moved, f"{what}, s": seconds, f"{what}, jobs/s": moved / seconds}


def _enqueue(redis: Redis, number: int) -> None:
    queue = Queue("default", connection=redis, serializer=JSONSerializer)
    for first in range(0, number, CALL):
        queue.enqueue_many(
            [Queue.prepare_data(rq_calls.add, (each,)) for each in range(first, min(first + CALL, number))]
        )


def _schedule(redis: Redis, number: int) -> None:
    """What ``Scheduler.enqueue_at`` writes, without waiting for each of them."""
    due = to_unix(datetime.now(UTC) + timedelta(days=1))
    for first in range(0, number, CALL):
        with redis.pipeline(transaction=False) as pipe:
            for each in range(first, min(first + CALL, number)):
                job = Job.create(rq_calls.add, (each,), connection=redis, status=JobStatus.SCHEDULED, origin="default")
                job.save(pipeline=pipe)
                pipe.zadd(Scheduler.scheduled_jobs_key, {job.id: due})
            pipe.execute()


def _origins() -> int:
    return RQOrigin.objects.filter(origin__startswith="from:").values("rq_id").distinct().count()


def _adopt() -> None:
    call_command("adopt_rq", trust_pickle=True, stdout=StringIO())  # rq-scheduler writes pickles


def _kill_when(number: int) -> None:
    """Begin, in a process that is killed once there are so many jobs."""
    connections.close_all()
    if (child := os.fork()) == 0:
        try:
            _adopt()
        finally:
            os._exit(0)
    try:
        wait_for("half of them", lambda: JobRecord.objects.count() >= number, seconds=LONG)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
