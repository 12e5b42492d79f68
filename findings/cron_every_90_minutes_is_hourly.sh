#!/usr/bin/env bash
# "Every 90 minutes" runs each hour: */90 in croniter 7.0.0, cronsim 2.8, celery 5.7.0, huey 3.5.4, cron-descriptor 2.2.1
#
# A step counts within its field and begins anew with each hour, so */90 in minutes reaches 0 and nothing else. Four
# libraries take it and run the job each hour; cron-descriptor, which consoles show beside such a line, says "Every 90
# minutes". Below the hour it is the same on a smaller scale: */45 is described as "Every 45 minutes" and fires after 45
# and after 15. crontab 1.0.5 and APScheduler 3.11.3 refuse a step that is larger than the field.
#
# Seen:
#     croniter: 60 60 60
#     cronsim: 60 60 60
#     celery: minutes [0]
#     huey: minutes [0]
#     cron-descriptor: Every 90 minutes
#     crontab: ValueError
#     APScheduler: ValueError
#     */45, croniter: 45 15 45, cron-descriptor: Every 45 minutes
#
# Here a step that reaches nothing is refused, an uneven one has a warning, and the words are made from the values that
# fire: handlers/recurrence/words.py, tests/unit/test_cron_words.py.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    croniter==7.0.0 cronsim==2.8 celery==5.7.0 huey==3.5.4 cron-descriptor==2.2.1 crontab==1.0.5 APScheduler==3.11.3
"$work/venv/bin/python" -W ignore <<'PY'
from datetime import datetime, timedelta

import celery.schedules
import huey
from apscheduler.triggers.cron import CronTrigger
from cron_descriptor import get_description
from croniter import croniter
from cronsim import CronSim
from crontab import CronTab

START = datetime(2026, 6, 1)
LINE = "*/90 * * * *"


def minutes_apart(times):
    before, apart = START, []
    for _ in range(3):
        at = next(times)
        apart.append(round((at - before) / timedelta(minutes=1)))
        before = at
    return " ".join(map(str, apart))


def refusal(read):
    try:
        read(LINE)
    except ValueError as error:
        return type(error).__name__
    return "taken"


takes = huey.crontab(minute="*/90")
found = {
    "croniter": minutes_apart(croniter(LINE, START, ret_type=datetime)),
    "cronsim": minutes_apart(CronSim(LINE, START)),
    "celery": f"minutes {sorted(celery.schedules.crontab(minute='*/90').minute)}",
    "huey": f"minutes {[minute for minute in range(60) if takes(START.replace(minute=minute))]}",
    "cron-descriptor": get_description(LINE),
    "crontab": refusal(CronTab),
    "APScheduler": refusal(CronTrigger.from_crontab),
    "*/45, croniter": minutes_apart(croniter("*/45 * * * *", START, ret_type=datetime))
    + f", cron-descriptor: {get_description('*/45 * * * *')}",
}
for name, told in found.items():
    print(f"{name}: {told}")
assert list(found.values()) == [
    "60 60 60",
    "60 60 60",
    "minutes [0]",
    "minutes [0]",
    "Every 90 minutes",
    "ValueError",
    "ValueError",
    "45 15 45, cron-descriptor: Every 45 minutes",
], "it behaves differently now"
PY
