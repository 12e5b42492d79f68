"""``manage.py worker``: worker processes under a supervisor."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from handlers.gateway import known_queues
from handlers.rq_transport.lifetime import Lifetime
from handlers.rq_transport.supervisor import Supervisor
from handlers.rq_transport.worker import all_queues


class Command(BaseCommand):
    """Run jobs until SIGTERM or SIGINT; a job that is still running then finishes, or goes back to its queue."""

    help = "Run background jobs."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Which queues, how many processes, and how long they work."""
        parser.add_argument("--queues", help="comma-separated, in order of preference; default: all, taken in turn")
        parser.add_argument("--processes", type=int, default=2, help="worker processes (default: 2)")
        parser.add_argument("--max-jobs", type=int, metavar="N", help="replace a process once it has run so many jobs")
        parser.add_argument(
            "--max-memory", type=int, metavar="MIB", help="replace a process once it holds more memory, between jobs"
        )
        parser.add_argument("--burst", action="store_true", help="run what is there and what is due, then end with 0")

    def handle(
        self,
        *args: Any,
        queues: str | None,
        processes: int,
        max_jobs: int | None,
        max_memory: int | None,
        burst: bool,
        **options: Any,
    ) -> None:
        """Run the supervisor."""
        for option, value in (("--processes", processes), ("--max-jobs", max_jobs), ("--max-memory", max_memory)):
            if value is not None and value < 1:
                raise CommandError(f"{option}: must be 1 or more, not {value}")
        named = [name.strip() for name in queues.split(",") if name.strip()] if queues else None
        if unknown := sorted(set(named or []) - known_queues()):
            known = ", ".join(sorted(known_queues()))
            raise CommandError(f"--queues: unknown {', '.join(unknown)}; known are {known}")
        lifetime = Lifetime(max_jobs, max_memory, burst)
        Supervisor(all_queues(named), processes=processes, in_order=named is not None, lifetime=lifetime).run()
