#!/usr/bin/env bash
# Frozen at 06:30Z, it is 05:30Z: freezegun 1.5.5 in the night when the clocks go back
#
# A test of that night freezes a moment of the hour that comes twice and asks for the time in a zone. freezegun makes
# each datetime anew from its year to its microseconds, without fold, which says which of the two hours is meant. So
# the second hour is never there: datetime.now(zone), fromtimestamp(..., zone) and astimezone(zone) answer with the
# first, which is an hour earlier than the frozen moment, and time there goes back when the second hour begins.
# django.utils.timezone.localtime() does too. Whoever tests that a job of 01:30 runs once is shown 01:30 EDT twice.
# time-machine sets the clock and leaves datetime as it is.
#
# Seen, frozen at 06:30Z on 1 November 2026, in New York:
#     without: 01:30-05:00 06:30Z
#     freezegun, now(zone): 01:30-04:00 05:30Z
#     freezegun, fromtimestamp(time(), zone): 01:30-04:00 05:30Z
#     freezegun, now(UTC).astimezone(zone): 01:30-04:00 05:30Z
#     freezegun, timezone.localtime() of Django 5.2.19: 01:30-04:00 05:30Z
#     time-machine 3.6.0, now(zone): 01:30-05:00 06:30Z
#
# Here: docs/testing.md says so; tests/unit/test_cron_zones.py gives moments and freezes none.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    freezegun==1.5.5 time-machine==3.6.0 Django==5.2.19 tzdata==2026.6
PYTHONTZPATH="" "$work/venv/bin/python" -W ignore - <<'PY'
import datetime
import time
from zoneinfo import ZoneInfo

import time_machine
from django.conf import settings
from django.utils import timezone
from freezegun import freeze_time

settings.configure(USE_TZ=True, TIME_ZONE="America/New_York")
ZONE = ZoneInfo("America/New_York")
MOMENT = "2026-11-01T06:30:00+00:00"
FIRST, SECOND = "01:30-04:00 05:30Z", "01:30-05:00 06:30Z"
found = []


def shown(name, at):
    offset = at.utcoffset()
    found.append(f"{at:%H:%M}{at.isoformat()[-6:]} {at.replace(tzinfo=None) - offset:%H:%M}Z")
    print(f"{name}: {found[-1]}")


shown("without", datetime.datetime.fromisoformat(MOMENT).astimezone(ZONE))
with freeze_time(MOMENT):
    assert datetime.datetime.now(datetime.timezone.utc).isoformat() == MOMENT
    shown("freezegun, now(zone)", datetime.datetime.now(ZONE))
    shown("freezegun, fromtimestamp(time(), zone)", datetime.datetime.fromtimestamp(time.time(), ZONE))
    shown("freezegun, now(UTC).astimezone(zone)", datetime.datetime.now(datetime.timezone.utc).astimezone(ZONE))
    shown("freezegun, timezone.localtime() of Django 5.2.19", timezone.localtime())
with time_machine.travel(MOMENT, tick=False):
    shown("time-machine 3.6.0, now(zone)", datetime.datetime.now(ZONE))
assert found == [SECOND, FIRST, FIRST, FIRST, FIRST, SECOND], "it behaves differently now"
PY
