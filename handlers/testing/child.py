"""``python -m handlers.testing.child COMMAND``: a management command on the database and the Redis of a test."""

from __future__ import annotations

import json
import os
import sys

import django
from django.conf import settings
from django.core.management import call_command

VARIABLE = "JOBS_TESTING"  # in the environment: what the test says of itself, as JSON


def main() -> None:
    """Run it."""
    told = json.loads(os.environ[VARIABLE])
    # Before anything is connected: the settings name the databases that the tests were made beside.
    for alias, name in told["databases"].items():
        settings.DATABASES[alias]["NAME"] = name
    settings.JOBS = {**getattr(settings, "JOBS", {}), "REDIS_URL": told["redis_url"], "EAGER": False}
    django.setup()
    call_command(*sys.argv[1:])


if __name__ == "__main__":
    main()
