"""``manage.py worker``: worker processes under a supervisor."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error, connections

from handlers import pools
from handlers.exceptions import InvalidJob
from handlers.queues import known_queues, served
from handlers.rq_transport.lifetime import Lifetime
from handlers.rq_transport.supervisor import Supervisor


class Command(BaseCommand):
    """Run jobs until SIGTERM or SIGINT; a job that is still running then finishes, or goes back to its queue."""

    help = "Run background jobs."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Which queues, how many processes, and how long they work."""
        parser.add_argument("--queues", help="comma-separated, in order of preference; default: all, sharing the time")
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
        pools.do_without()
        named = [name.strip() for name in queues.split(",") if name.strip()] if queues else None
        lifetime = Lifetime(max_jobs, max_memory, burst)
        serves = self._served(named)
        Supervisor(serves, processes=processes, in_order=named is not None, lifetime=lifetime).run()

    def _served(self, named: list[str] | None) -> list[str]:
        """The queues to serve, with a warning of each that only jobs still name. Raises CommandError."""
        try:
            found = served(named)
        except InvalidJob as error:
            raise CommandError(f"--{error}") from error
        except Error as error:
            if named:  # which may be misspelt: then a worker would serve nothing, and nobody would know
                unknown = ", ".join(sorted(set(named) - known_queues()))
                raise CommandError(
                    f"--queues: no code names {unknown}, and the database, which may have jobs there, does not answer"
                ) from error
            return sorted(known_queues())
        finally:
            connections.close_all()  # the supervisor opens its own, with limits
        for name in found.left_over:
            words = f"warning: the code no longer names queue {name}; it is served because it still holds jobs"
            self.stderr.write(self.style.WARNING(words))
        return found.queues
