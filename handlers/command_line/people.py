"""In whose name a command acts."""

from __future__ import annotations

import getpass
import socket
from contextlib import AbstractContextManager

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db.utils import DataError

from handlers.audit import By, acts_from
from handlers.command_line.answers import usage
from handlers.failures import clean

LOGIN, SOURCE = 100, 64  # characters


def who(name: str | None) -> By:
    """The user with the login ``name``; without one, the command line, with the operating system's user.

    The shell gives more power than any permission, so no permission is asked for: whoever may run ``manage.py`` can
    act in anybody's name. The audit keeps the operating system's user too, as where it came from.
    """
    if name is None:
        return f"command line ({clean(_system_user(), LOGIN)})"
    users = get_user_model()
    try:
        return users._default_manager.get_by_natural_key(name)
    except (users.DoesNotExist, ValidationError, DataError, ValueError):
        raise usage(
            f"--by: there is no login {name[:LOGIN]!r}: name one, or leave it out to act as the command line"
        ) from None


def from_here() -> AbstractContextManager[None]:
    """What is audited inside came from this user of the operating system, on this host."""
    return acts_from(clean(f"{_system_user()}@{socket.gethostname()}", SOURCE))


def _system_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # in a container, a user id without a name
        return "unknown"
