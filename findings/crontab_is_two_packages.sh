#!/usr/bin/env bash
# Two packages that are one module: rq-scheduler 0.14.0 beside django-celery-beat 2.9.0
#
# rq-scheduler needs crontab, django-celery-beat needs python-crontab, and the module of both is called crontab. One is
# a folder and the other a file, so both are there, in whichever order they came, and Python takes the folder. pip
# installs them without a word and pip check is content; but a site with django_celery_beat in INSTALLED_APPS does not
# start any more once rq-scheduler is installed, before anybody has used it. Without crontab the site starts, and so
# does rq-scheduler, except for cron lines: these come to the other package then, which is an editor of crontab files.
#
# Seen:
#     rq-scheduler first: pip check: No broken requirements found.
#         rq-scheduler: 2026-06-01 09:00, django-celery-beat: AttributeError
#     django-celery-beat first: pip check: No broken requirements found.
#         rq-scheduler: 2026-06-01 09:00, django-celery-beat: AttributeError
#     crontab removed: pip check: rq-scheduler 0.14.0 requires crontab, which is not installed.
#         rq-scheduler: its CronTab is python-crontab's, django-celery-beat: starts
#
# docs/from-celery.md says what to do while both are there. Here cron lines are read by code of our own:
# handlers/recurrence/cron.py.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PIP_DISABLE_PIP_VERSION_CHECK=1
cat >"$work/look.py" <<'PY'
import inspect
import subprocess
import sys
from datetime import datetime, timezone

import django
import time_machine
from django.conf import settings
from rq_scheduler import utils

if inspect.isclass(utils.crontab.CronTab) and hasattr(utils.crontab, "CronSlices"):
    told = "its CronTab is python-crontab's"
else:
    with time_machine.travel(datetime(2026, 6, 1, tzinfo=timezone.utc), tick=False):
        told = f"{utils.get_next_scheduled_time('0 9 * * *'):%Y-%m-%d %H:%M}"
settings.configure(INSTALLED_APPS=["django_celery_beat"])
try:
    django.setup()
    starts = "starts"
except AttributeError as error:
    starts = type(error).__name__
check = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True)
print(f"{sys.argv[1]}: pip check: {check.stdout.strip()}")
print(f"    rq-scheduler: {told}, django-celery-beat: {starts}")
assert [check.returncode, told, starts] == [int(sys.argv[2]), sys.argv[3], sys.argv[4]], "it behaves differently now"
PY
others=(django==5.2.19 celery==5.7.0 rq==3.0.0 time-machine==3.6.0)
rq=(rq-scheduler==0.14.0 crontab==1.0.5)
beat=(django-celery-beat==2.9.0 python-crontab==3.4.0)
install() { "$work/$1/bin/pip" install --quiet "${@:2}"; }
for name in rq beat; do
  "${PYTHON:-python3}" -m venv "$work/$name"
done
install rq "${others[@]}" "${rq[@]}"
install rq "${beat[@]}"
install beat "${others[@]}" "${beat[@]}"
install beat "${rq[@]}"
at="2026-06-01 09:00"
"$work/rq/bin/python" -W ignore "$work/look.py" "rq-scheduler first" 0 "$at" AttributeError
"$work/beat/bin/python" -W ignore "$work/look.py" "django-celery-beat first" 0 "$at" AttributeError
"$work/rq/bin/pip" uninstall --quiet --yes crontab
"$work/rq/bin/python" -W ignore "$work/look.py" "crontab removed" 1 "its CronTab is python-crontab's" starts
