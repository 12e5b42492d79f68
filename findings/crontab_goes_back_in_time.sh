#!/usr/bin/env bash
# The next time is half an hour before the last: crontab 1.0.5
#
# CronTab.next(now=..., return_datetime=True) with an aware time in a zone of zoneinfo answers in wall times, which it
# counts on without the zone. In the spring night it names 02:00 and 02:30, which the clocks skip; as instants these
# are 03:00 and 03:30, and then come 03:00 and 03:30: who works through a span, to preview it or to catch up, has two
# firings twice and goes back between them. In the autumn night an hour is left out, whose times are shown twice.
# Without return_datetime the same method reckons in instants: the delays are right, and their sum is another one.
#
# Seen, */30 * * * * in New York, as instants:
#     spring: 06:30 07:00 07:30 07:00 07:30 08:00
#     spring, by delays: 06:30 07:00 07:30 08:00 08:30 09:00
#     autumn: 05:00 05:30 07:00 07:30
#
# Here firings are reckoned as instants, span by span of one offset: handlers/recurrence/spans.py,
# tests/unit/test_cron_zones.py.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check crontab==1.0.5 tzdata==2026.6
PYTHONTZPATH="" "$work/venv/bin/python" <<'PY'
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from crontab import CronTab

NEW_YORK = ZoneInfo("America/New_York")
LINE = CronTab("*/30 * * * *")


def by_times(start, count):
    now = datetime.fromisoformat(start).astimezone(NEW_YORK)
    for _ in range(count):
        now = LINE.next(now=now, return_datetime=True)
        yield now.astimezone(timezone.utc)


def by_delays(start, count):
    now = datetime.fromisoformat(start)
    for _ in range(count):
        now += timedelta(seconds=LINE.next(now=now.astimezone(NEW_YORK)))
        yield now


def shown(name, firings):
    found = " ".join(f"{at:%H:%M}" for at in firings)
    print(f"{name}: {found}")
    return found


spring = shown("spring", by_times("2026-03-08T06:10+00:00", 6))
delays = shown("spring, by delays", by_delays("2026-03-08T06:10+00:00", 6))
autumn = shown("autumn", by_times("2026-11-01T04:40+00:00", 4))
assert spring == "06:30 07:00 07:30 07:00 07:30 08:00", "it behaves differently now"
assert delays == "06:30 07:00 07:30 08:00 08:30 09:00", "it behaves differently now"
assert autumn == "05:00 05:30 07:00 07:30", "it behaves differently now"
PY
