"""A limit on how many do something slow at once, one person and all together, over every process and host.

Places are rows that have one holder at a time, under a lease: whoever dies gives its place back by that.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from datetime import timedelta

from django.db import IntegrityError, connections

from handlers.exceptions import JobsError
from handlers.lifecycle import database
from handlers.models import Turn
from handlers.models.sql import database_now
from handlers.writing import writing

LEASE = timedelta(minutes=5)  # a reader may be as slow as that without losing its place
RENEW_SECONDS = 30.0
RETRY_SECONDS = 30  # after which it may be worth another try


class NoTurn(JobsError):
    """Too many do this at the moment. ``own``: this very person has as many places as one may have."""

    def __init__(self, what: str, holders: list[str], *, own: bool) -> None:
        many = (
            f"{len(holders)} {what}{'' if len(holders) == 1 else 's'} {'is' if len(holders) == 1 else 'are'} under way"
        )
        by = "yours" if own else f"by {', '.join(sorted(set(holders)))}"
        most = "one person" if own else "all together"
        super().__init__(f"{many}, {by}: {most} may have no more at once. Try again when one has ended.")
        self.own = own


@dataclass
class Place:
    """Places that are held until ``give_back``, or until nobody has asked for ``keep`` during a lease."""

    token: str
    _renewed: float = float("-inf")
    _is_back: bool = False

    def keep(self) -> bool:
        """Say that it is still needed; cheap to say often. False: too late, it is lost."""
        now = time.monotonic()
        if now - self._renewed < RENEW_SECONDS:
            return True
        self._renewed = now
        alias = database()
        until = database_now(connections[alias]) + LEASE
        return bool(Turn.objects.using(alias).filter(token=self.token).update(until=until))

    def give_back(self) -> None:
        """Let the next one in; to say so again asks the database for nothing."""
        if not self._is_back:
            Turn.objects.using(database()).filter(token=self.token).delete()
            self._is_back = True


def take(what: str, person: str, holder: str, *, each: int, most: int, within: timedelta = LEASE) -> Place:
    """A place among ``most`` for ``what`` (a word, such as ``export``), and among the ``each`` of ``person`` (a key).

    ``holder``: the person in words; ``within``: when the holder says ``keep`` for the first time. Raises NoTurn, which
    says who has them.
    """
    place = Place(secrets.token_hex(16))
    for group, limit, own in ((f"{what} of {person}"[:190], each, True), (what, most, False)):
        names = [f"{group} {number}" for number in range(limit)]
        if not any(_claim(name, place.token, holder[:150], within) for name in names):
            place.give_back()
            holders = Turn.objects.using(database()).filter(pk__in=names).values_list("holder", flat=True)
            raise NoTurn(what, list(holders) or [holder], own=own)
    return place


def _claim(name: str, token: str, holder: str, within: timedelta) -> bool:
    alias = database()
    now = database_now(connections[alias])
    facts = {"token": token, "holder": holder, "until": now + within}
    if Turn.objects.using(alias).filter(pk=name, until__lt=now).update(**facts):
        return True
    if Turn.objects.using(alias).filter(pk=name).exists():
        return False
    try:
        with writing(alias):
            Turn.objects.using(alias).create(name=name, **facts)
    except IntegrityError:
        return False
    return True
