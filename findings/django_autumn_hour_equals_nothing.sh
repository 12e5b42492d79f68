#!/usr/bin/env bash
# A time that is at most and at least the other, and not the same: Django 5.2.19 in_bulk, with zoneinfo
#
# Two aware datetimes in different zones are compared as moments, and equal moments have equal hashes. But of the hour
# that comes twice when the clocks go back neither the first nor the second time equals anything in another zone, by
# PEP 495: a <= b and a >= b hold, a == b does not, and a dict or set that has the one does not find the other. What
# Django reads is in UTC. So whatever looks up by a time in the site's zone what was read from the database works but
# for two hours of the year: in_bulk finds the row by that time and hands out a dict that does not have it, and what was
# saved does not equal what is read.
#
# Seen, of the moments of New York's 1 November 2026, each saved with its local time and read by it:
#     04:30Z: in_bulk finds 1 row, the time is a key: True, saved == read: True
#     05:30Z: in_bulk finds 1 row, the time is a key: False, saved == read: False
#     06:30Z: in_bulk finds 1 row, the time is a key: False, saved == read: False
#     07:30Z: in_bulk finds 1 row, the time is a key: True, saved == read: True
#     05:30Z: saved <= read: True, saved >= read: True, equal hashes: True
#
# Here times are made UTC where they come in: check_moment in handlers/recurrence/times.py.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check Django==5.2.19 tzdata==2026.6
PYTHONTZPATH="" "$work/venv/bin/python" -W ignore - <<'PY'
from datetime import datetime, timezone
from zoneinfo import ZoneInfo

import django
from django.conf import settings

settings.configure(
    USE_TZ=True,
    TIME_ZONE="America/New_York",
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
)
django.setup()
from django.db import connection, models


class Run(models.Model):
    at = models.DateTimeField(unique=True)

    class Meta:
        app_label = "runs"


with connection.schema_editor() as editor:
    editor.create_model(Run)
found = {}
for hour in (4, 5, 6, 7):
    at = datetime(2026, 11, 1, hour, 30, tzinfo=timezone.utc).astimezone(ZoneInfo("America/New_York"))
    row = Run.objects.create(at=at)
    rows = Run.objects.in_bulk([at], field_name="at")
    row.refresh_from_db()
    found[hour] = len(rows), at in rows, at == row.at
    print(f"0{hour}:30Z: in_bulk finds {len(rows)} row, the time is a key: {at in rows}, saved == read: {at == row.at}")
    if hour == 5:
        both = at <= row.at, at >= row.at, hash(at) == hash(row.at)
print("05:30Z: saved <= read: {}, saved >= read: {}, equal hashes: {}".format(*both))
assert found == {4: (1, True, True), 5: (1, False, False), 6: (1, False, False), 7: (1, True, True)}, (
    "it behaves differently now"
)
assert both == (True, True, True), "it behaves differently now"
PY
