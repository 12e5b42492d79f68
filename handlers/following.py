"""What follows when watched jobs have moved: whoever waits for that is brought up to date.

The move leaves a row (``WatchedMove``) in its own transaction. After the commit whoever made it takes such rows, and
in one transaction with that tells all rooms that follow jobs. So nothing is lost where a process dies in between: a
scheduler comes to what is left. What two have to follow at once, each takes its own part of.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from datetime import timedelta

from django.db import connections, transaction
from django.db.models import QuerySet

from handlers.lifecycle import database, watching
from handlers.models import WatchedMove
from handlers.models.sql import database_now, is_postgresql, take_lock

logger = logging.getLogger(__name__)

Follower = Callable[[Sequence[int], str], None]
MOVES = 100  # looked after in one transaction
LEFT_BEHIND = timedelta(seconds=2)  # whoever made such an old move has died, or could not

_followers: list[Follower] = []
_busy = threading.local()


def add(follower: Follower) -> None:
    """Have ``follower`` called with the ids of watched jobs that have moved, ascending, and the database's alias.

    In a transaction, perhaps more than once for one move, perhaps after the jobs moved on: it goes by where they are
    now. What it publishes it does after the commit.
    """
    if follower not in _followers:
        _followers.append(follower)


def remove(follower: Follower) -> None:
    """Call it no more."""
    _followers.remove(follower)


def follow(*, left_behind: bool = False) -> int:
    """Look after what has moved; after how many moves. ``left_behind``: those only that nobody came to. Never raises.

    Called by the life cycle after each commit of such a move.
    """
    if getattr(_busy, "is_busy", False):
        _busy.again = True  # what the followers have moved themselves, the loop that they run in comes to
        return 0
    _busy.is_busy, done = True, 0
    try:
        while True:
            _busy.again = False
            done += (count := _take(MOVES, left_behind))
            if count < MOVES and not _busy.again:
                break
    except Exception as error:  # noqa: BLE001 - whose move it was has other things to do, and recovery does this
        logger.warning("cannot follow jobs that moved, and try again one by one: %s", type(error).__name__)
        done += _singly(left_behind)
    finally:
        _busy.is_busy = False
    return done


def _singly(left_behind: bool) -> int:
    """One of them may be what cannot be done, and the others must not wait for it."""
    done, after = 0, 0
    try:
        for pk in list(_waiting(left_behind).values_list("pk", flat=True)[:MOVES]):
            try:
                done += _take(1, left_behind, after=after)
            except Exception as error:  # noqa: BLE001 - as above; no traceback, a driver's message can quote values
                logger.error("cannot follow jobs that moved (%d): %s", pk, type(error).__name__)
            after = pk
    except Exception as error:  # noqa: BLE001 - as above
        logger.warning("cannot follow jobs that moved, a scheduler will: %s", type(error).__name__)
    return done


def _waiting(left_behind: bool) -> QuerySet[WatchedMove]:
    rows = WatchedMove.objects.using(database()).order_by("pk")
    return rows.filter(at__lt=database_now(connections[database()]) - LEFT_BEHIND) if left_behind else rows


def _take(limit: int, left_behind: bool, after: int = 0) -> int:
    alias = database()
    with transaction.atomic(using=alias):
        take_lock(connections[alias])
        waiting = _waiting(left_behind).filter(pk__gt=after)
        if is_postgresql(connections[alias]):
            waiting = waiting.select_for_update(skip_locked=True)
        found = list(waiting[:limit])
        if not found:
            return 0
        WatchedMove.objects.using(alias).filter(pk__in=[row.pk for row in found])._raw_delete(alias)
        if is_postgresql(connections[alias]):
            # No wait for the disk: what a crash of the server takes back it takes back whole, and it is done again.
            with connections[alias].cursor() as cursor:
                cursor.execute("SET LOCAL synchronous_commit TO off")
        ids = sorted({job_id for row in found for job_id in row.jobs})
        for follower in _followers:
            follower(ids, alias)
    return len(found)


watching.call(follow)
