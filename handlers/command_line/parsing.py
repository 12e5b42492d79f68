"""The parser of ``manage.py jobs``: one subparser for each command, and the options that several share."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NoReturn, Protocol

from django.core.management.base import CommandError, CommandParser

from handlers.command_line.answers import Exit
from handlers.command_line.screen import Screen

DIGITS = 19  # of the largest id
Run = Callable[[argparse.Namespace, Screen], int]


class Subparsers(Protocol):
    """What ``add_subparsers`` returns."""

    def add_parser(self, name: str, **options: Any) -> argparse.ArgumentParser:
        """One more command."""


def whole(least: int = 0, most: int = 2**63 - 1) -> Callable[[str], int]:
    """The argparse type of a whole number in these bounds; ids are as large as that."""

    def read(text: str) -> int:
        if text.isascii() and text.isdigit() and len(text) <= DIGITS and least <= int(text) <= most:
            return int(text)
        to = f" to {most:,}" if most < 2**63 - 1 else " up"
        raise argparse.ArgumentTypeError(f"must be a whole number from {least:,}{to}, not {text[:40]!r}")

    return read


class Parser(CommandParser):
    """Says what is wrong in one line. Of a command without subcommands, options may stand between its words."""

    _is_mixing = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does, whose own takes ``7 --by ann 8`` for one word too many."""
        if self._subparsers is not None or self._is_mixing:
            return super().parse_known_args(args, namespace)
        self._is_mixing = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._is_mixing = False

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        """As argparse does, which takes ``--limit=--`` for no value, and gives a list, in Python 3.11."""
        if action.option_strings and arg_strings == ["--"]:
            raise argparse.ArgumentError(action, "expected one argument, and not --")
        return super()._get_values(action, arg_strings)

    def error(self, message: str) -> NoReturn:
        """End with code 2, or raise CommandError where the command was called by a program."""
        if self.called_from_command_line:
            self.exit(Exit.USAGE, f"{self.prog}: {' '.join(message.split())} (see {self.prog} --help)\n")
        raise CommandError(f"{message}", returncode=Exit.USAGE)


def command(
    subparsers: Subparsers, name: str, run: Run, summary: str, *, acts: bool = False, dry: bool = False
) -> argparse.ArgumentParser:
    """A command with what all have. ``acts``: it changes something, which is audited; ``dry``: and can show what."""
    parser = subparsers.add_parser(name, help=summary, description=summary)
    parser.set_defaults(run=run)
    parser.add_argument("--json", action="store_true", dest="as_json", help="one JSON object on a line, for scripts")
    if acts:
        parser.add_argument("--by", metavar="LOGIN", help="whom the audit names (default: the command line)")
        parser.add_argument("--reason", default="", metavar="TEXT", help="why, for the history and the audit")
    if dry:
        parser.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    return parser
