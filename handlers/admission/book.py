"""What locked keys have room for, and who has slots of them or waits for one."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, NamedTuple

from django.db import connections
from django.db.models import OuterRef, Q, Subquery, Sum

from handlers.admission.keys import LockedKey, Pair
from handlers.limited import Rate
from handlers.models import JobRecord, LimitKey, LimitSlot, LimitStart, LimitWaiter
from handlers.models.sql import as_rows, chunks, database_now, fetch, is_postgresql, of_rows, prepared, rows_cte
from handlers.states import State

NO_LIMIT = 0  # the key of a slot that nothing limits
CHUNK = 1_000
PARTS = 100  # of a rate's time: starts within one are counted as one, as of the last of them
SLOTS, WAITERS = LimitSlot._meta.db_table, LimitWaiter._meta.db_table
SLOT = {"job_id": "id", "key_id": "id", "token": "text"}
WAITER = {"job_id": "id", "token": "text", "key_id": "id", "rank": "float"}


class Waiter(NamedTuple):
    """A job in a line."""

    job_id: int
    token: str
    key_id: int
    rank: float


@dataclass
class Book:
    """Of some keys, which are locked until the transaction ends, and that goes by indexes (see ``go_by_index``)."""

    locked: Sequence[LockedKey]
    using: str
    is_last: bool = False  # whether no further keys may be asked for
    keys: dict[Pair, int] = field(init=False)
    pairs: dict[int, Pair] = field(init=False)
    rooms: dict[int, float] = field(init=False, default_factory=dict)
    lines: set[int] = field(init=False)  # keys for which some may wait
    joined: set[int] = field(init=False, default_factory=set)  # of them those for which none did
    _marked: set[int] = field(init=False)  # those whose rows say so

    def __post_init__(self) -> None:
        self.keys = {key.pair: key.number for key in self.locked}
        self.pairs = {key.number: key.pair for key in self.locked}
        self.lines = {key.number for key in self.locked if key.lined_up}
        self._marked = set(self.lines)

    @cached_property
    def rated(self) -> dict[int, Rate]:
        """Of those of the keys that have one."""
        return {key.number: key.terms.rate for key in self.locked if key.terms and key.terms.rate}

    @cached_property
    def now(self) -> datetime:
        """By the database's clock, once the keys were locked."""
        return database_now(connections[self.using])

    def look(self) -> None:
        """Find out what there is room for. What this code does not know has room for nobody."""
        used = _used(list(self.pairs), self.using)
        spent = self._spent(self.rated) if self.rated else {}
        for number, _, _, terms in self.locked:
            if terms is None:
                self.rooms[number] = 0
                continue
            room = math.inf if terms.concurrency is None else terms.concurrency - used.get(number, 0)
            self.rooms[number] = min(room, terms.rate.starts - spent[number]) if terms.rate else room

    def give(self, slots: Iterable[tuple[int, int, str]]) -> None:
        """Write down who (job, key, token) has a slot now."""
        connection, postgresql = connections[self.using], is_postgresql(connections[self.using])
        sql = f"""
            WITH {rows_cte("v", SLOT, postgresql=postgresql)}
            INSERT INTO {SLOTS} (job_id, key_id, token, taken_at, counted)
            SELECT job_id, key_id, token, {"statement_timestamp()" if postgresql else "%s"}, FALSE FROM v WHERE TRUE
            ON CONFLICT (job_id, key_id) DO UPDATE SET token = excluded.token, taken_at = excluded.taken_at,
                counted = FALSE
        """
        for some in chunks(list(slots), CHUNK):
            with prepared(connection) as cursor:
                cursor.execute(sql, [as_rows(connection, some), *([] if postgresql else [self._stamp()])])

    def queue_up(self, waiters: Sequence[Waiter]) -> None:
        """Put these in their lines; one that is in another goes from there."""
        connection, postgresql = connections[self.using], is_postgresql(connections[self.using])
        sql = f"""
            WITH {rows_cte("v", WAITER, postgresql=postgresql)}
            INSERT INTO {WAITERS} (job_id, token, key_id, rank, since)
            SELECT job_id, token, key_id, rank, %s FROM v WHERE TRUE
            ON CONFLICT (job_id) DO UPDATE SET token = excluded.token, key_id = excluded.key_id, rank = excluded.rank,
                since = CASE WHEN {WAITERS}.token = excluded.token THEN {WAITERS}.since ELSE excluded.since END
        """
        for some in chunks(waiters, CHUNK):
            with prepared(connection) as cursor:
                cursor.execute(sql, [as_rows(connection, some), self._stamp()])
        self._line_up({waiter.key_id for waiter in waiters} - self._marked, lined_up=True)

    def dissolve(self, numbers: Collection[int]) -> None:
        """Nobody waits for these any more."""
        self._line_up(self.lines & set(numbers), lined_up=False)

    def _line_up(self, numbers: set[int], *, lined_up: bool) -> None:
        if numbers:
            LimitKey.objects.using(self.using).filter(pk__in=numbers).update(lined_up=lined_up)
            self.joined = self.joined | numbers if lined_up else self.joined - numbers
            self._marked = self._marked | numbers if lined_up else self._marked - numbers
            self.lines = self.lines | numbers if lined_up else self.lines - numbers

    def leave_lines(self, waiters: Iterable[Waiter]) -> None:
        """These wait no more."""
        ids = [waiter.job_id for waiter in waiters]
        if ids:
            LimitWaiter.objects.using(self.using).filter(job_id__in=ids)._raw_delete(self.using)

    def first(self, most: Mapping[int, int]) -> dict[int, list[Waiter]]:
        """The first of the lines of these keys, so many of each."""
        lines: defaultdict[int, list[Waiter]] = defaultdict(list)
        connection = connections[self.using]
        names = ", ".join(f"w.{name}" for name in WAITER)
        line = "w.key_id = {key} ORDER BY w.rank, w.job_id LIMIT {most}"
        if is_postgresql(connection):
            cte = rows_cte("v", {"id": "id", "most": "int"})
            beside = f"SELECT {names} FROM {WAITERS} w WHERE {line.format(key='v.id', most='v.most')}"
            sql = f"WITH {cte} SELECT w.* FROM v CROSS JOIN LATERAL ({beside}) w ORDER BY rank, job_id"
            rows = fetch(connection, sql, [as_rows(connection, list(most.items()))])
        else:
            sql = f"SELECT {names} FROM {WAITERS} w WHERE {line.format(key='%s', most='%s')}"
            rows = [row for asked in most.items() for row in fetch(connection, sql, asked)]
        for row in rows:
            waiter = Waiter(*row)
            lines[waiter.key_id].append(waiter)
        return lines

    def started(self, starts: Mapping[int, Sequence[datetime]]) -> None:
        """Count these, by their keys, if their limits have rates."""
        new: list[LimitStart] = []
        rows = LimitStart.objects.using(self.using)
        for number, times in starts.items():
            if (rate := self.rated.get(number)) is None:
                continue
            part = timedelta(seconds=rate.seconds) / PARTS
            former = last = rows.filter(key_id=number).order_by("at").last()
            for at in sorted(times):
                if last is None or not timedelta(0) <= at - last.since < part:
                    last = LimitStart(key_id=number, since=at, at=at, count=0)
                    new.append(last)
                last.count += 1
                last.at = max(last.at, at)
            if former is not None:
                rows.filter(pk=former.pk).update(at=former.at, count=former.count)
        rows.bulk_create(new)

    def _spent(self, rated: Mapping[int, Rate]) -> dict[int, int]:
        """How much of the rates of these keys is used up: by starts, and by slots of which we know no start yet."""
        slots = LimitSlot.objects.using(self.using).filter(key_id__in=rated, counted=False)
        jobs = JobRecord.objects.using(self.using).filter(
            pk=OuterRef("job_id"), token=OuterRef("token"), state=State.PROCESSING
        )
        began: defaultdict[int, list[datetime]] = defaultdict(list)
        ids: set[int] = set()
        spent = dict.fromkeys(rated, 0)
        found = slots.annotate(began=Subquery(jobs.values("started_at")[:1])).values_list("job_id", "key_id", "began")
        for job_id, key_id, at in found:
            if at is None:
                spent[key_id] += 1  # whenever it starts, it is in the time that counts then
            else:
                began[key_id].append(at)
                ids.add(job_id)
        if ids:
            self.started(began)
            slots.filter(job_id__in=ids).update(counted=True)
        rows = LimitStart.objects.using(self.using)
        for seconds in {rate.seconds for rate in rated.values()}:
            keys = [number for number, rate in rated.items() if rate.seconds == seconds]
            time = timedelta(seconds=seconds)
            # What starts so late did so before the clock was set back: else it would count until that is reached again.
            over = Q(at__lte=self.now - time) | Q(at__gt=self.now + time)
            rows.filter(over, key_id__in=keys)._raw_delete(self.using)
            sums = rows.filter(key_id__in=keys).order_by().values_list("key_id").annotate(Sum("count"))
            for number, count in sums:
                spent[number] += count
        return spent

    def _stamp(self) -> Any:
        return connections[self.using].ops.adapt_datetimefield_value(self.now)


def _used(numbers: Collection[int], using: str) -> dict[int, int]:
    """How many have a slot of each of these keys."""
    connection = connections[using]
    postgresql = is_postgresql(connection)
    which = of_rows(postgresql=postgresql)
    cte = rows_cte("v", {"id": "id"}, postgresql=postgresql)
    sql = f"WITH {cte} SELECT key_id, COUNT(*) FROM {SLOTS} WHERE key_id {which} GROUP BY key_id"
    return dict(fetch(connection, sql, [as_rows(connection, [(number,) for number in numbers])]))
