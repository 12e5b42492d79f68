#!/usr/bin/env bash
# The job of nine o'clock comes at seven: django-celery-beat 2.9.0 with celery 5.7.0
#
# Its scheduler loads only those crontab rows whose hour is at most two away from now. A beat that was down at nine and
# is back by eleven finds the row overdue, and sends it at once. One that is back later does not load it. The row waits
# for the next day's window, is found overdue as soon as that opens, two hours before its time, and is sent at seven,
# and at nine once more. So a report goes out before the data of its morning is there, and then again. Only a plain
# number is looked at: an hour written as 9,9 is loaded always and has none of this; nor has 4, which is the hour of
# celery's own clean-up.
#
# Seen, of a job of 0 9 * * *, with beat down from 08:30 on Tuesday:
#     back at 11:00: Mon 09:00, Tue 11:00, Wed 09:00, Thu 09:00
#     back at 12:00: Mon 09:00, Wed 07:00, Wed 09:00, Thu 09:00
#     back at 22:00: Mon 09:00, Wed 07:00, Wed 09:00, Thu 09:00
#     back at 12:00, of 0 9,9 * * *: Mon 09:00, Tue 12:00, Wed 09:00, Thu 09:00
#
# Here an occurrence that was missed is fired when a scheduler starts, or never, and none before its time:
# docs/recurring.md, handlers/recurrence/plans.py.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    django==5.2.19 celery==5.7.0 django-celery-beat==2.9.0 time-machine==3.6.0 tzdata==2026.6
"$work/venv/bin/python" -W ignore <<'PY'
from datetime import datetime, timedelta, timezone

import django
import time_machine
from django.conf import settings

settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    INSTALLED_APPS=["django_celery_beat"],
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    TIME_ZONE="UTC",
    USE_TZ=True,
)
django.setup()

from celery import Celery
from django.core.management import call_command
from django_celery_beat.models import CrontabSchedule, PeriodicTask
from django_celery_beat.schedulers import DatabaseScheduler

MONDAY = datetime(2026, 6, 1, tzinfo=timezone.utc)
DOWN = MONDAY + timedelta(days=1, hours=8, minutes=30)
app = Celery(broker="memory://")
app.conf.update(timezone="UTC", result_expires=None)


class Beat(DatabaseScheduler):
    """It notes what it would send, and is the scheduler otherwise."""

    def apply_async(self, entry, producer=None, advance=True, **options):
        if advance:
            self.reserve(entry)
        sent.append(f"{datetime.now(timezone.utc):%a %H:%M}")


def sent_by(hour, back):
    """What beat sends until Thursday, looking every ten minutes."""
    sent.clear()
    beat, now = None, MONDAY
    while now < MONDAY + timedelta(days=4):
        with time_machine.travel(now, tick=False):
            if now == MONDAY:
                PeriodicTask.objects.all().delete()
                CrontabSchedule.objects.all().delete()
                at = CrontabSchedule.objects.create(minute="0", hour=hour, timezone="UTC")
                PeriodicTask.objects.create(name="report", task="report", crontab=at)
            if DOWN <= now < MONDAY + timedelta(days=1, hours=back):
                if beat is not None:
                    beat.close()  # which saves when it sent what
                beat = None
            else:
                beat = beat or Beat(app=app)
                beat.tick()
        now += timedelta(minutes=10)
    name = f"back at {back}:00" + (f", of 0 {hour} * * *" if hour != "9" else "")
    print(f"{name}: {', '.join(sent)}")
    return list(sent)


sent = []
call_command("migrate", verbosity=0)
found = [sent_by("9", 11), sent_by("9", 12), sent_by("9", 22), sent_by("9,9", 12)]
early = ["Mon 09:00", "Wed 07:00", "Wed 09:00", "Thu 09:00"]
assert found[0] == ["Mon 09:00", "Tue 11:00", "Wed 09:00", "Thu 09:00"], "it behaves differently now"
assert found[1:3] == [early, early], "it behaves differently now"
assert found[3] == ["Mon 09:00", "Tue 12:00", "Wed 09:00", "Thu 09:00"], "it behaves differently now"
PY
