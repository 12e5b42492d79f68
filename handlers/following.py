"""What follows when watched jobs have moved: whoever waits for that is brought up to date.

The move leaves a row (``WatchedMove``) in its own transaction. After the commit whoever made it takes such rows, and
in one transaction with that tells all rooms that follow jobs. So nothing is lost where a process dies in between: a
scheduler comes to what is left. What two have to follow at once, each takes its own part of.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import cache

from django.db import OperationalError, connections

from handlers.lifecycle import database, watching
from handlers.models import WatchedMove
from handlers.models.sql import BY_INDEX, database_now, fetch, is_postgresql, to_time
from handlers.writing import writing

logger = logging.getLogger(__name__)

Follower = Callable[[Sequence[int], str], None]
MOVES = 100  # looked after in one transaction
LEFT_BEHIND = timedelta(seconds=2)  # whoever made such an old move has died, or could not

WATCHED, LIMITED = "jobs", "limited"  # the jobs that a follower hears of, by the row's column
MOVED = WatchedMove._meta.db_table

_followers: list[tuple[str, Follower]] = []
_busy = threading.local()


def add(follower: Follower, which: str = WATCHED) -> None:
    """Have ``follower`` called with the ids of those jobs that have moved, ascending, and the database's alias.

    In a transaction, perhaps more than once for one move, perhaps after the jobs moved on: it goes by where they are
    now. What it publishes it does after the commit.
    """
    if (which, follower) not in _followers:
        _followers.append((which, follower))


def remove(follower: Follower) -> None:
    """Call it no more."""
    _followers[:] = [each for each in _followers if each[1] is not follower]


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
    """One of them may be what cannot be done, and the others must not wait for it, however many such there are."""
    done, after = 0, 0
    try:
        while not done:
            moves = WatchedMove.objects.filter(pk__gt=after).order_by("pk")
            for pk in (pks := list(moves.values_list("pk", flat=True)[:MOVES])):
                try:
                    done += _take(1, left_behind, after=after)
                except Exception as error:
                    if isinstance(error, OperationalError) and not left_behind:
                        raise  # the database's trouble, for which each of them would wait: a scheduler has the time
                    logger.error("cannot follow jobs that moved (%d): %s", pk, type(error).__name__)
                after = pk
            if len(pks) < MOVES:
                break
    except Exception as error:  # noqa: BLE001 - as above
        logger.warning("cannot follow jobs that moved, a scheduler will: %s", type(error).__name__)
    return done


def _take(limit: int, left_behind: bool, after: int = 0) -> int:
    connection = connections[database()]
    with writing(connection.alias):
        now = database_now(connection) if left_behind else None
        params = {"after": after, "limit": limit}
        if now is not None:
            params |= {
                "before": to_time(connection, now - LEFT_BEHIND),
                "beyond": to_time(connection, now + LEFT_BEHIND),
            }
        rows = fetch(connection, _take_sql(is_postgresql(connection), left_behind), params)
        for at, which in enumerate((WATCHED, LIMITED)):
            if ids := sorted({job_id for row in rows for job_id in json.loads(row[at])}):
                for wanted, follower in _followers:
                    if wanted == which:
                        follower(ids, connection.alias)
    return len(rows)


@cache
def _take_sql(postgresql: bool, left_behind: bool) -> str:
    # What is to come was left behind as well, before the clock was set back.
    old = "AND (at < %(before)s OR at > %(beyond)s)" if left_behind else ""
    # No wait for the disk: what a crash of the server takes back it takes back whole, and it is done again. And what
    # follows goes by indexes (see ``go_by_index``).
    lock, unsynced = ("FOR UPDATE SKIP LOCKED", f", (SELECT ROW({BY_INDEX}) IS NOT NULL)") if postgresql else ("", "")
    text = "::text" if postgresql else ""
    # Chosen once: as a subquery of the DELETE, some plans ask again for each row, skip what is locked, and take more.
    return f"""
        WITH chosen AS (SELECT id FROM {MOVED} WHERE id > %(after)s {old} ORDER BY id LIMIT %(limit)s {lock})
        DELETE FROM {MOVED} WHERE id IN (SELECT id FROM chosen) RETURNING jobs{text}, limited{text}{unsynced}
    """


watching.call(follow)
