"""RQ's own jobs become durable ones: what is queued and scheduled moves into the database, once, and none is lost.

Each step can be the last one. What is moved is first taken from where RQ's workers find it, in one step of Redis, to a
place of our own beside it; then it is written to the database with its origin, which is unique; then it leaves Redis.
Whoever begins finishes first what stands in our place: by its origin it is known whether it was written.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from django.db import IntegrityError, connections
from redis.exceptions import RedisError

from handlers import lifecycle, queues
from handlers.adoption.enqueueing import AT_FRONT, repeat_after
from handlers.adoption.found import Unreadable
from handlers.adoption.items import Item, origin, read, times
from handlers.adoption.standing import Entry, Place
from handlers.exceptions import TransportUnavailable
from handlers.gateway import job_scheduler
from handlers.lifecycle import NewJob
from handlers.models import RQOrigin
from handlers.models.sql import insert
from handlers.publishing import publish_on_commit
from handlers.registry import registry
from handlers.writing import writing

ACTOR = "adopt_rq"
COLUMNS = {"origin": "text", "rq_id": "text", "job_id": "id", "in_redis": "bool"}


@dataclass
class Tally:
    """What was found in one place, and what became of it."""

    place: str
    moved: int = 0  # or would be
    resumed: int = 0  # of these: taken by a run before, that did not come to its end
    left: Counter[str] = field(default_factory=Counter)  # why


@contextmanager
def _telling() -> Iterator[None]:
    """Raises TransportUnavailable for Redis' errors: what has not moved is where it was."""
    try:
        yield
    except RedisError as error:
        raise TransportUnavailable(f"Redis: {error}: what has not moved is where it was; run this again") from None


class Mover:
    """One run. ``tell`` is told how many jobs were looked at, now and then."""

    def __init__(
        self,
        *,
        trust_pickle: bool = False,
        only: Sequence[str] | None = None,
        tell: Callable[[str, int], None] = lambda place, count: None,
    ) -> None:
        self._trust, self._only, self._tell = trust_pickle, only, tell

    @_telling()
    def look(self, place: Place) -> Tally:
        """What would move. Nothing is changed. Raises TransportUnavailable."""
        tally = Tally(place.name)
        for chunk in place.chunks(place.held):
            tally.resumed += len(chunk)
            tally.moved += len(chunk)
        for chunk in place.chunks(place.key):
            tally.moved += len(self._items(place, chunk, tally.left))
            self._tell(place.name, tally.moved)
        return tally

    @_telling()
    def move(self, place: Place) -> Tally:
        """Move what can be moved. Raises the database's errors and TransportUnavailable; to begin again is to go on."""
        tally = Tally(place.name)
        while held := place.chunk(place.held, 0):
            held = _without_written(place, held)
            items = self._items(place, held, Counter())  # what is given back is met again below
            tally.resumed += _move(place, items)
            moved = {item.rq_id for item in items}
            place.give_back(list(dict.fromkeys(rq_id for rq_id, _ in held if rq_id not in moved)))
        # What others take meanwhile moves the rest forward, past where this looks: so look again until nothing is left.
        before = -1
        while before < tally.moved:
            before = tally.moved
            self._pass(place, tally)
        tally.moved += tally.resumed
        rows = RQOrigin.objects.using(lifecycle.database()).filter(in_redis=True)
        rows.filter(origin__startswith=f"from:{place.key}:").update(in_redis=False)
        return tally

    # --- inside

    def _pass(self, place: Place, tally: Tally) -> None:
        """Once from the first to the last."""
        tally.left, offset = Counter(), 0
        while chunk := place.chunk(place.key, offset):
            items = self._items(place, chunk, tally.left)
            taken = place.take([item.rq_id for item in items], offset)
            mine = [item for item in items if item.rq_id in taken]
            try:
                tally.moved += _move(place, mine)
            except BaseException:
                _undo(place, mine)
                raise
            offset += sum(rq_id not in taken for rq_id, _ in chunk)
            self._tell(place.name, tally.moved)

    def _items(self, place: Place, chunk: Sequence[Entry], left: Counter[str]) -> list[Item]:
        items: dict[str, Item] = {}
        known = queues.known_queues()
        for job, score, awaited in place.found(chunk):
            if job.id in items:
                continue  # named twice, it is one job
            if self._only and job.text("origin") not in self._only:
                continue
            try:
                items[job.id] = read(place, job, score, known, awaited=awaited, trust_pickle=self._trust)
            except Unreadable as error:
                left[str(error)] += 1
        return list(items.values())


