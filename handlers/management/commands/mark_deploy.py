"""``manage.py mark_deploy``: a version of the site's code came into use."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from handlers import deploys
from handlers.command_line.people import from_here, who
from handlers.conf import jobs_settings
from handlers.exceptions import InvalidJob


class Command(BaseCommand):
    """Marks it, so that the console's curves show it and failure groups know which version is the later one."""

    help = "Mark a deploy: the console's curves show it, and failure groups know which version came later."

    def add_arguments(self, parser: CommandParser) -> None:
        """The version, and when and by whom where that is not now and whoever runs this."""
        # Not "version", which is an option of every command of Django's.
        parser.add_argument("marked", metavar="VERSION", nargs="?", help='default: JOBS["VERSION"]')
        parser.add_argument("--at", help="when it came into use, such as 2026-11-30T08:15Z; now by default")
        parser.add_argument("--by", metavar="LOGIN", help="who did it; whoever runs this by default")

    def handle(self, *_args: Any, marked: str | None, at: str | None, by: str | None, **_options: Any) -> None:
        """Mark it, once."""
        version = jobs_settings().version if marked is None else marked
        if not version:
            raise CommandError('Name the version, or set JOBS["VERSION"] (JOBSITE_VERSION on the project\'s own site).')
        try:
            with from_here():
                made = deploys.mark(version, _moment(at) if at else None, by=who(by))
        except InvalidJob as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{made.version} is marked as in use since {made.at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC")


def _moment(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidJob(f"at: {text[:40]!r} is no time; write 2026-11-30T08:15Z", field="at") from None
    return at if at.utcoffset() is not None else at.replace(tzinfo=UTC)
