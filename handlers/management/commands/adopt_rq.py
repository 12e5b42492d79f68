"""``manage.py adopt_rq``: RQ's own jobs become durable ones."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error

from handlers.exceptions import InvalidJob, TransportUnavailable


class Command(BaseCommand):
    """Move what waits in RQ's queues, in its scheduled registries and in rq-scheduler's set into the database.

    It may be stopped at any moment and begun again: nothing runs twice for that, and nothing is lost. Workers and
    schedulers of both kinds may run meanwhile.
    """

    help = "Move RQ's queued and scheduled jobs into durable ones."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """What of it, and whether at all."""
        parser.add_argument("--dry-run", action="store_true", help="say what would move, and why the rest would not")
        parser.add_argument(
            "--trust-pickle",
            action="store_true",
            help="read pickles, too: those of plain values, as RQ writes them. What holds objects stays",
        )
        parser.add_argument("--queues", metavar="A,B", help="of these queues only; default: all of RQ_QUEUES")
        parser.add_argument("--json", action="store_true", help="one object a line, for scripts")

    def handle(self, *args: Any, dry_run: bool, trust_pickle: bool, queues: str | None, **options: Any) -> None:
        """Run it."""
        from handlers.adoption.moving import Mover, as_json
        from handlers.adoption.standing import places

        only = [name.strip() for name in queues.split(",") if name.strip()] if queues else None
        mover = Mover(trust_pickle=trust_pickle, only=only, tell=self._tell(options))
        try:
            found = [mover.look(place) if dry_run else mover.move(place) for place in places(only)]
        except (InvalidJob, TransportUnavailable) as error:
            raise CommandError(str(error)) from None
        except Error as error:
            raise CommandError(
                f"the database failed: {str(error).partition(chr(10))[0]}: what was taken is back in RQ, or is met by"
                " the next run: run this again"
            ) from error
        if options["json"]:
            self.stdout.write(as_json(found))
            return
        self.stdout.write(f"{'':24} {'would move' if dry_run else 'moved':>10} {'left':>10}")
        for tally in found:
            self.stdout.write(f"{tally.place:24} {tally.moved:>10,} {tally.left.total():>10,}")
            if tally.resumed:
                self.stdout.write(f"    {tally.resumed:,} of them were begun by an earlier run")
            for why, count in tally.left.most_common():
                self.stdout.write(f"    {count:,} left: {why}")
        if not trust_pickle and any(tally.left["it is a pickle"] for tally in found):
            self.stdout.write("Pickles are read with --trust-pickle: whoever can write to that Redis has written them.")

    def _tell(self, options: dict[str, Any]) -> Any:
        if options["verbosity"] < 2:
            return lambda place, count: None
        return lambda place, count: self.stderr.write(f"{place}: {count:,}")
