"""What is in the database before something is measured."""

from __future__ import annotations

import sys
from datetime import datetime

from django.core.management import call_command
from django.db import connection

from handlers import lifecycle
from handlers.lifecycle import NewJob
from handlers.models import JobRecord
from handlers.publishing import publish
from handlers.registry import registry
from tests.app.jobs import Nothing
from tests.bench.furnished import furnish
from tests.bench.places import Figures
from tests.bench.sites import site


def fill(jobs: int) -> Figures:
    """Migrate, and make up jobs of a site of that size until there are about ``jobs``."""
    call_command("migrate", verbosity=0)
    missing = jobs - JobRecord.objects.count()
    if missing > jobs / 20:
        size = site(jobs)
        call_command("seed_jobs", missing, types=size.types, groups=size.groups, add=True, stdout=sys.stderr)
    if jobs:
        furnish(site(jobs), jobs)
    settle()  # a kept database too: the one it is compared with is as new
    return {}


def settle() -> None:
    """What a database does by itself after many writes, done now and not in the middle of what is measured."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")
            cursor.execute("CHECKPOINT")


def schedule_many(count: int, at: datetime) -> None:
    """``count`` jobs that do nothing, due at ``at``; the gateway schedules only one at a time."""
    job_type = registry.for_object(Nothing())
    new = NewJob(job_type.name, job_type.encode(Nothing()), job_type.queue, run_at=at)
    for done in range(0, count, 5_000):
        publish(lifecycle.create([new] * min(count - done, 5_000)))
    settle()
