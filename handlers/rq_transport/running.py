"""Running what was claimed and recording what it comes to: one job after another, and async handlers together."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from operator import attrgetter
from typing import Any, NamedTuple

from handlers import execution, lifecycle, logs, tidying
from handlers.atomically import SharedCommit
from handlers.exceptions import NoHandler
from handlers.hooks import deadline
from handlers.job_types import JobType
from handlers.lifecycle import Claim, Move
from handlers.many.types import ManyType
from handlers.registry import registry
from handlers.rq_transport import slow_types
from handlers.rq_transport.batch import Batch, Keeper
from handlers.rq_transport.blocking import BlockingCalls
from handlers.rq_transport.commits import Commits, Sharing
from handlers.rq_transport.coroutines import AsyncRuns
from handlers.rq_transport.gathering import Gathering
from handlers.rq_transport.marks import MAIN, Marks
from handlers.rq_transport.outcomes import Outcomes
from handlers.rq_transport.slots import PATIENCE_SECONDS, Crowd, Slots, start, start_together, wait
from handlers.rq_transport.slow_types import SlowTypes
from handlers.rq_transport.stacks import Place, Stacks, of_thread
from handlers.rq_transport.stopping import Stopping
from handlers.rq_transport.threads import ThreadRuns
from handlers.surroundings import Surroundings
from handlers.together import run_together

JOB_TYPE = attrgetter("job_type")
LOOK_SECONDS = 0.1  # between two looks, between jobs, for what is otherwise done between batches
FREE_SHARE = 8  # a claim waits until this part of the slots is free,
FREE_SECONDS = 0.005  # or so long
SYNC_SECONDS = 60.0  # without async ones, after which jobs are taken as if all were sync, in batches of full size
SPARE_SECONDS = 0.05  # the longest wait for any slot, while there are some for some types
WAIT_SECONDS = 1.0  # the longest wait for one that is


class Spare(NamedTuple):
    """Slots that are free while others are not."""

    room: int
    types: set[str]  # that can have them


class Runs:
    """The runs of one worker process."""

    def __init__(self, name: str, *, marks: Marks, stopping: Stopping) -> None:
        self._name, self._marks, self._stopping = name, marks, stopping
        self._slow, self._sharing = SlowTypes(), Sharing()
        self.outcomes = Outcomes(name, marks=marks, keep_trying=stopping.may_wait)
        self._ended = threading.Event()  # set when a run beside the main thread has
        beside: dict[str, Any] = {"marks": marks, "outcomes": self.outcomes, "ended": self._ended}
        self._async = AsyncRuns(name, marks.max_async, may_wait=stopping.may_wait, **beside)
        self._threads = ThreadRuns(name, marks.threads, **beside)
        self._blocking = BlockingCalls(name)
        self._beside: list[Slots] = []
        if marks.max_async:
            self._beside.append(self._async)
        if marks.threads > 1:
            self._beside.append(self._threads)
        self._gathering = Gathering()
        self._running: Sequence[Claim] = ()  # what the main thread runs
        self._keeper = Keeper(self.outcomes, on_look=self._look, on_turn=Stacks(marks, self._place_of).take)
        self._tidied = 0  # runs beside this thread
        self._async_at = -math.inf  # when an async handler was started last
        self._turn, self._is_busy = threading.Lock(), False  # whether the main thread runs jobs
        self.count = 0  # attempts that were begun
        self.mean: float | None = None  # seconds of the last batch's jobs; None when none ran

    @cached_property
    def _surroundings(self) -> Surroundings:
        """Made for the first batch: by then the worker has set its signals."""
        return Surroundings(is_last=lambda: self._stopping.is_asked)

    def begin(self) -> bool:
        """Be ready to run; whether this is the first time."""
        if first := not self._keeper.is_alive():
            tidying.watch()
            logs.hear_of_unawaited()
            deadline.prepare()
            self._keeper.start()
        return first

    @property
    def are_over(self) -> bool:
        """Whether nothing runs or waits to be recorded."""
        return not (self._goes_on() or self._gathering.has_any) and self.outcomes.is_empty

    def room(self) -> float:
        """How many more jobs may be claimed, whatever they are; waits a moment until it is any."""
        if self._keeper.broken is not None:
            raise self._keeper.broken
        self._watch(None)
        self._tidy()
        if not self._beside:
            return math.inf
        if self._marks.threads == 1 and self.are_over and time.monotonic() > self._async_at + SYNC_SECONDS:
            return self._marks.free_slots(is_async=True)  # they are for a surprise: those of them that wait go back
        share = max(min(slots.most for slots in self._beside) // FREE_SHARE, 1)
        longest = min(SPARE_SECONDS if self.spare() else WAIT_SECONDS, self.seconds_until_due())
        wait(self._ended, longest, lambda: self._room() > 0)
        if 0 < self._room() < share:
            time.sleep(FREE_SECONDS)  # and not by the event: to wake with each run's end would cost more than a claim
        return self._room()

    def _room(self) -> int:
        return min(slots.room for slots in self._beside)

    def crowd(self) -> Crowd | None:
        """Who has the slots, when hardly any is free."""
        return next((found for slots in self._beside if (found := slots.crowd())), None)

    def spare(self) -> Spare | None:
        """Slots that are free while others are not, and for which types."""
        for slots in self._beside:
            if (room := slots.room) > 0:
                return Spare(room, registry.names(is_async=slots is self._async))
        return None

    def _goes_on(self) -> bool:
        return any(slots.has_any for slots in self._beside)

    def in_hand(self) -> set[int]:
        """The jobs that run beside the main thread, or have and wait to be recorded; and those that wait for company.
        While nobody records."""
        waiting = self.outcomes.waiting() | self._gathering.in_hand()
        return waiting.union(*(slots.in_hand() for slots in self._beside))

    def wait(self, seconds: float) -> bool:
        """Wait so long for all to end and to be recorded; whether it has."""
        self._watch(None)
        if not wait(self._ended, seconds, lambda: not self._goes_on()):
            return False
        self.outcomes.flush()
        self._tidy()
        return True

    def run(self, claims: Sequence[Claim], *, between: Callable[[], None], while_slow: Callable[[], None]) -> None:
        """Start those that can share the event loop; run the others one after another and record their outcomes.

        Those whose types run many in one call only wait for company: see ``run_gathered``. ``between`` is called now
        and then between two of these; ``while_slow`` by another thread, while one takes long.
        """
        self._tidy()
        self.mean = None
        kinds = {name: _known(name) for name in {*map(JOB_TYPE, claims)}}
        if any(isinstance(known, ManyType) for known in kinds.values()):
            claims = self._gather(claims, kinds)
        if self._marks.max_async and any(known is not None and known.is_async for known in kinds.values()):
            is_async = {name for name, known in kinds.items() if known is not None and known.is_async}
            self.start_async([claim for claim in claims if claim.job_type in is_async])
            claims = [claim for claim in claims if claim.job_type not in is_async]
        if self._marks.threads > 1:
            self._start(self._threads, claims)
        elif claims:
            self._run_batch(claims, kinds, between, while_slow)
            return
        self.mean = 0.0  # they wait for none of each other

    # --- those of types that run many in one call

    def seconds_until_due(self) -> float:
        """How long until some are due that wait for company; infinite when none do, or there is no room for them."""
        if not self._gathering.has_any or (self._marks.threads > 1 and not self._threads.has_room):
            return math.inf
        return self._gathering.seconds()

    def has_gathered(self, *, at_once: bool) -> bool:
        """Whether ``run_gathered`` has something to run."""
        seconds = self.seconds_until_due()
        return seconds < math.inf if at_once else seconds <= 0

    def run_gathered(self, *, at_once: bool, while_slow: Callable[[], None]) -> str:
        """Run some that are due, or have no more company to wait for (``at_once``); which queue they come from."""
        self._tidy()
        self.mean = None
        claims = self._gathering.take(math.inf if at_once else time.monotonic())
        if not claims:
            return ""
        self.count += len(claims)
        if self._marks.threads > 1:
            self._threads.start_together(claims)
            self._keeper.watch_beside()
            return claims[0].queue
        had_company, count = self._goes_on(), self.count
        batch = Batch(claims[:1], self.outcomes, on_slow=partial(self._on_slow, while_slow))
        with self._in_hand(batch):
            batch.take()
            self._running = claims  # first: see _attempt
            token = start_together(claims, self._marks)
            moves = run_together(
                claims, token, worker=self._name, around=self._surroundings,
                in_company=lambda: had_company or self.count != count,
            )  # fmt: skip
            self._marks.end()  # not after an error: then this run broke the process
            self.outcomes.add_all(moves)
            batch.finish(None)
        return claims[0].queue

    def give_back_gathered(self, reason: str, *, before: float = math.inf) -> None:
        """What waits for company, and is due by then, goes back."""
        if self._gathering.has_any:
            with self.outcomes.recording:  # so that it is always known what is in hand
                claims = self._gathering.take_all(before)
                self.outcomes.add_all(lifecycle.handed_back(claim, reason, started=False) for claim in claims)
                self.outcomes.flush()

    def _gather(self, claims: Sequence[Claim], kinds: Mapping[str, JobType | None]) -> list[Claim]:
        """Let those wait whose types run many in one call, unless they must run alone; the others."""
        others, now = [], time.monotonic()
        for claim in claims:
            known = kinds[claim.job_type]
            if isinstance(known, ManyType) and not claim.alone:
                self._gathering.add(claim, known, now)
            else:
                others.append(claim)
        if self._gathering.has_any:
            self._keeper.watch_beside()
        return others

    def _on_slow(self, while_slow: Callable[[], None]) -> None:
        """The keeper's, while the main thread is in a run that takes long."""
        self._stopping.look_for_parent()
        self.give_back_gathered("the job before it takes long", before=time.monotonic())
        while_slow()

    def share(self, claims: Sequence[Claim]) -> list[Claim]:
        """Those of claims that have company which may have it; the others go back, to run alone."""
        types = {name for name in {*map(JOB_TYPE, claims)} if is_exclusive(name)}
        if not types:
            return list(claims)
        exclusive = [claim for claim in claims if claim.job_type in types]
        self.outcomes.add_all(lifecycle.set_apart(claim, "its type shares no process") for claim in exclusive)
        self.outcomes.flush()
        return [claim for claim in claims if claim.job_type not in types]

    def start_async(self, claims: Sequence[Claim]) -> None:
        """Start these; there is room for them."""
        if claims:
            self._async_at = time.monotonic()
        self._start(self._async, claims)

    def _start(self, slots: Slots, claims: Sequence[Claim]) -> None:
        if claims:
            slots.start(claims)
            self.count += len(claims)
            self._keeper.watch_beside()

    @property
    def async_room(self) -> int:
        """How many more async handlers may be started."""
        return self._async.room if self._marks.max_async else 0

    def while_main_is_busy(self, act: Callable[[], None]) -> None:
        """For another thread: do this, unless the main thread goes on with other things than a job. It waits for it."""
        with self._turn:
            if self._is_busy:
                act()

    def _run_batch(
        self,
        claims: Sequence[Claim],
        kinds: Mapping[str, JobType | None],
        between: Callable[[], None],
        while_slow: Callable[[], None],
    ) -> None:
        surroundings, slow = self._surroundings, self._slow
        had_company, count_before = self._goes_on(), self.count

        def in_company() -> bool:
            return had_company or self.count != count_before  # it counts those of this batch at the end

        atomic = {name for name, known in kinds.items() if known is not None and known.atomic is True}
        claims = slow.last(claims, self._sharing.apart() if atomic else ())
        batch = Batch(claims, self.outcomes, on_slow=partial(self._on_slow, while_slow))
        commits = Commits(self._name, batch, self.outcomes, self._sharing, atomic=atomic, slow=slow.now)
        began, count = time.monotonic(), 0
        with self._in_hand(batch):  # once for all of them: between two jobs of a batch no code of an app runs
            try:
                for claim, now in self._each(batch, commits, between):
                    shared = commits.share(claim, now) if atomic else None
                    move = self._attempt(claim, surroundings, in_company, shared)
                    if atomic:
                        commits.ran(claim, shared, move)
                    seconds = batch.finish(move, may_flush=not (atomic and commits.is_open))
                    if seconds >= slow_types.SLOW_SECONDS or slow.now:
                        slow.ran(claim.job_type, seconds)
                    count += 1
                # Without the last flush: on a slow disk it would make every job look slow, and batches never grow.
                self.mean = (time.monotonic() - began) / count if count else None
                slow.end(claims[:count])
            finally:
                commits.drop()
                self.count += count

    @contextmanager
    def _in_hand(self, batch: Batch) -> Iterator[None]:
        """The main thread runs what is in ``batch``, and then records it."""
        surroundings = self._surroundings
        self._is_busy = True
        self._watch(batch)
        logs.attach()
        try:
            yield
        finally:
            logs.detach()
            surroundings.between_batches()
            with self._turn:
                self._is_busy = False
            self._watch(None)
            self.outcomes.flush()

    def _each(self, batch: Batch, commits: Commits, between: Callable[[], None]) -> Iterator[tuple[Claim, float]]:
        """The batch's claims, one after another as they are to be run, each with the time."""
        look_at = 0.0
        while (taken := batch.take()) or commits.is_open:
            if taken is None:
                commits.end()
                continue
            claim, now = taken
            if now >= look_at:
                commits.end()
                look_at = now + LOOK_SECONDS
                self._stopping.look_for_parent()
                between()
            if self._marks.is_stopping:
                commits.end()
                batch.finish(batch.handed_back(claim, "its worker was asked to stop"))
                batch.give_back("its worker was asked to stop")
                return
            if claim.job_type in self._slow.now:  # those behind it are slow, too
                commits.end()
                batch.give_back("the job before it takes long")
            yield taken

    def _look(self) -> bool:
        """The keeper's, while there are runs beside the main thread; whether all of them have ended."""
        self._stopping.look_for_parent()
        # What they left open may be in the way of their outcomes.
        tidying.close_of_ended_threads()
        if found := self._async.held_up():
            self._blocking.tell(found)
        stopping = self._marks.is_hurried
        for slots in self._beside:
            if claims := slots.overdue(0.0) if stopping else slots.overdue():
                why = "its worker was asked to stop" if stopping else "the jobs before it took long"
                self.outcomes.add_all(lifecycle.handed_back(claim, why, started=False) for claim in claims)
                slots.gave_back(claims)
        if self._marks.threads > 1:
            self.give_back_gathered("the jobs before it took long", before=time.monotonic() - PATIENCE_SECONDS)
        return not self._goes_on()

    def _place_of(self, slot: int) -> Place | None:
        """Where the run of this slot is."""
        if slot != MAIN:
            return (self._async if self._marks.is_async(slot) else self._threads).place_of(slot)
        claims = self._running
        return Place(claims[0], of_thread(threading.main_thread().ident), claims[1:]) if claims else None

    def _watch(self, batch: Batch | None) -> None:
        self._keeper.watch(batch, beside=not self.are_over)

    def _tidy(self) -> None:
        """After runs beside this thread, undo what they left behind of what this process has once."""
        if (ended := sum(slots.ended for slots in self._beside)) != self._tidied:
            self._tidied = ended
            with self._surroundings:
                tidying.tidy()
            if not self._goes_on():
                self._surroundings.between_batches()

    def _attempt(
        self, claim: Claim, around: Surroundings, in_company: Callable[[], bool], shared: SharedCommit | None
    ) -> Move | None:
        self._running = (claim,)  # first: what is found there while the marks still name another run is not taken
        token = start(claim, self._marks)
        move = execution.run_attached(
            claim, token, worker=self._name, around=around, in_company=in_company, shared=shared
        )
        self._marks.end()  # not after an error: then this run broke the process
        return move


def is_exclusive(job_type: str) -> bool:
    """Whether the type shares no process."""
    known = _known(job_type)
    return known is not None and known.exclusive


def _known(job_type: str) -> JobType | None:
    try:
        return registry.find(job_type)
    except NoHandler:
        return None
