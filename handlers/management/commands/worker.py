"""``manage.py worker``: worker processes under a supervisor."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from handlers.gateway import known_queues
from handlers.rq_transport.supervisor import Supervisor
from handlers.rq_transport.worker import all_queues


class Command(BaseCommand):
    """Run jobs until SIGTERM or SIGINT; a job that is still running then finishes, or goes back to its queue."""

    help = "Run background jobs."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """``--queues`` and ``--processes``."""
        parser.add_argument("--queues", help="comma-separated, in order of preference; default: all, taken in turn")
        parser.add_argument("--processes", type=int, default=2, help="worker processes (default: 2)")

    def handle(self, *args: Any, queues: str | None, processes: int, **options: Any) -> None:
        """Run the supervisor."""
        if processes < 1:
            raise CommandError(f"--processes: must be 1 or more, not {processes}")
        named = [name.strip() for name in queues.split(",") if name.strip()] if queues else None
        if unknown := sorted(set(named or []) - known_queues()):
            known = ", ".join(sorted(known_queues()))
            raise CommandError(f"--queues: unknown {', '.join(unknown)}; known are {known}")
        Supervisor(all_queues(named), processes=processes, in_order=named is not None).run()
