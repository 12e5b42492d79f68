"""What the engine does beside the daily load: promotion, recovery, and doing nothing."""

from __future__ import annotations

import re
import time
from datetime import timedelta

from django.db import connection
from django.db.models import Count, Max, Min
from django.utils import timezone

from handlers import job_scheduler
from handlers.models import JobHistory, JobRecord
from handlers.rq_transport.connections import redis_connection
from handlers.rq_transport.names import queue_key
from handlers.states import State
from tests.app.jobs import Nothing, Sleep
from tests.bench import workforce
from tests.bench.filling import schedule_many
from tests.bench.places import Figures
from tests.bench.workforce import running, scheduling, wait_until_recorded
from tests.processes import wait_for

PATIENCE = 15.0  # seconds without another message published, after which no more are expected


def promotion(count: int) -> Figures:
    """Jobs/s that a scheduler, started when ``count`` jobs are overdue, moves to their queue with records and all."""
    schedule_many(count, at := timezone.now() + timedelta(seconds=5))
    waiting = JobRecord.objects.filter(state=State.SCHEDULED)
    assert waiting.count() == count, "they came due while they were written: create() then enqueues them"
    time.sleep(max(0.0, (at - timezone.now()).total_seconds()))
    with running("scheduler"):
        wait_for("all jobs promoted", lambda: not waiting.exists(), seconds=workforce.LONG)
    moves = JobHistory.objects.filter(from_state=State.SCHEDULED, to_state=State.ENQUEUED)
    times = moves.aggregate(first=Min("at"), last=Max("at"), n=Count("pk"))
    after = moves.filter(at__gt=times["first"]).count()  # the first chunk's time is when it was done with
    return {"promotion of due jobs, jobs/s": after / (times["last"] - times["first"]).total_seconds()}


def killed() -> Figures:
    """Seconds from SIGKILL to supervisor and workers, in the middle of a job, to the job's next start.

    Workers are started again at once; the scheduler stays.
    """
    with scheduling():
        with running(*workforce.worker()) as worker:
            job = JobRecord.objects.filter(pk=job_scheduler.enqueue(Sleep(3)))
            wait_for("the job's start", job.filter(state=State.PROCESSING, attempt=1).exists)
            time.sleep(1)
            worker.kill_all()
        died = time.perf_counter()
        with running(*workforce.worker()):
            again = job.filter(state=State.PROCESSING, attempt=2)
            wait_for("the job's second start", again.exists, seconds=workforce.LONG)
            return {"all workers killed, to the job's next start, s": time.perf_counter() - died}


def flushed(count: int) -> Figures:
    """Seconds from FLUSHALL, with ``count`` jobs on a queue and no worker, until recovery has published all again."""
    for _ in range(count // 1_000):
        job_scheduler.enqueue_many([Nothing()] * 1_000)
    wanted = {f"{pk}-{token}".encode() for pk, token in JobRecord.objects.values_list("pk", "token")}
    key, redis = queue_key("default"), redis_connection()
    with scheduling():
        redis.flushall()
        began = last = time.perf_counter()
        held = 0
        while held < count and time.perf_counter() - last < PATIENCE:
            time.sleep(0.05)
            if (now := redis.llen(key)) > held:
                held, last = now, time.perf_counter()
        missing = len(wanted - set(redis.lrange(key, 0, -1)))
    name = f"FLUSHALL with {count:,} enqueued"
    return {f"{name}, to the last one published, s": last - began, f"{name}, missing then": missing}


def idle(seconds: float) -> Figures:
    """What a worker with two processes and a scheduler use while there is nothing to do, and how much they hold."""
    log_statements()
    with scheduling() as scheduler, running(*workforce.worker()) as worker:
        ids = job_scheduler.enqueue_many([Nothing()] * 100)
        wait_until_recorded(ids[0], ids[-1])
        time.sleep(3)  # until what they do after a job is done
        ours, servers = workforce.tree(worker, scheduler), workforce.servers()
        before = workforce.cpu(ours), workforce.cpu(servers), statements()
        time.sleep(seconds)
        after = workforce.cpu(ours), workforce.cpu(servers), statements()
        each = [(end - begin) / seconds for begin, end in zip(before, after, strict=True)]
        memory = {process.pid: process.memory_full_info().pss / 2**20 for process in ours}
        children = [memory[child.pid] for child in worker.children()]
    return {
        "idle: workers and scheduler, % of a core": each[0] * 100,
        "idle: servers, % of a core": each[1] * 100,
        **({"idle: database queries/s": each[2]} if connection.vendor == "postgresql" else {}),
        "idle: supervisor, PSS MiB": memory[worker.pid],
        "idle: a worker process, PSS MiB": sum(children) / len(children),
        "idle: scheduler, PSS MiB": memory[scheduler.pid],
    }


def log_statements() -> None:
    """Have PostgreSQL log what the connections to come ask it: its own counters are late, and count its own work."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER DATABASE {connection.settings_dict['NAME']} SET log_statement = 'all'")


def statements() -> int:
    """How many statements the database server has logged, BEGIN and COMMIT among them."""
    if connection.vendor != "postgresql":
        return 0
    log = (workforce.data_directory() / "log").read_bytes()
    return len(re.findall(rb" LOG:  (?:statement|execute [^:]*): ", log))
