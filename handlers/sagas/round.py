"""One transaction in which deliveries and timeouts are brought to their sagas: decided here, in memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NamedTuple

from django.db import DatabaseError, connections

from handlers import carried, masking
from handlers.current import CurrentJob, current
from handlers.events import rows as deliveries
from handlers.events.freeing import GONE, UNREADABLE, asleep, edited, in_the_way
from handlers.events.rows import Coming
from handlers.exceptions import GiveUp, InvalidJob
from handlers.failures import clean, describe
from handlers.gateway import job_scheduler
from handlers.lifecycle import JobId, NewJob
from handlers.models import DeliveryState, TurnKind
from handlers.models.sql import database_now
from handlers.registry import registry
from handlers.sagas import rows
from handlers.sagas.found import LONGEST_ERROR, Came, Found
from handlers.sagas.rows import Key
from handlers.sagas.turn import BARRED, Turn, call
from handlers.sagas.types import SagaType
from handlers.sagas.writing import Jobs, Savepoint, write
from handlers.unique import Hold

MOST = 1_000  # deliveries in one transaction
LEAST = 10  # of one stream, where there are many
LATE = timedelta(minutes=10)  # the same once it was in vain for a while
CONFLICTS = ("40001", "40P01")  # PostgreSQL's serialization_failure and deadlock_detected

Hide = Callable[[str], str]


class Want(NamedTuple):
    """What a job brings: an event, or a timeout."""

    job_id: int
    event_id: int | None
    timeout: str = ""
    context: str | None = None  # that travels with a timeout, as JSON text


class Over(NamedTuple):
    """What becomes of a delivery: its new state, the saga that has it, and why it failed."""

    coming: Coming
    state: DeliveryState
    saga: Found | None = None
    error: str = ""


class Raced(Exception):
    """Somebody else has got keys that we wanted. ``taken``: whose each is."""

    def __init__(self, taken: dict[Key, int | None]) -> None:
        super().__init__()
        self.taken = taken


def is_conflict(error: BaseException) -> bool:
    """Whether another transaction was in its way: then all is decided anew, whoever's statement it was."""
    return isinstance(error, DatabaseError) and getattr(error.__cause__, "sqlstate", "") in CONFLICTS


