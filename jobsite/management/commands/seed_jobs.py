"""``manage.py seed_jobs``: a database full of made-up jobs."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from handlers.conf import ENGINE_TYPES, SYSTEM_QUEUE
from handlers.exceptions import InvalidJob
from handlers.models import JobRecord
from handlers.queues import known_queues
from handlers.registry import registry
from jobsite.made_up import templates
from jobsite.seeding import seed

MOST = 100_000_000


class Command(BaseCommand):
    """Write jobs in every state, with history, errors and counts that agree: for benchmarks and trials."""

    help = (
        "Fill the database with made-up jobs, for benchmarks and for trying the console at size."
        " Workers run those that are enqueued, with made-up arguments that fit: not for where the data are real."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """How many, of how many types, over how many days."""
        parser.add_argument("count", type=int, help="how many jobs, such as 100000")
        parser.add_argument(
            "--types",
            type=int,
            default=0,
            help="made-up job types; default: those that apps registered, with arguments that fit them",
        )
        parser.add_argument("--groups", type=int, default=40, help="failure groups at most (default: 40)")
        parser.add_argument("--days", type=float, default=7.0, help="over how many days they were made (default: 7)")
        parser.add_argument("--add", action="store_true", help="write them although the database holds jobs already")

    def handle(self, *args: Any, count: int, types: int, groups: int, days: float, add: bool, **options: Any) -> None:
        """Write them. Raises CommandError for a number that does not fit, or when there are jobs and no ``--add``."""
        if not 1_000 <= count <= MOST:
            raise CommandError(f"count: from 1,000 to {MOST:,}, not {count:,}")
        if not 0 <= types <= 1_000 or not 0 < days <= 400:
            raise CommandError("--types: from 0 to 1,000; --days: above 0, up to 400")
        if not 1 <= groups <= 1_000:
            raise CommandError(f"--groups: from 1 to 1,000, not {groups:,}")
        if JobRecord.objects.exists() and not add:
            raise CommandError(
                "the database holds jobs already: made-up ones would stand among them (--add: I want that)"
            )
        began = time.monotonic()
        made = None if types else self._templates()
        names = [f"seed.Type{n:03d}" for n in range(types)] if made is None else list(made)
        queues = sorted(known_queues() - {SYSTEM_QUEUE})
        for words in seed(count, types=names, queues=queues, groups=groups, days=days, templates=made):
            self.stdout.write(words)
        self.stdout.write(f"{count:,} jobs in {time.monotonic() - began:.0f} s")

    def _templates(self) -> dict[str, list[str]]:
        """Of the arguments of each type that apps registered; tells which types are left out, and why."""
        found = {}
        for job_type in registry.all():
            if not job_type.name.startswith(ENGINE_TYPES):
                try:
                    found[job_type.name] = templates(job_type)
                except InvalidJob as error:
                    self.stdout.write(f"no jobs of {job_type.name}, which no made-up arguments fit: {error}")
        if not found:
            raise CommandError(
                "no app registers a job type to make jobs of: name a number of made-up ones with --types"
            )
        return found
