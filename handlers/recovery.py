"""What comes back by itself: jobs of lost workers, and messages that the transport lost or never got.

Part of every scheduler. Any number may run at once: each thing it does is a compare-and-set or harmless to repeat.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

from django.db import connections

from handlers import (
    admission,
    bulk,
    deploys,
    failure_groups,
    folding,
    following,
    lifecycle,
    once,
    stacks,
    stranded,
    told_hooks,
    waiting,
)
from handlers.conf import jobs_settings
from handlers.events import ageing
from handlers.exceptions import TransportRefuses, TransportUnavailable
from handlers.execution import TRANSIENT
from handlers.failure_log import log_failures
from handlers.gateway import job_scheduler
from handlers.lifecycle import Agenda
from handlers.models.count import Outcome
from handlers.models.sql import chunks, database_now
from handlers.publishing import publish, withdraw
from handlers.recurrence import firing
from handlers.states import State
from handlers.switches import paused_type_names
from handlers.transport import LastWords, Message, get_transport
from handlers.vigil import Vigil

logger = logging.getLogger(__name__)

LOOK = 1_000  # jobs of one queue compared at once
CHUNKS = 50  # such looks at one queue in one pass, while they take no longer than
LOOK_SECONDS = 1.0  # since leases and what is due have their turns only between two passes
PATIENCE_SECONDS = 1.0  # a message must be missing twice, this far apart: between pop and claim it is nowhere
REPUBLISHED_SECONDS = 10.0  # what was published again stands at the end of a long queue: spare looking for it at once
STRANDED_SECONDS = 5.0  # between two looks after jobs that wait for another worker
OFFER_SECONDS = 60.0  # between two offers of some of them to workers that do not fetch them
BULK_SECONDS = 10.0  # between two looks for bulk operations that stand still
IGNORED_SECONDS = 10.0  # between two looks for failure groups whose time to be ignored is over
IDLE_FOLD_SECONDS = 2.0  # how often new counts are looked for after there were none
FRONT_SECONDS = 60.0  # how long it is remembered where the jobs of paused types in front of a queue end


def bring_back(*, before: datetime | None = None) -> int:
    """Bring back the jobs of workers whose leases ran out ``before``, a moment ago; else, by now. How many.

    Whether such a lease may be believed, only a ``Recovery`` knows.
    """
    applied = lifecycle.expire_leases(max_crashes=jobs_settings().max_crashes, before=before, last_words=_last_words)
    if applied.moved:
        logger.warning("recovered %d jobs of lost workers", len(applied.moved))
        publish(applied.messages)
        log_failures(applied.failures)
    return len(applied.moved)


def _last_words(workers: Sequence[str]) -> Mapping[str, LastWords]:
    try:
        return get_transport().last_words(workers)
    except TransportUnavailable:
        return {}  # then they are as any other that is lost


class Duty(NamedTuple):
    """A part of recovery that fails, if it does, by itself."""

    name: str
    act: Callable[[], int]  # answers how many jobs it brought back
    needs_transport: bool = False


class Recovery:
    """One scheduler's recovery, with what it remembers from pass to pass. Times are this process's monotonic clock."""

    def __init__(self) -> None:
        self._vigil = Vigil(time.monotonic())
        self._limits = admission.LimitDuties()
        self._doubts = 0  # for how many of them leases were bounded
        self._suspects: dict[Message, float] = {}  # since when
        self._republished: dict[Message, float] = {}
        self._passed: tuple[set[str], bool] = (set(), False)  # names of paused types; whether some jobs are set aside
        self._fronts: dict[str, waiting.Place] = {}  # of a queue: before it only such jobs wait
        self._fronts_until = 0.0
        self._reached: dict[str, waiting.Place] = {}  # of a queue: up to here what was lost is published again
        self._fold_after = self._ignored_after = 0.0
        self._watch_bulk_after = self._stranded_after = self._offer_after = 0.0

    def look(self) -> Agenda:
        """Ask the database what there is to do, and when it is. Raises its errors."""
        asked = time.monotonic()
        agenda = lifecycle.agenda()
        self._vigil.look(agenda.now, asked, time.monotonic())
        return agenda

    def went_on(self) -> None:
        """This process has just got something done, or was told that it cannot be done."""
        self._vigil.went_on(time.monotonic())

    def doubt(self) -> None:
        """The database was away: whoever lives must have the time to renew leases."""
        self._vigil.doubt(time.monotonic())

    def tick(self, agenda: Agenda | None = None, each: Callable[[Duty], int] = lambda duty: duty.act()) -> int:
        """One pass of everything; how many jobs it brought back. ``agenda``: where the caller has just looked.

        ``each`` carries out the duties, in their order. Without it, the first error ends the pass.
        """
        agenda = agenda or self.look()
        duties = (
            Duty("expired leases", partial(self.expire_leases, agenda)),
            Duty("expired jobs", partial(self._expire_jobs, agenda)),
            Duty("lost messages", partial(self._find_lost_messages, agenda), needs_transport=True),
            Duty("timed out waits", partial(self._end_waits, agenda), needs_transport=True),
            Duty("watched moves", partial(self._follow, agenda)),
            Duty("limits", partial(self._look_after_limits, agenda)),
            Duty("stranded jobs", partial(self._look_after_stranded, agenda)),
            Duty("counts", self._fold),
            Duty("bulk operations", self._watch_bulk),
        )
        return sum(map(each, duties))

    def expire_leases(self, agenda: Agenda) -> int:
        """Bring back jobs whose worker stopped renewing its lease."""
        if self._doubts != self._vigil.doubts:
            doubts = self._vigil.doubts
            lifecycle.bound_leases(timedelta(seconds=jobs_settings().lease_seconds))
            self._fronts, self._reached = {}, {}  # places by times that may be no more
            self._doubts = doubts
        if not agenda.lapsed or not self._vigil.believes(time.monotonic()):
            return 0
        try:
            return bring_back(before=agenda.now)
        except TRANSIENT:
            self.doubt()  # nobody can write, so nobody can renew
            raise

    def _expire_jobs(self, agenda: Agenda) -> int:
        """Delete the jobs that were to be started by now. Nothing is brought back by that."""
        if agenda.expired and (stale := lifecycle.expire_unstarted().stale):
            withdraw(stale)
        return 0

    def _find_lost_messages(self, agenda: Agenda) -> int:
        if agenda.waiting or agenda.lapsed:  # what comes back waits too
            return self.find_lost_messages(any_aside=agenda.stranded or agenda.lined_up)
        self._suspects, self._reached = {}, {}
        return 0

    def find_lost_messages(self, *, any_aside: bool = True) -> int:
        """Publish again what is enqueued in the database but on no queue: lost, or never published.

        ``any_aside``: whether there may be jobs that are on no queue while they wait for a worker that can run them, or
        for a slot.
        """
        now = time.monotonic()
        self._republished = {m: at for m, at in self._republished.items() if now - at < REPUBLISHED_SECONDS}
        missing: dict[Message, float] = {}
        # Workers drop the messages of paused types: they are published again once the type runs again.
        queues = list(waiting.queues())
        paused_queues, paused_types = job_scheduler.paused_queues(), set(paused_type_names())
        if (paused_types, any_aside) != self._passed or now >= self._fronts_until:
            self._passed, self._fronts, self._fronts_until = (paused_types, any_aside), {}, now + FRONT_SECONDS
        ends: dict[str, waiting.Place | None] = {}
        for queue in queues:
            if queue not in paused_queues:
                found, ends[queue] = self._missing(queue, paused_types, any_aside)
                missing |= {message: self._suspects.get(message, now) for message in found}
                if not found:
                    self._reached.pop(queue, None)
        lost = [message for message, since in missing.items() if now - since >= PATIENCE_SECONDS]
        self._suspects = missing
        if not lost:
            return 0
        for some in chunks(lost, LOOK):
            if not publish(some):
                why = get_transport().trouble()
                raise TransportRefuses(f"{len(lost)} lost messages wait to be published again: {why}")
            self.went_on()
        self._suspects = {message: since for message, since in missing.items() if now - since < PATIENCE_SECONDS}
        self._republished.update(dict.fromkeys(lost, now))
        lifecycle.count(Outcome.REPUBLISHED, [(message.queue, "") for message in lost])
        for queue in {message.queue for message in lost}:
            if (end := ends[queue]) is None:
                self._reached.pop(queue, None)
            else:
                self._reached[queue] = end  # the next pass goes on from there
        logger.warning("published %d jobs again whose messages were lost or never sent", len(lost))
        return len(lost)

    def _missing(
        self, queue: str, paused: Collection[str], any_aside: bool
    ) -> tuple[list[Message], waiting.Place | None]:
        """What of the queue's oldest jobs the transport does not hold; further on only while something is missing.

        And the place that the look ended at, None when nothing lies behind it that had to be looked at.
        """
        lost: list[Message] = []
        after = self._reached.get(queue)
        # However many jobs of paused types, or set aside, stand in front, they are read once in a while, not each time.
        since = self._fronts.get(queue) if after is None else None
        passes = bool(paused) or any_aside
        end = waiting.last(queue) if passes else None  # read first: what comes meanwhile lies behind it
        until = time.monotonic() + LOOK_SECONDS
        for turn in range(CHUNKS):
            found = waiting.oldest(queue, LOOK, after=after, since=since, without=paused, aside=not any_aside)
            if passes and not turn and after is None and (front := found[0].place if found else end):
                self._fronts[queue] = front
            suspects = [job.message for job in found if job.message not in self._republished]
            missing = get_transport().missing(queue, suspects)
            lost += missing
            self.went_on()
            if len(found) < LOOK or (not missing and len(suspects) == len(found)):
                return lost, None
            after, since = found[-1].place, None
            if time.monotonic() >= until:
                break
        return lost, after

    def _end_waits(self, agenda: Agenda) -> int:
        """Let the jobs go on whose signals have not come in time. Nothing is brought back by that."""
        if agenda.waits_over:
            publish(lifecycle.end_waits())
        return 0

    def _follow(self, agenda: Agenda) -> int:
        """Do what should have followed from moves whose makers died. Nothing is brought back by that."""
        if agenda.unfollowed:
            following.follow(left_behind=True)
        return 0

    def _look_after_limits(self, agenda: Agenda) -> int:
        """Admit those who wait for slots that time has freed. Nothing is brought back by that."""
        if agenda.lined_up or agenda.slots:
            self._limits.look_after()
        return 0

    def _look_after_stranded(self, agenda: Agenda) -> int:
        now = time.monotonic()
        if agenda.stranded and now >= self._stranded_after:
            self._stranded_after = now + STRANDED_SECONDS
            stranded.look_after(hours=jobs_settings().unknown_type_hours)
        if agenda.stranded and now >= self._offer_after:
            self._offer_after = now + OFFER_SECONDS
            stranded.offer()
        return 0

    def _fold(self) -> int:
        """Sum the counts. Nothing is brought back by that."""
        now = time.monotonic()
        if now >= self._ignored_after:
            self._ignored_after = now + IGNORED_SECONDS
            failure_groups.end_ignoring()
        if now >= self._fold_after and not folding.fold_all():
            self._fold_after = now + IDLE_FOLD_SECONDS
        return 0

    def _watch_bulk(self) -> int:
        """Pause the bulk operations that stand still. Nothing is brought back by that."""
        now = time.monotonic()
        if now >= self._watch_bulk_after:
            self._watch_bulk_after = now + BULK_SECONDS
            bulk.pause_stalled()
        return 0


def age_out() -> bool:
    """Erase one chunk of what is past its retention; whether there may be more."""
    clock = database_now(connections[lifecycle.database()])
    days = {State(state): days for state, days in jobs_settings().retention_days.items() if days is not None}
    erased = [lifecycle.age_out(state, before=clock - timedelta(days=count)) for state, count in days.items()]
    kept = days.get(State.SUCCEEDED)
    workflows = kept is not None and lifecycle.forget_workflows(before=clock - timedelta(days=kept))
    return any(
        [
            *erased,
            workflows,
            kept is not None and ageing.forget(before=clock - timedelta(days=kept)),
            lifecycle.forget_keys(),
            admission.forget(),
            once.forget(),
            deploys.forget(),
            failure_groups.forget(),
            stacks.forget(),
            firing.forget(),
            told_hooks.forget(),
        ]
    )
