"""How a command ends: what it says in one line when it cannot, and the exit code."""

from __future__ import annotations

from enum import IntEnum

from django.core.management.base import CommandError


class Exit(IntEnum):
    """Exit codes, which scripts rely on."""

    DONE = 0
    NOT_ALL = 1  # nothing was changed, or not all that was asked for
    USAGE = 2  # what was asked for makes no sense
    AWAY = 3  # the database cannot be asked
    INTERRUPTED = 130  # by Ctrl-C


def usage(words: str) -> CommandError:
    """What was asked for makes no sense; ``words`` say what is wrong and how to mend it."""
    return CommandError(" ".join(words.split()), returncode=Exit.USAGE)
