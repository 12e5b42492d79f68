#!/usr/bin/env bash
# What many rows ask of SQLite must not be a connection's first statement: Django 6.0, mended in 6.0.1
#
# Django 6.0 asks the open connection how many parameters a statement may have, where 5.2 had a number of its own. Of a
# connection that is not open yet it asks None: bulk_create, in_bulk and bulk_update raise AttributeError when nothing
# was asked before in that thread, and work after any other query. A request has read a session by then, so pages work;
# a thread of a worker or a command whose first act is bulk_create does not, and neither does one whose connection was
# closed meanwhile, as close_old_connections does. 6.0.1 opens it first. It needs Python 3.12.
#
# Seen:
#     6.0: bulk_create AttributeError, after a query 3; in_bulk AttributeError; bulk_update AttributeError
#     6.0.1: bulk_create 3, after a query 3; in_bulk 1; bulk_update 1
#
# Here: pyproject.toml leaves 6.0 out; a worker's heartbeat can be such a first call.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-$(command -v python3.13 || command -v python3.12 || echo python3)}
"$python" -m venv "$work/venv"
cat >"$work/look.py" <<'PY'
import sys

import django
from django.conf import settings

database = {"ENGINE": "django.db.backends.sqlite3", "NAME": sys.argv[1]}
settings.configure(DATABASES={"default": database})
django.setup()

from django.db import connection, models


class Row(models.Model):
    number = models.IntegerField()

    class Meta:
        app_label = "look"


def first(call):
    connection.close()
    try:
        return call()
    except AttributeError as error:
        return type(error).__name__


def rows():
    return [Row(number=number) for number in range(3)]


with connection.schema_editor() as editor:
    editor.create_model(Row)
kept = Row.objects.create(number=1)
made = first(lambda: len(Row.objects.bulk_create(rows())))
after = first(lambda: Row.objects.count() and len(Row.objects.bulk_create(rows())))
found = first(lambda: len(Row.objects.in_bulk([kept.pk])))
changed = first(lambda: Row.objects.bulk_update([kept], ["number"]))
print(
    f"{django.get_version()}: bulk_create {made}, after a query {after}; in_bulk {found}; bulk_update {changed}"
)
PY
for version in 6.0 6.0.1; do
    "$work/venv/bin/pip" install --quiet --disable-pip-version-check "Django==$version"
    "$work/venv/bin/python" "$work/look.py" "$work/$version.sqlite3"
done >"$work/seen"
cat "$work/seen"
diff "$work/seen" - <<'SEEN'
6.0: bulk_create AttributeError, after a query 3; in_bulk AttributeError; bulk_update AttributeError
6.0.1: bulk_create 3, after a query 3; in_bulk 1; bulk_update 1
SEEN
