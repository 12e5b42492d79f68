"""``manage.py worker``: worker processes under a supervisor."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from handlers import pools
from handlers.conf import MOST, MOST_PROCESSES
from handlers.exceptions import InvalidJob
from handlers.rq_transport.database_limits import limit_supervisor
from handlers.rq_transport.health_file import HealthFile
from handlers.rq_transport.lifetime import Lifetime
from handlers.rq_transport.shares import read_queues
from handlers.rq_transport.supervisor import Supervisor


class Command(BaseCommand):
    """Run jobs until SIGTERM or SIGINT; a job that is still running then finishes, or goes back to its queue."""

    help = "Run background jobs."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Which queues, how many processes, and how long they work."""
        parser.add_argument(
            "--queues",
            help="in order of preference, a,b, or with weights, critical*3,default; default: all, sharing the time",
        )
        parser.add_argument("--processes", type=int, default=2, help="worker processes (default: 2)")
        parser.add_argument(
            "--max-async",
            type=int,
            metavar="N",
            help="async handlers at once in a process (default: JOBS['MAX_ASYNC'], else 100)",
        )
        parser.add_argument(
            "--threads",
            type=int,
            metavar="N",
            help="other handlers at once in a process, each with a connection (default: JOBS['THREADS'], else 1)",
        )
        parser.add_argument("--max-jobs", type=int, metavar="N", help="replace a process once it has run so many jobs")
        parser.add_argument(
            "--max-memory", type=int, metavar="MIB", help="replace a process once it holds more memory, between jobs"
        )
        parser.add_argument("--health-file", metavar="PATH", help="a file that is touched each second while it lives")
        parser.add_argument("--burst", action="store_true", help="run what is there and what is due, then end with 0")

    def handle(
        self,
        *args: Any,
        queues: str | None,
        processes: int,
        max_async: int | None,
        threads: int | None,
        max_jobs: int | None,
        max_memory: int | None,
        health_file: str | None,
        burst: bool,
        **options: Any,
    ) -> None:
        """Run the supervisor."""
        for option, value in (("--processes", processes), ("--max-jobs", max_jobs), ("--max-memory", max_memory)):
            if value is not None and value < 1:
                raise CommandError(f"{option}: must be 1 or more, not {value}")
        for option, value, most in (
            ("--processes", processes, MOST_PROCESSES),
            ("--max-async", max_async, MOST["max_async"]),
            ("--threads", threads, MOST["threads"]),
        ):
            if value is not None and not 1 <= value <= most:
                raise CommandError(f"{option}: must be from 1 to {most:,}, not {value}")
        try:
            named, weights = read_queues(queues or "")
            health = HealthFile(health_file)
        except OSError as error:
            raise CommandError(f"--health-file: cannot be written: {error}") from error
        except InvalidJob as error:
            raise CommandError(f"--{error}") from error
        # From here on this process is the supervisor's: it waits for nothing for long.
        pools.do_without()
        limit_supervisor()
        lifetime = Lifetime(max_jobs, max_memory, burst)
        try:
            supervisor = Supervisor(
                named or None, weights, processes=processes, max_async=max_async, threads=threads, lifetime=lifetime,
                health=health,
            )  # fmt: skip
        except InvalidJob as error:
            raise CommandError(f"--{error}") from error
        try:
            supervisor.run()
        except InvalidJob as error:
            raise CommandError(f"--{error}") from error
