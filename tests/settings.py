"""The project's own settings, for tests: everything under a temporary data folder, static files without a manifest."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.utils import timezone

if "JOBSITE_DATA" not in os.environ:
    _made = tempfile.mkdtemp(prefix="jobsite-test-")
    os.environ["JOBSITE_DATA"] = _made  # in the environment, so that the processes which tests start share it
    _owner = os.getpid()

    @atexit.register
    def _remove() -> None:
        if os.getpid() == _owner:  # not in a forked child
            shutil.rmtree(_made, ignore_errors=True)


os.environ.setdefault("JOBSITE_DEMO", "1")
os.environ.setdefault("JOBSITE_APPS", "tests.app")

from jobsite.settings import *  # noqa: F403
from jobsite.settings import DATABASES, JOBS, STATIC_ROOT, STORAGES

# The manifest exists only after collectstatic; test_run.py covers the real one.
STORAGES = STORAGES | {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
if "init_command" in DATABASES["default"].get("OPTIONS", {}):
    # SQLite's. No test cuts the power, and waiting for the disk makes them slow.
    _options = DATABASES["default"]["OPTIONS"]
    _options["init_command"] = _options["init_command"].replace("synchronous=FULL", "synchronous=OFF")
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # fast; no real password is in a test


def jobs_of(env: Mapping[str, str]) -> dict[str, Any]:
    """JOBS as a test's processes are to have them: its TEST_BATCH, TEST_THREADS and TEST_JOBS come on top."""
    numbers = {name: int(env[f"TEST_{name}"]) for name in ("BATCH", "THREADS") if f"TEST_{name}" in env}
    others: dict[str, Any] = json.loads(env.get("TEST_JOBS", "{}"))
    return USUAL_JOBS | numbers | others


USUAL_JOBS = JOBS
JOBS = jobs_of(os.environ)
if "TEST_CLOCK" in os.environ:  # a file that says by how many seconds the host's clock was set
    _set, _now = Path(os.environ["TEST_CLOCK"]), timezone.now
    timezone.now = lambda: _now() + timedelta(seconds=float(_set.read_text()))

STATIC_ROOT.mkdir(parents=True, exist_ok=True)  # whitenoise warns when it is missing, and warnings are errors

# What is tested is not how quick a busy machine is.
CONSOLE_STATEMENT_SECONDS = 30.0
