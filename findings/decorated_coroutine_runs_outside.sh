#!/usr/bin/env bash
# Decorators that are over before an async function begins: Django 5.2.19, prometheus-client 0.26.0
#
# @translation.override("de") and @timezone.override(...) are context managers that decorate; prometheus-client's
# time(), count_exceptions() and track_inprogress() are, too. Put on an async function they wrap the call that makes
# the coroutine, not its run: a mail goes out in the default language, a job of 200 ms counts as one of no time, a
# failure is no exception, and nothing is ever in progress. Nobody is warned, and the metrics look like those of a
# healthy service. The same manager in a `with` inside the function works.
#
# Seen, of an async function that takes 200 ms and then raises:
#     decorated: language en-us, zone America/Chicago; in progress 0, seconds 0.0, exceptions 0, calls 1
#     the same as `with` inside: language de, zone Asia/Tokyo; in progress 1, seconds 0.2, exceptions 1, calls 1
#     decorated, but sync: language de, zone Asia/Tokyo; in progress 1, seconds 0.2, exceptions 1, calls 1
#
# docs/workers.md says it of async handlers; the engine counts and times each run itself.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    django==5.2.19 prometheus-client==0.26.0 tzdata==2026.6
"$work/venv/bin/python" -W ignore <<'PY'
import asyncio
import time
from contextlib import ExitStack

import django
from django.conf import settings
from django.utils import timezone, translation
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

settings.configure(USE_I18N=True, USE_TZ=True)
django.setup()


def managers(registry):
    return [
        translation.override("de"),
        timezone.override("Asia/Tokyo"),
        Histogram("seconds", "of a run", registry=registry).time(),
        Counter("exceptions", "of a run", registry=registry).count_exceptions(),
        Gauge("running", "runs in progress", registry=registry).track_inprogress(),
    ]


def surroundings(registry):
    return translation.get_language(), timezone.get_current_timezone_name(), registry.get_sample_value("running")


def told(name, call):
    """What the function that ``call`` makes of a registry saw, and what was measured of it."""
    registry, seen = CollectorRegistry(), []
    try:
        call(registry, seen)
    except ValueError:
        pass
    ((language, zone, running),) = seen
    seconds, exceptions, calls = map(registry.get_sample_value, ("seconds_sum", "exceptions_total", "seconds_count"))
    print(
        f"{name}: language {language}, zone {zone}; in progress {running:g}, "
        f"seconds {seconds:.1f}, exceptions {exceptions:g}, calls {calls:g}"
    )
    return language, zone, running, round(seconds, 1), exceptions, calls


def decorated(registry, seen):
    async def function():
        seen.append(surroundings(registry))
        await asyncio.sleep(0.2)
        raise ValueError

    for manager in managers(registry):
        function = manager(function)
    asyncio.run(function())


def inside(registry, seen):
    async def function():
        with ExitStack() as stack:
            for manager in managers(registry):
                stack.enter_context(manager)
            seen.append(surroundings(registry))
            await asyncio.sleep(0.2)
            raise ValueError

    asyncio.run(function())


def sync(registry, seen):
    def function():
        seen.append(surroundings(registry))
        time.sleep(0.2)
        raise ValueError

    for manager in managers(registry):
        function = manager(function)
    function()


outside = told("decorated", decorated)
within = told("the same as `with` inside", inside), told("decorated, but sync", sync)
assert outside == ("en-us", "America/Chicago", 0, 0, 0, 1), "it behaves differently now"
assert {(*each[:3], each[3] >= 0.2, *each[4:]) for each in within} == {("de", "Asia/Tokyo", 1, True, 1, 1)}
PY
