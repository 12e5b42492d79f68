"""``manage.py relabel_jobs``: once, after an update from a release with other labels."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import connections

from handlers import relabelling


class Command(BaseCommand):
    """Changes what Django has on record of the labels; tables, jobs, groups and permissions stay."""

    help = "Once, after an update from a release whose apps were labelled 'jobs' and 'dashboard': run it, then migrate."
    requires_system_checks = ()  # one of which asks for this command

    def add_arguments(self, parser: CommandParser) -> None:
        """``--database`` narrows it to one of several."""
        parser.add_argument("--database", choices=tuple(connections), help="one of DATABASES; all of them by default")

    def handle(self, *_args: Any, database: str | None, **_options: Any) -> None:
        """Relabel each database that needs it; a second time does nothing."""
        for alias in [database] if database else list(connections):
            changed = relabelling.relabel(alias)
            self.stdout.write(f"{alias}: {changed} rows relabelled" if changed else f"{alias}: nothing to do")