class Round:
    """Decides and writes; ``do`` answers what the attempts of some, or of all, of ``wants`` end with.

    ``taken``: keys that were lost to somebody else when this was tried before. ``streams``: how many there are, as far
    as one knows; there is room for so many more of each.
    """

    def __init__(
        self, saga_type: SagaType, wants: Sequence[Want], taken: dict[Key, int | None], using: str, streams: int
    ) -> None:
        self.type, self.using, self.taken = saga_type, using, taken
        self.streams = streams
        self.wants = {want.event_id: want for want in wants if want.event_id is not None}
        self.timeouts = [want for want in wants if want.event_id is None]
        self.outcomes: dict[int, BaseException | None] = {}
        self.sagas: dict[int, Found] = {}  # those that there were, by id
        self.new: list[Found] = []
        self.by_key: dict[Key, Found | None] = {}  # None: there is none
        self.given: dict[Key, Found | None] = {}  # keys to be written; None: for whoever starts
        self.over: dict[int, Over] = {}  # what becomes of deliveries, by their ids
        self.early: dict[Key, dict[int, Coming]] = {}  # those that wait for the start, by their ids
        self.behind: list[tuple[Want, str]] = []  # far behind in their streams
        self.to_free: set[str] = set()  # streams whose first sleeps, and has to fail by itself
        self.blocked: dict[str, Coming] = {}  # by the stream: what holds those after it
        self.to_watch: set[int] = set()
        self.fired: list[int] = []  # jobs of timeouts that have come
        self.jobs = Jobs(saga_type, len(wants), using)
        self.now = database_now(connections[using])

    def do(self) -> dict[int, BaseException | None]:
        """Decide, and write all of it. Raises Raced."""
        comings = self._comings()
        jobs = [want.job_id for want in self.timeouts]
        in_force = rows.timeouts_of(jobs, using=self.using) if jobs else {}
        self._find(comings, {saga_id for saga_id, _ in in_force.values()})
        if in_force:  # whoever had its saga before us may have cancelled one
            in_force = rows.timeouts_of(list(in_force), using=self.using)
        for coming in comings:
            self._take(coming)
        for want in self.timeouts:
            self._time_out(want, in_force.get(want.job_id))
        self._give_keys()
        for want, stream in self.behind:
            if stream in self.blocked:  # else the next round comes to it
                self._end(want, asleep(in_the_way(self.blocked[stream])))
        write(self)
        return self.outcomes

    # --- what there is

    def _comings(self) -> list[Coming]:
        """What is to be brought on, in order. Those of our own among it that are over have their outcome."""
        if not self.wants:
            return []
        names, own = self.type.names, list(self.wants)
        found = deliveries.lock_streams_of(names, own, max(LEAST, MOST // self.streams), using=self.using)
        seen, streams = {coming.event_id: coming for coming in found}, {coming.stream for coming in found}
        self.streams = max(len(streams), 1)
        missing = [event_id for event_id in own if event_id not in seen]
        there = (
            {each.event_id: each for each in deliveries.lock_own(names, missing, using=self.using)} if missing else {}
        )
        self._refuse_edited(seen | there)
        for event_id in missing:
            if event_id in self.wants:
                coming = there.get(event_id)
                if coming is None or coming.state in (DeliveryState.DONE, DeliveryState.IGNORED):
                    self.outcomes[self.wants[event_id].job_id] = None  # another attempt has done it; or it is erased
                elif coming.state in (DeliveryState.EARLY, DeliveryState.DROPPED) or coming.stream not in streams:
                    found.append(coming)
                else:
                    self.behind.append((self.wants[event_id], coming.stream))
        return sorted(found, key=lambda coming: coming.id)

    def _refuse_edited(self, there: Mapping[int, Coming]) -> None:
        """Let end whoever wants an event that another job brings, and was to bring one of its own."""
        strange = {
            want.job_id: event_id
            for event_id, want in self.wants.items()
            if event_id not in there or there[event_id].job_id != want.job_id
        }
        for job_id, error in edited(strange, using=self.using).items():
            del self.wants[strange[job_id]]
            self.outcomes[job_id] = error

    def _find(self, comings: Sequence[Coming], also: set[int]) -> None:
        wanted = {(coming.key, coming.value) for coming in comings}
        ids = rows.find(self.type.names, wanted, using=self.using) if wanted else {}
        there = {*ids.values()} | also
        for saga_id, row in (rows.lock(there, using=self.using) if there else {}).items():
            self.sagas[saga_id] = Found.of(row)
        for key in wanted:
            self.by_key[key] = self.sagas.get(ids[key]) if key in ids else None
        missing = [key for key in wanted if self.by_key[key] is None]
        self._find_early(missing, {coming.id for coming in comings})

    # --- what comes of it

    def _take(self, coming: Coming) -> None:
        want = self.wants.get(coming.event_id)
        saga = self.by_key[coming.key, coming.value]
        if saga is not None and saga.is_complete:  # so nothing that has failed is in its way any more
            self._over(coming, want, DeliveryState.IGNORED, saga)
            return
        if coming.stream in self.blocked and coming.state in (DeliveryState.WAITING, DeliveryState.FAILED):
            if want is not None:
                self._end(want, asleep(in_the_way(self.blocked[coming.stream])))
            return
        if want is None and coming.job_state in GONE:
            self.over[coming.id] = Over(coming, DeliveryState.DROPPED)
            return
        if want is None and DeliveryState.FAILED in (coming.state, coming.job_state):
            if coming.state != DeliveryState.EARLY:  # which has waited too long
                self._block(coming)
            return
        try:
            self._apply(coming, want, saga)
        except Exception as error:
            if is_conflict(error) or connections[self.using].needs_rollback:  # the transaction is lost, with all of it
                raise
            self._block(coming)
            if want is not None:
                self._failed(coming, want, saga, error)
                return
            # Its own job is to fail with it, by its policy; those after it wait for that.
            self.over[coming.id] = Over(coming, DeliveryState.WAITING)
            self.to_free.add(coming.stream)

    def _apply(self, coming: Coming, want: Want | None, saga: Found | None) -> None:
        take = self.type.known.get(coming.event_type)
        method = self.type.methods[take.event_class] if take else None
        if saga is None and method is not None and method.not_found != "start":
            self._not_found(coming, want, method.not_found)
            return
        if saga is not None and not saga.can_be_read(self.type):
            self._hold(coming, want, saga, saga.unreadable)
            return
        try:
            event = self.type.read(coming.event_type, coming.data)
        except InvalidJob as error:
            if coming.release == registry.release:
                raise
            self._hold(coming, want, saga, f"the code that runs does not read it: {error}")
            return
        assert method is not None
        found = Found.started(coming) if saga is None else saga
        with self._calling(coming.job_id, coming.context, found, self._hide(coming, found, coming.context)):
            turn, state, data = self._call(found, method.name, (event,), coming.job_id)
            keys = found.learned(self.type, data)
            keys[coming.key, coming.value] = None
            self._learn(found, keys)
        if saga is None:
            self.new.append(found)
        found.turned(self._came(coming), turn, state, data)
        self.jobs.keep(found, turn)
        self._over(coming, want, DeliveryState.DONE, found)
        self._bring_early(keys)  # which were published before what follows here

    def _time_out(self, want: Want, force: tuple[int, str] | None) -> None:
        saga = self.sagas.get(force[0]) if force else None
        if force is None or saga is None or saga.is_complete or self.jobs.took_back(want.job_id, saga, force[1]):
            self._end(want, None)  # it was replaced, cancelled or outlived
            return
        if not saga.can_be_read(self.type):
            self._end(want, asleep(saga.unreadable, UNREADABLE))
            return
        came = Came(self.now, TurnKind.TIMEOUT.value, force[1], None, want.job_id)
        hide = self._hide(None, saga, want.context)
        try:
            if force[1] not in self.type.timeouts:
                raise InvalidJob(f"{self.type.name}: it has no method for the timeout {force[1]!r} any more")
            with self._calling(want.job_id, want.context, saga, hide):
                turn, state, data = self._call(saga, self.type.timeouts[force[1]], (), want.job_id)
                self._learn(saga, saga.learned(self.type, data))
        except Exception as error:
            if is_conflict(error) or connections[self.using].needs_rollback:  # the transaction is lost, with all of it
                raise
            saga.failed(came, self._line(error, hide))
            self._end(want, error)
            return
        self.fired.append(want.job_id)
        saga.turned(came, turn, state, data)
        self.jobs.keep(saga, turn)
        self._end(want, None)

    def _call(self, saga: Found, method: str, args: tuple[Any, ...], job_id: int) -> tuple[Turn, Any, str]:

        def create(new: NewJob, hold: Hold | None) -> JobId:
            # Not of whatever job is current: that is the first of those that are brought together.
            return self.jobs.create(new._replace(parent_id=job_id, apart=True), hold)

        def owns(cancelled: int) -> bool:
            return cancelled in saga.sent or rows.may_cancel(saga.id, cancelled, using=self.using)

        turn = Turn(self.type, saga.correlation, self._make, create, owns)
        state = call(self.type, saga.state(self.type), method, args, turn)
        return turn, state, self.type.shape.encode(state).decode()

    def _make(self, *args: Any, **options: Any) -> Any:
        """The gateway's jobs to be, of which the method itself is kept."""
        running = current.get()
        assert running is not None
        running.bars = ""
        try:
            return job_scheduler._new(*args, **options)
        finally:
            running.bars = BARRED

    @contextmanager
    def _calling(self, job_id: int, context: str | None, saga: Found, hide: Hide | None) -> Iterator[None]:
        """Around a method: it starts nothing by itself, and what it has written is taken back if it raises."""
        running = current.get()
        mark = None
        if running is None:
            running = CurrentJob(job_id, 0, saga.correlation)
            mark = current.set(running)
        running.bars, before = BARRED, running.hide
        running.hide = hide or before
        try:
            with self.jobs.tried(), Savepoint(self.using), carried.only(context):
                yield
        finally:
            running.bars, running.hide = "", before
            if mark is not None:
                current.reset(mark)

    def _learn(self, saga: Found, keys: dict[Key, None]) -> None:
        """``saga`` is found by these from now on. Raises InvalidJob where another one has one of them."""
        new = [key for key in keys if self.by_key.get(key) is not saga]
        for name, value in new:
            other, taken = self.by_key.get((name, value)), self.taken.get((name, value))
            if other is not None or (taken is not None and taken != saga.id):
                number = taken if other is None else other.id
                raise InvalidJob(
                    f"{self.type.name}: {name}: another one has the value {value}"
                    f"{'' if number is None else f', saga {number}'}: one is found by each",
                    field=name,
                )
        for key in new:
            self.by_key[key] = self.given[key] = saga

    def _not_found(self, coming: Coming, want: Want | None, policy: str) -> None:
        if policy == "ignore":
            self._over(coming, want, DeliveryState.IGNORED, None)
            return
        words = f"there is no {self.type.name} with {coming.key} {coming.value}"
        if policy == "fail":
            raise InvalidJob(words, field=coming.key)
        left = coming.published_at + self.type.waits_for_start - self.now
        key = coming.key, coming.value
        self.given.setdefault(key, None)
        self.early.setdefault(key, {})[coming.id] = coming
        self.over[coming.id] = Over(coming, DeliveryState.EARLY)
        if want is None:
            return
        if left <= timedelta(0):
            self._end(want, GiveUp(f"{words}, and none was started for as long as it waits"))
            return
        snooze = asleep(f"{words} so far: it waits for the start")
        snooze.delay = min(snooze.delay, max(left, timedelta(seconds=1)))
        self._end(want, snooze)

    # --- how it ends

    def _over(self, coming: Coming, want: Want | None, state: DeliveryState, saga: Found | None) -> None:
        self.over[coming.id] = Over(coming, state, saga)
        if want is not None:
            self._end(want, None)

    def _hold(self, coming: Coming, want: Want | None, saga: Found | None, why: str) -> None:
        """This code cannot: it waits for code that can, and those after it do as well."""
        self._block(coming)
        if want is None:
            self.to_free.add(coming.stream)  # its own job is to find that out
            return
        # As one that has failed, which nobody wakes but its own time.
        self.over[coming.id] = Over(coming, DeliveryState.FAILED, saga, clean(why, LONGEST_ERROR))
        delay = UNREADABLE if self.now - coming.published_at < LATE else UNREADABLE * 6
        self._end(want, asleep(why, delay))

    def _failed(self, coming: Coming, want: Want, saga: Found | None, error: Exception) -> None:
        line = self._line(error, self._hide(coming, saga, coming.context))
        self.over[coming.id] = Over(coming, DeliveryState.FAILED, saga, line)
        if saga is not None:
            saga.failed(self._came(coming), line)
        self.to_watch.add(want.job_id)
        self._end(want, error)

    def _came(self, coming: Coming) -> Came:
        return Came(self.now, TurnKind.EVENT.value, coming.event_type, coming.event_id, coming.job_id)

    def _block(self, coming: Coming) -> None:
        self.blocked.setdefault(coming.stream, coming)
        self.to_watch.add(coming.job_id)

    def _end(self, want: Want, outcome: BaseException | None) -> None:
        self.outcomes[want.job_id] = outcome
        if outcome is not None:
            self.to_watch.add(want.job_id)

    def _hide(self, coming: Coming | None, saga: Found | None, context: str | None) -> Hide | None:
        """What takes out of a text what is sensitive in an event and in a saga; None: nothing is."""
        if not self.type.has_secrets:
            return None
        values = self.type.secrets_of(coming.event_type, json.loads(coming.data)) if coming else []
        values += self.type.shape.secrets_of(json.loads(saga.data)) if saga and saga.data else []
        return masking.hiding(values + masking.values_in(json.loads(context) if context else {}))

    def _line(self, error: Exception, hide: Hide | None) -> str:
        running = current.get()
        return clean(describe(error, hide or (running.hide if running else str)).line, LONGEST_ERROR)

    # --- keys

    def _give_keys(self) -> None:
        """Write new sagas and keys; and what waited for these, is brought on at once."""
        given: dict[Key, Found | None] = {}
        while todo := {key: saga for key, saga in self.given.items() if given.get(key, self) is not saga}:
            self._add_new()
            given |= todo
            keys = {key: saga.id if saga else None for key, saga in todo.items()}
            if lost := rows.claim_keys(self.type.names, keys, using=self.using):
                raise Raced(self.taken | lost)
            started = [key for key, saga in todo.items() if saga is not None]
            # Again: until the keys were ours, others may have put more there.
            self._find_early(started, self.over.keys())
            self._bring_early(started)

    def _find_early(self, keys: Sequence[Key], seen: Collection[int]) -> None:
        """Look for what waits for the start of the sagas of these keys, but for what is ``seen`` to."""
        if keys and self.type.has_early:
            for early in deliveries.lock_early(self.type.names, keys, using=self.using):
                if early.id not in seen:
                    self.early.setdefault((early.key, early.value), {})[early.id] = early

    def _bring_early(self, keys: Iterable[Key]) -> None:
        """Bring what has waited for these keys, which are a saga's now."""
        waited = {number: early for key in keys for number, early in self.early.pop(key, {}).items()}
        for _, early in sorted(waited.items()):
            self._take(early)

    def _add_new(self) -> None:
        todo = [saga for saga in self.new if saga.id is None]
        if todo:
            values = [(self.type.name, saga.label, saga.data, saga.correlation) for saga in todo]
            ids = rows.add(values, self.now, self.now + self.type.stuck_after, using=self.using)
            for saga, saga_id in zip(todo, ids, strict=True):
                saga.id = saga_id
