"""``adopt_rq``: how long RQ's own queued and scheduled jobs take to become durable ones."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from io import StringIO

from django.conf import settings
from django.core.management import call_command
from redis import Redis
from rq import Queue
from rq.serializers import JSONSerializer
from rq_scheduler import Scheduler

from handlers.models import JobRecord
from tests.app import rq_calls
from tests.bench.places import Figures

CALL = 1_000  # jobs that RQ is given at once


def adopt(*, queued: int, scheduled: int) -> Figures:
    """Seconds for ``queued`` jobs on a queue of RQ's own and ``scheduled`` ones of rq-scheduler's; none may stay."""
    url = settings.RQ_QUEUES["default"]["URL"]
    settings.RQ_QUEUES = {"default": {"URL": url, "SERIALIZER": "json"}}
    with Redis.from_url(url) as redis:
        queue = Queue("default", connection=redis, serializer=JSONSerializer)
        for first in range(0, queued, CALL):
            queue.enqueue_many([Queue.prepare_data(rq_calls.add, (first + more,)) for more in range(CALL)])
        scheduler = Scheduler("default", connection=redis)
        later = datetime.now(UTC) + timedelta(days=1)
        for number in range(scheduled):
            scheduler.enqueue_at(later, rq_calls.add, number)
        before = JobRecord.objects.count()
        began = time.perf_counter()
        call_command("adopt_rq", trust_pickle=True, stdout=StringIO())  # rq-scheduler writes pickles
        seconds = time.perf_counter() - began
        left = redis.zcard(Scheduler.scheduled_jobs_key)
    moved = JobRecord.objects.count() - before
    if (moved, left) != (queued + scheduled, 0):
        raise SystemExit(f"{moved:,} moved, {left:,} left")
    return {"adopt_rq, RQ's jobs moved": moved, "adopt_rq, s": seconds, "adopt_rq, jobs/s": moved / seconds}
