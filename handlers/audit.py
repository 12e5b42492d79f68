"""Every verb of a person goes on record, with their name, in the verb's own transaction."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import connections

from handlers.failures import clean
from handlers.lifecycle import database
from handlers.models import AuditEntry
from handlers.models.sql import database_now

By = AbstractBaseUser | str | None

# Where the verb was asked for: the console sets the client's address for the time of a request.
acting_from: ContextVar[str] = ContextVar("acting_from", default="")


def actor_name(by: By) -> str:
    """``by`` as histories name it: ``user:NAME``, or a program's name, which cannot pass for a user's."""
    if by is None:
        return ""
    return f"user:{by.get_username()}" if isinstance(by, AbstractBaseUser) else str(by).removeprefix("user:")


def audit(by: By, verb: str, target: str, count: int, reason: str = "", data: dict[str, Any] | None = None) -> None:
    """Write down that ``by`` did ``verb`` to ``target``, which moved ``count``; nothing when nobody is named."""
    if by is None:
        return
    alias = database()
    user = by if isinstance(by, AbstractBaseUser) else None
    AuditEntry.objects.using(alias).create(
        at=database_now(connections[alias]),
        user_id=user.pk if user else None,
        username=user.get_username() if user else clean(str(by), 150),
        verb=verb,
        target=target[:200],
        count=count,
        reason=clean(reason, 500),
        source=clean(acting_from.get(), 64),
        data=data,
    )
