#!/usr/bin/env bash
# Autocommit that does not commit, and what comes after neither: RETURNING and fetchone(), sqlite3 of Python, Django
# 5.2.19, SQLite 3.40.1
#
# UPDATE ... RETURNING changes all its rows before it gives the first. It is a statement that is still running until the
# last row is read, and SQLite commits when no statement is running that writes. So a cursor of which one row of three
# was fetched, and which a variable still holds, keeps its own changes from being committed, and those of every later
# statement on the connection too, whatever cursor they have. Nothing says so: the connection is in autocommit, in no
# transaction, and sees what it wrote. Others see nothing of it and cannot write. It is committed when the cursor is
# closed or collected; a process that ends without that, by a signal or by os._exit() as RQ's workers end each job's
# process, has written nothing. One row of one is enough, and no fetch at all is the same as one of
# three. In a transaction the commit fails. With psycopg all rows have been fetched when execute() returns.
#
# Seen, of UPDATE ... RETURNING of three rows, then an INSERT by another cursor, in autocommit:
#     one row fetched: autocommit True, in a transaction False, the connection itself sees 4 rows
#     one row fetched: another connection sees 3 rows, and may write: database is locked
#     one row fetched, ended by os._exit(): 3 rows, 0 updated
#     all rows fetched, ended by os._exit(): 4 rows, 3 updated
#     one row fetched, cursor closed, ended by os._exit(): 4 rows, 3 updated
#     one row fetched within atomic(): OperationalError: cannot commit transaction - SQL statements in progress
#
# Here cursors are closed where they are opened: with connection.cursor().
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check Django==5.2.19
cat >"$work/job.py" <<'PY'
"""job.py DATABASE HOW: write, as a job may, and end as the process of a job of RQ's does."""

import os
import sqlite3
import sys

import django
from django.conf import settings

path, how = sys.argv[1:]
settings.configure(DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": path}})
django.setup()
from django.db import OperationalError, connection, transaction

UPDATE = "UPDATE item SET state = 'taken' RETURNING id"
if how == "atomic":
    try:
        with transaction.atomic():
            cursor = connection.cursor()
            cursor.execute(UPDATE)
            cursor.fetchone()
        print("committed")
    except OperationalError as error:
        print(f"OperationalError: {error}")
else:
    cursor = connection.cursor()
    cursor.execute(UPDATE)
    cursor.fetchall() if how == "all" else cursor.fetchone()
    if how == "closed":
        cursor.close()
    with connection.cursor() as another:
        another.execute("INSERT INTO item VALUES (4, 'new')")
        another.execute("SELECT count(*) FROM item")
        (rows,) = another.fetchone()
    print(connection.get_autocommit(), connection.connection.in_transaction, rows)
    with sqlite3.connect(path, timeout=0) as other:
        try:
            other.execute("UPDATE item SET state = state WHERE id = 0")
            print("yes")
        except sqlite3.OperationalError as error:
            print(error)
        print(other.execute("SELECT count(*) FROM item").fetchone()[0])
sys.stdout.flush()
os._exit(0)
PY
"$work/venv/bin/python" - "$work" <<'PY'
import sqlite3
import subprocess
import sys
from pathlib import Path

work = Path(sys.argv[1])


def run(how):
    """What the job prints, then rows and how many of them it has updated."""
    path = work / f"{how}.db"
    with sqlite3.connect(path) as owner:
        owner.execute("PRAGMA journal_mode = wal")
        owner.execute("CREATE TABLE item (id integer PRIMARY KEY, state text)")
        owner.executemany("INSERT INTO item VALUES (?, 'new')", [(1,), (2,), (3,)])
    owner.close()
    command = [sys.executable, "-W", "ignore", work / "job.py", path, how]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    with sqlite3.connect(path) as owner:
        (left,) = owner.execute("SELECT count(*), sum(state = 'taken') FROM item")
    owner.close()
    return printed, left


(flags, may_write, others), one = run("one")
autocommit, in_transaction, own = flags.split()
print(f"one row fetched: autocommit {autocommit}, in a transaction {in_transaction}, the connection itself sees {own} rows")
print(f"one row fetched: another connection sees {others} rows, and may write: {may_write}")
_, every = run("all")
_, closed = run("closed")
print("one row fetched, ended by os._exit(): {} rows, {} updated".format(*one))
print("all rows fetched, ended by os._exit(): {} rows, {} updated".format(*every))
print("one row fetched, cursor closed, ended by os._exit(): {} rows, {} updated".format(*closed))
(failed,), _ = run("atomic")
print("one row fetched within atomic():", failed)
assert (flags, may_write, others) == ("True False 4", "database is locked", "3"), "it behaves differently now"
assert one == (3, 0), "it behaves differently now"
assert every == closed == (4, 3), "it behaves differently now"
assert failed == "OperationalError: cannot commit transaction - SQL statements in progress", "it behaves differently now"
PY
