"""``manage.py jobs``: look at jobs and act on them, at a terminal and in scripts."""

from __future__ import annotations

import sys
from argparse import Namespace
from types import MethodType
from typing import Any, TextIO

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error as DatabaseError

from handlers.command_line import acting, bulk, enqueueing, failures, listing, queues, recurring, signalling, tailing
from handlers.command_line.answers import Exit, usage
from handlers.command_line.parsing import Parser
from handlers.command_line.people import from_here
from handlers.command_line.screen import Screen
from handlers.exceptions import JobsError

ROOMS = (listing, acting, signalling, enqueueing, queues, tailing, recurring, bulk, failures)


class Command(BaseCommand):
    """One command with a subcommand for each verb. Its exit codes: see ``answers.Exit``."""

    help = "Look at jobs and act on them. docs/commands.md says what can be asked and what the exit codes mean."
    requires_system_checks = ()

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """As Django makes it, but for what it says."""
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        parser.error = MethodType(Parser.error, parser)  # type: ignore[method-assign]
        return parser

    def add_arguments(self, parser: CommandParser) -> None:
        """A subparser for each verb."""
        subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)
        for room in ROOMS:
            room.add(subparsers)

    def handle(self, *_: Any, **options: Any) -> None:
        """Run it. Raises CommandError, with the exit code, unless all was done."""
        code = self._run(Namespace(**options))
        if code:
            raise _Ended(code)

    def execute(self, *args: Any, **options: Any) -> Any:
        """Run it as Django does; an exit code without words is no error to tell of."""
        try:
            return super().execute(*args, **options)
        except _Ended as ended:
            if getattr(self, "_called_from_command_line", False):
                sys.exit(ended.returncode)
            raise

    def _run(self, options: Namespace) -> int:
        acts = hasattr(options, "by")
        screen = Screen(_stream(self.stdout), _stream(self.stderr), as_json=options.as_json, acts=acts)
        try:
            with from_here():
                code = int(options.run(options, screen))
            screen.flush()
            return code
        except JobsError as error:
            raise usage(str(error)) from None
        except UnicodeEncodeError:  # bytes that the shell passed on and that are no UTF-8
            raise usage("an argument holds bytes that are no text") from None
        except DatabaseError as error:
            line = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise CommandError(
                f"the database cannot be asked: {line} (is it there, and has manage.py migrate been run?)",
                returncode=Exit.AWAY,
            ) from None
        except KeyboardInterrupt:
            screen.end_progress()
            return Exit.DONE if options.command == "tail" else Exit.INTERRUPTED
        except BrokenPipeError:
            return Exit.DONE


def _stream(wrapper: Any) -> TextIO:
    """What Django has wrapped: a bar is no line, and has no colour."""
    stream: TextIO = getattr(wrapper, "_out", wrapper)
    return stream


class _Ended(CommandError):
    def __init__(self, code: int) -> None:
        super().__init__("", returncode=code)
