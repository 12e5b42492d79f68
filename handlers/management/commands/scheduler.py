"""``manage.py scheduler``: delayed jobs, retries, recovery. Run as many as you like."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from handlers import pools
from handlers.exceptions import TransportUnavailable
from handlers.rq_transport.database_limits import limit_scheduler
from handlers.rq_transport.delayed import DelayedScheduler
from handlers.rq_transport.health_file import HealthFile


class Command(BaseCommand):
    """Runs until SIGTERM or Ctrl-C. While Redis or the database is away it waits, and says so."""

    help = "Move delayed jobs to their queues when they are due, and bring back lost ones. Run as many as you like."
    requires_system_checks = ()  # the database may be away

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Where it says that it lives."""
        parser.add_argument("--health-file", metavar="PATH", help="a file that is touched each second while it lives")

    def handle(self, *_args: Any, health_file: str | None, **_options: Any) -> None:
        """Run the scheduler. Raises CommandError when no Redis is configured, or the file cannot be written."""
        try:
            health = HealthFile(health_file)
        except OSError as error:
            raise CommandError(f"--health-file: cannot be written: {error}") from error
        pools.do_without()
        try:
            scheduler = DelayedScheduler(health=health)
        except TransportUnavailable as error:
            raise CommandError(str(error)) from error
        limit_scheduler()
        self.stdout.write(f"scheduler {scheduler.name} starts")
        scheduler.run()
        self.stdout.write("scheduler stopped")
