#!/usr/bin/env bash
# asyncio.to_thread no longer speaks the coroutine's language: asgiref 3.12.0 (until 3.11.1 it did), Django 5.2.19
#
# What translation.activate() and timezone.activate() set is kept by asgiref.local.Local, in a context variable.
# asyncio.to_thread copies the context, so a function that a coroutine had run there saw both. From 3.12.0 on what Local
# keeps belongs to the thread that wrote it: asgiref's own sync_to_async moves it along, to_thread does not, although
# every other context variable still arrives. Nothing is raised: texts come out in the default language, times in the
# default zone.
#
# Seen:
#     asgiref 3.11.1: coroutine de, sync_to_async de, to_thread de, plain variable set
#     asgiref 3.12.0: coroutine de, sync_to_async de, to_thread en-us, plain variable set
#
# docs/workers.md says it, where it says what belongs to one job.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
cat >"$work/look.py" <<'PY'
import asyncio
import contextvars
import importlib.metadata
import sys

import django
from asgiref.sync import sync_to_async
from django.conf import settings
from django.utils import translation

settings.configure(USE_I18N=True)
django.setup()
plain = contextvars.ContextVar("plain", default="not set")


async def main():
    plain.set("set")
    translation.activate("de")
    here = translation.get_language()
    moved = await sync_to_async(translation.get_language, thread_sensitive=False)()
    return here, moved, await asyncio.to_thread(translation.get_language), await asyncio.to_thread(plain.get)


found = asyncio.run(main())
print(f"asgiref {importlib.metadata.version('asgiref')}: " + "coroutine {}, sync_to_async {}, to_thread {}, plain variable {}".format(*found))
assert found == ("de", "de", sys.argv[1], "set"), "it behaves differently now"
PY
for version in 3.11.1:de 3.12.0:en-us; do
  "$work/venv/bin/pip" install --quiet --disable-pip-version-check Django==5.2.19 "asgiref==${version%:*}"
  "$work/venv/bin/python" "$work/look.py" "${version#*:}"
done