def _undo(place: Place, items: Sequence[Item]) -> None:
    """Put back what was taken and not written. What cannot be put back now is met by the next run."""
    known = _known([item.origin for item in items])
    place.give_back([item.rq_id for item in items if item.origin not in known])


def _move(place: Place, items: Sequence[Item]) -> int:
    """Write those that are not written yet, and let all of them leave Redis; how many are written now."""
    if not items:
        return 0
    try:
        written = _write(items)
    except IntegrityError:  # another run has just written some of them
        written = _write(items)
    _drop(place, [(item.rq_id, item.recurs) for item in items])
    return written


def _drop(place: Place, written: Sequence[tuple[str, bool]]) -> None:
    """Let these leave Redis: the id of each, and whether it recurs."""
    for recurs in (False, True):
        place.drop([rq_id for rq_id, each in written if each == recurs], recurring=recurs)


def _without_written(place: Place, held: Sequence[Entry]) -> list[Entry]:
    """Those that an earlier run has not written; the others leave Redis.

    Whether this run could read them is no matter: given back, they would run twice. It may have no --trust-pickle.
    """
    origins = {origin(place, job): job.id for job, *_ in place.found(held)}
    rows = RQOrigin.objects.using(lifecycle.database()).filter(origin__in=list(origins))
    written = {origins[name]: not job_id for name, job_id in rows.values_list("origin", "job_id")}
    _drop(place, list(written.items()))
    return [(rq_id, score) for rq_id, score in held if rq_id not in written]


def _known(origins: Sequence[str]) -> set[str]:
    rows = RQOrigin.objects.using(lifecycle.database()).filter(origin__in=origins)
    return set(rows.values_list("origin", flat=True))


def _write(items: Sequence[Item]) -> int:
    alias = lifecycle.database()
    with writing(alias):
        known = _known([item.origin for item in items])
        new = [item for item in items if item.origin not in known]
        once, again = [item for item in new if not item.recurs], [item for item in new if item.recurs]
        messages = lifecycle.create([_new(item) for item in once], actor=ACTOR, using=alias)
        origins = [(item.origin, item.rq_id, msg.job_id, True) for item, msg in zip(once, messages, strict=True)]
        for item in again:
            _recur(item)
            origins.append((item.origin, item.rq_id, 0, True))
        insert(connections[alias], RQOrigin, COLUMNS, origins)
        for item, message in zip(once, messages, strict=True):
            if item.repeat is not None:
                repeat_after(message.job_id, item.call, item.repeat, item.queue, when=item.when)
        publish_on_commit(messages, using=alias)
    return len(new)


def _new(item: Item) -> NewJob:
    expires = timedelta(seconds=item.ttl) if item.ttl and item.ttl > 0 else None
    return NewJob(
        registry.for_object(item.call).name, item.encoded, item.queue, item.run_at,
        expires_in=expires, priority=AT_FRONT if item.at_front else 0,
    )  # fmt: skip


def _recur(item: Item) -> None:
    job_scheduler.add_or_update_recurring(
        item.rq_id,
        item.call,
        item.cron or None,
        by=ACTOR,
        reason="moved from rq-scheduler",
        **times(item),
    )


def as_json(tallies: Sequence[Tally]) -> str:
    """One object a line."""
    return "\n".join(
        json.dumps({"place": each.place, "moved": each.moved, "resumed": each.resumed, "left": dict(each.left)})
        for each in tallies
    )
