"""What jobs give back when they move is given to those who wait."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import NamedTuple, TypeVar

from django.db import connections, transaction
from django.db.models import Exists, OuterRef

from handlers.admission.book import NO_LIMIT, SLOTS, Book, Waiter
from handlers.admission.keys import LockedKey, MoreKeys, Pair, have_several, lined_up, may_be_rated, with_keys
from handlers.admission.limited_jobs import JOBS, as_text, claimable, needs_of
from handlers.admission.shares import in_turns, share
from handlers.models import JobRecord, LimitWaiter
from handlers.models.sql import (
    as_rows,
    fetch,
    fetch_anew,
    from_time,
    go_by_index,
    is_postgresql,
    of_rows,
    prepared,
    rows_cte,
)
from handlers.publishing import publish_first_on_commit
from handlers.states import State
from handlers.transport import Message
from handlers.writing import writing

logger = logging.getLogger(__name__)

T = TypeVar("T")
MOST = 500  # that are admitted in one transaction


class Slot(NamedTuple):
    """A slot that a job has, or had, and where the job is now, if it is anywhere."""

    job_id: int
    key_id: int
    token: str
    counted: bool
    taken_at: str  # as the database writes times: hardly any are looked at
    job_token: str | None
    state: str | None
    started_at: str | None

    @property
    def is_held(self) -> bool:
        """Whether the job needs it still."""
        return self.job_token == self.token and self.state in (State.ENQUEUED, State.PROCESSING)

    def started(self, now: datetime) -> datetime | None:
        """When a job that needs it no more had started, as far as that is known: else now, which is no earlier."""
        if self.state in (None, State.ENQUEUED, State.SCHEDULED):
            return now
        return from_time(self.started_at)  # none: it was deleted before it was


def slots_of(ids: Collection[int], using: str) -> list[Slot]:
    """All that these jobs have."""
    connection = connections[using]
    sql = f"WITH {_had(postgresql=is_postgresql(connection))} SELECT * FROM had"
    return [Slot._make(row) for row in fetch_anew(connection, sql, [as_rows(connection, [(pk,) for pk in ids])])]


def _had(*, postgresql: bool) -> str:
    """SQL for the slots of the jobs in one parameter, as ``had``."""
    # With a limit, so that no plan turns it round: else all jobs may be read, in their order.
    job = f"LATERAL (SELECT * FROM {JOBS} x WHERE x.id = s.job_id LIMIT 1) j ON TRUE"
    join = job if postgresql else f"{JOBS} j ON j.id = s.job_id"
    which = of_rows(postgresql=postgresql)
    taken_at, started_at = (as_text(column, postgresql=postgresql) for column in ("s.taken_at", "j.started_at"))
    return f"""
        {rows_cte("v", {"id": "id"}, postgresql=postgresql)},
        had AS (
            SELECT s.job_id, s.key_id, s.token, s.counted, {taken_at} AS taken_at, j.token AS job_token, j.state,
                {started_at} AS started_at
            FROM {SLOTS} s LEFT JOIN {join} WHERE s.job_id {which}
        )
    """


def jobs_moved(ids: Sequence[int], using: str) -> None:
    """These have moved: what they hold and need no more goes to others. Called after such moves, in a transaction that
    goes by indexes."""
    slots = _take_from(ids, using)
    if without := set(ids) - {slot.job_id for slot in slots}:
        forget_outdated(without, using)
    if over := [slot for slot in slots if not slot.is_held]:
        _pass_on(over, using)


def _take_from(ids: Collection[int], using: str) -> list[Slot]:
    """All slots that these jobs have, or had until now: those that they need no more are theirs no longer."""
    connection = connections[using]
    if not is_postgresql(connection):
        slots = slots_of(ids, using)
        if over := [slot for slot in slots if not slot.is_held]:
            _delete(over, using)
        return slots
    # The token is looked at twice: a job that has the slot anew, since the statement began, keeps it.
    sql = f"""
        WITH {_had(postgresql=True)},
        over AS (
            SELECT job_id, token FROM had
            WHERE (job_token = token AND state IN ('{State.ENQUEUED}', '{State.PROCESSING}')) IS NOT TRUE
        ),
        gone AS (
            DELETE FROM {SLOTS} WHERE job_id = ANY (ARRAY(SELECT job_id FROM over))
                AND ((job_id, token) IN (SELECT job_id, token FROM over)) IS TRUE
        )
        SELECT * FROM had
    """
    return [Slot._make(row) for row in fetch(connection, sql, [as_rows(connection, [(pk,) for pk in ids])])]


def forget_outdated(ids: Collection[int], using: str) -> None:
    """Take those of these jobs out of their lines that do not wait any more."""
    waits = JobRecord.objects.using(using).filter(pk=OuterRef("pk"), token=OuterRef("token"), state=State.ENQUEUED)
    LimitWaiter.objects.using(using).filter(~Exists(waits), job_id__in=ids)._raw_delete(using)


def give_back(slots: Sequence[Slot], using: str) -> None:
    """Take these from their jobs, for those who wait."""
    if slots:
        with writing(using, savepoint=False):
            go_by_index(connections[using])
            _delete(slots, using)
            _pass_on(slots, using)


def _pass_on(slots: Sequence[Slot], using: str) -> None:
    """These were taken from their jobs, in this transaction: they go to those who wait.

    Once that is committed it is looked whether anybody does, without a lock, for which others would wait: whoever
    joins a line after that look does so knowing that these are free, or looks once more (see ``with_book``). Starts
    that a rate counts are counted instead of the slots, at once.
    """
    numbers = {slot.key_id for slot in slots} - {NO_LIMIT}
    if rated := may_be_rated(numbers, using):
        starts = [slot for slot in slots if slot.key_id in rated and not slot.counted]

        def count(book: Book) -> None:
            times: defaultdict[int, list[datetime]] = defaultdict(list)
            for slot in starts:
                if slot.key_id in book.rated and (at := slot.started(book.now)):
                    times[slot.key_id].append(at)
            book.started(times)

        if starts:
            with_book([], {slot.key_id for slot in starts}, using, count)
    _look_again(numbers, using)


def with_book(pairs: Collection[Pair], numbers: Collection[int], using: str, act: Callable[[Book], T]) -> T:
    """``with_keys``, with a book of the keys. The transaction goes by indexes.

    Who counted while a slot was being given back found it taken; and whoever gave it back saw nobody in the line that
    is joined here. So where one is new it is looked at once more after the commit.
    """

    def on_book(keys: list[LockedKey], is_last: bool) -> T:
        book = Book(keys, using, is_last=is_last)
        found = act(book)
        if is_postgresql(connections[using]):
            _look_again(book.joined, using)
        return found

    return with_keys(pairs, numbers, using, on_book)


def _look_again(numbers: Collection[int], using: str) -> None:
    """Once this transaction is committed, give what is free of these keys to those who wait, if any do."""
    if not numbers:
        return
    if not is_postgresql(connections[using]):  # its one writer is here: nobody can come between
        _admit_lined_up(numbers, using)
        return

    def look() -> None:
        try:
            _admit_lined_up(numbers, using)
        except Exception as error:  # noqa: BLE001 - whoever gave it back has other things to do
            logger.warning("cannot give slots to jobs that wait, a scheduler will: %s", type(error).__name__)

    transaction.on_commit(look, using=using, robust=True)


def _admit_lined_up(numbers: Collection[int], using: str) -> None:
    if lines := lined_up(numbers, using):
        admit_waiting(lines, using)


def _delete(slots: Sequence[Slot], using: str) -> None:
    connection = connections[using]
    postgresql = is_postgresql(connection)
    which = of_rows(postgresql=postgresql)
    sql = f"""
        WITH {rows_cte("v", {"id": "id", "token": "text"}, postgresql=postgresql)}
        DELETE FROM {SLOTS} WHERE job_id {which} AND token IN (SELECT token FROM v)
    """
    with prepared(connection) as cursor:
        cursor.execute(sql, [as_rows(connection, sorted({(slot.job_id, slot.token) for slot in slots}))])


def admit_waiting(numbers: Collection[int], using: str) -> int:
    """Give what is free of these keys to those who wait; how many were admitted."""
    admitted: list[Message] = []

    def act(book: Book) -> None:
        book.lines.update(numbers)  # whatever their rows say
        book.look()
        found = admit(book, book.lines)
        admitted.extend(found)
        publish_first_on_commit(found, using=using)

    with writing(using, savepoint=False):
        go_by_index(connections[using])
        with_book([], numbers, using, act)
    return len(admitted)


def admit(book: Book, numbers: Collection[int]) -> list[Message]:
    """Give what is free of these keys to those who wait, one of each line after the other; what is to be published.

    Who waits and could not be claimed any more, or not now, is forgotten: it comes to a worker again when it can be.
    """
    messages: list[Message] = []
    left = {number for number in numbers if number in book.lines and book.rooms[number] >= 1}
    while left and len(messages) < MOST:
        most = max((MOST - len(messages)) // len(left), 1)
        asked = {number: int(min(book.rooms[number], most)) for number in left}
        lines = book.first(asked)
        found = [waiter for line in lines.values() for waiter in line]
        jobs = claimable([waiter[:2] for waiter in found], book.using, data=have_several())
        book.leave_lines(waiter for waiter in found if waiter.job_id not in jobs)
        ready = filter(None, ([each for each in line if each.job_id in jobs] for line in lines.values()))
        there = list(in_turns(sorted(ready, key=lambda line: (line[0].rank, line[0].job_id))))
        at = {waiter.job_id: book.pairs[waiter.key_id] for waiter in there}
        needs = needs_of([jobs[waiter.job_id] for waiter in there], at)
        passed = _without_unlocked(there, needs, book)
        wishes = [[book.keys[pair] for pair in needs[waiter.job_id]] for waiter in passed]
        refused = dict(zip(passed, share(wishes, book.rooms), strict=True))
        taken = [waiter for waiter in passed if refused[waiter] is None]
        book.give(
            (waiter.job_id, key, waiter.token)
            for waiter, keys in zip(passed, wishes, strict=True)
            if refused[waiter] is None
            for key in keys or [NO_LIMIT]
        )
        book.leave_lines(taken)
        book.queue_up(
            [waiter._replace(key_id=key) for waiter, key in refused.items() if key not in (None, waiter.key_id)]
        )
        messages += [jobs[waiter.job_id].message for waiter in taken]
        stay = {waiter.key_id for waiter in there if refused.get(waiter, waiter.key_id) is not None}
        joined = {key for waiter, key in refused.items() if key not in (None, waiter.key_id)}
        ended = {number for number in left if len(lines.get(number, ())) < asked[number]}
        book.dissolve(ended - stay - joined)
        stuck = {waiter.key_id for waiter in there} - {waiter.key_id for waiter in passed}
        left = {number for number in left - ended - stuck if book.rooms[number] >= 1}
    return messages


def _without_unlocked(waiters: Sequence[Waiter], needs: dict[int, list[Pair]], book: Book) -> list[Waiter]:
    """Those of which all keys are locked. Raises MoreKeys for the others, as long as there is time for that."""
    lacking = {pair for waiter in waiters for pair in needs[waiter.job_id] if pair not in book.keys}
    if lacking and not book.is_last:
        raise MoreKeys(lacking)
    return [waiter for waiter in waiters if not lacking.intersection(needs[waiter.job_id])]
