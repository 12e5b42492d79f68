"""A form that is sent twice counts once: its key is written in the transaction of what it asks for."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from django.db import IntegrityError, connections

from handlers.lifecycle import database
from handlers.models import Act, ApiAnswer
from handlers.models.sql import database_now
from handlers.writing import writing

KEEP = timedelta(days=1)  # a form that is sent again after that acts again


def once(key: str, act: Callable[[], str]) -> tuple[str, bool]:
    """Do ``act``, unless that was done under ``key``: what it answered, and whether it was done now.

    ``key``: at most 64 characters; the answer: 200. Whoever comes with the same key meanwhile waits for the answer.
    What ``act`` raises is raised, and leaves the key unused.
    """
    alias = database()
    with writing(alias):
        try:
            with writing(alias):
                Act.objects.using(alias).create(key=key, at=database_now(connections[alias]))
        except IntegrityError:
            pass
        else:
            answer = act()
            Act.objects.using(alias).filter(pk=key).update(answer=answer)
            return answer, True
    return Act.objects.using(alias).get(pk=key).answer, False


def was_done(key: str) -> bool:
    """Whether something was done under ``key``."""
    return Act.objects.using(database()).filter(pk=key).exists()


def forget(limit: int = 5_000) -> bool:
    """Erase up to ``limit`` acts, and answers of the API, that are past their time; whether there may be more."""
    alias = database()
    before, more = database_now(connections[alias]) - KEEP, False
    for kept in (Act, ApiAnswer):
        rows = kept._default_manager.using(alias)
        keys = list(rows.filter(at__lt=before).values_list("pk", flat=True)[:limit])
        rows.filter(pk__in=keys).delete()
        more = more or len(keys) == limit
    return more
