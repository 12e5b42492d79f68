"""The worker process: RQ's worker, which takes, claims, runs and records jobs in batches."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from django.db import Error

from handlers.exceptions import TransportUnavailable
from handlers.lifecycle import Claim
from handlers.rq_transport.afterwards import Afterwards
from handlers.rq_transport.availability import transport_errors
from handlers.rq_transport.claiming import Claiming
from handlers.rq_transport.lifetime import ENDLESS, Lifetime
from handlers.rq_transport.marks import Marks
from handlers.rq_transport.meanwhile import Meanwhile
from handlers.rq_transport.outages import Outage
from handlers.rq_transport.outcomes import Broken
from handlers.rq_transport.rq_loop import RQLoop
from handlers.rq_transport.running import Runs, is_exclusive
from handlers.rq_transport.taking import Taking
from handlers.runs.live import live
from handlers.signals.delivery import delivery
from handlers.transport import Message
from handlers.troubles import troubles

logger = logging.getLogger(__name__)

WAIT_SECONDS = 1.0  # longest blocking pop, so also how long an idle worker takes to notice that it should stop
END_SECONDS = 0.1  # how often it is looked, while runs end, whether they still may
SHORTEST_SECONDS = 0.01  # that Redis can be asked to wait: nothing would be for ever
BURST_SECONDS = 0.1  # the same in a burst, where it also says how soon it ends


class BatchWorker(RQLoop):
    """Runs jobs of ``queues`` in this process until it is asked to stop.

    RQ's loop, with the taking and the running of jobs replaced. Of a message only the id and the token are read: never
    its function, arguments or callbacks.
    """

    def __init__(
        self,
        queues: Sequence[str],
        *,
        name: str,
        marks: Marks,
        weights: Mapping[str, int] | None,
        lifetime: Lifetime = ENDLESS,
    ) -> None:
        super().__init__(queues, name=name, marks=marks, burst=lifetime.burst)
        self._lifetime = lifetime
        self._outage = Outage("queue server", logger)
        self._taking = Taking(queues, worker=name, marks=marks, weights=weights)
        self._runs = Runs(name, marks=marks, stopping=self._stopping)
        self._claiming = Claiming(name, marks=marks, stopping=self._stopping, taking=self._taking)
        self._afterwards = Afterwards()
        self._meanwhile = Meanwhile(runs=self._runs, taking=self._taking, claiming=self._claiming)

    def own_process(self) -> None:
        """This process is this worker's alone: whatever moves in it is followed on a thread of its own."""
        self._afterwards.begin()
        live.begin()
        troubles.process = self.name

    def dequeue_job_and_maintain_ttl(self, timeout: int | None, max_idle_time: int | None = None) -> Any:
        """Take a batch of messages; waits until there is one. None when asked to stop."""
        if self._runs.begin():
            self.heartbeat()
            self._claiming.warm_up()
        while not self.is_stopping:
            self.heartbeat()
            self.check_for_suspension(burst=False)
            self._claiming.await_certainty(self._runs, self.heartbeat)
            if why := self._lifetime.spent(self._runs.count):
                logger.info("worker process %s makes way for another: %s", self.name, why)
                self._marks.retire()
                break
            if self._runs.has_gathered(at_once=self._taking.has_alone):
                return [], None
            if self._taking.has_alone:
                if self._runs.wait(WAIT_SECONDS):
                    return self._taking.alone(), None
                self._taking.share()
                continue
            try:
                with transport_errors():
                    messages = self._look()
            except TransportUnavailable as error:
                self._marks.beat()
                time.sleep(self._outage.failed(error))
                continue
            self._outage.worked()
            if messages and self.is_stopping:
                self._taking.put_back(messages)
            elif messages:
                return messages, None
        self._taking.end()
        self._let_end()
        self._afterwards.end()
        live.end()
        delivery.end()
        troubles.end()
        return None

    def _look_for_the_spare(self) -> list[Message]:
        """What there are slots for, while those for the others are taken."""
        spare = self._runs.spare()
        room = min(self._lifetime.room(self._runs.count), spare.room) if spare else 0
        return self._taking.of_types(spare.types, int(room)) if spare and room else []

    def _let_end(self) -> None:
        """Let the runs beside this thread end, and those begin elsewhere that wait for company."""
        self._runs.give_back_gathered("its worker was asked to stop")
        while not self._runs.wait(END_SECONDS):
            self.heartbeat()
            self._stopping.look_for_parent()
            self._taking.share()
        self._claiming.let_go(self._runs)

    def _look(self) -> list[Message]:
        """What the queues hold and there is room for; if that is nothing, what comes within a moment."""
        room = min(self._lifetime.room(self._runs.count), self._runs.room())
        if self._taking.seeks_others and (crowd := self._runs.crowd()):
            self._taking.find_others(crowd.share, without=crowd.types)
        if not room:
            return self._look_for_the_spare()
        followed = self._afterwards.followed  # asked first: what it publishes from now on is looked for once more
        if messages := self._taking.pop(room):
            return messages
        are_over = self._runs.are_over
        self.set_state("idle" if are_over else "busy")
        if are_over and self._marks.holding:  # runs beside this thread, which have ended since
            self._claiming.let_go(self._runs)
        # Not while runs are under way: what follows from their ends would come when the others have ended, too.
        if self._burst and are_over and not self._taking.is_stranded_due and followed is not None:
            self._claiming.let_go(self._runs)
            # Nobody else has anything in hand that may bring more, and nothing has moved here since we looked.
            if self._marks.is_quiet and self._afterwards.followed == followed:
                self._stopping.end(for_good=True)
                return []
        longest = BURST_SECONDS if self._burst else WAIT_SECONDS
        seconds = min(longest, self._runs.seconds_until_due())
        return self._taking.wait(max(seconds, SHORTEST_SECONDS))

    def _claim(self, messages: list[Message]) -> tuple[list[Claim], bool]:
        """What of these may run now, and whether nothing may run beside it."""
        claims = self._claiming.claim(messages, company=not self._runs.are_over)
        if len(claims) > 1 or not self._runs.are_over:
            return self._runs.share(claims), False
        return claims, any(claim.alone or is_exclusive(claim.job_type) for claim in claims)

    def _while_slow(self, *, alone: bool) -> None:
        """The keeper's, while a job takes long in the main thread."""
        self.set_state("busy")
        self.heartbeat()  # which waits for the main thread otherwise: after minutes RQ would forget us
        if alone:
            self._taking.share()
        elif not (self._marks.is_stopping or self.is_suspended()):
            self._meanwhile.look(self._lifetime.room(self._runs.count))

    def execute_job(self, job: Any, queue: Any) -> None:
        """Claim the batch, run it, record it. Without any: those that are due of what waits for company."""
        messages: list[Message] = job
        if len(messages) > 1:  # a single one starts sooner; it is told once it takes long
            self.set_state("busy")
        self._marks.hold()
        began, mean, alone = time.monotonic(), None, False
        try:
            if messages:
                source = messages[0].queue
                claims, alone = self._claim(messages)
                if claims:
                    busy = partial(self._while_slow, alone=alone)
                    self._runs.run(claims, between=self.heartbeat, while_slow=busy)
                    mean = self._runs.mean
            else:
                busy = partial(self._while_slow, alone=False)
                # How long that took says nothing of how many to claim: a call takes many, and of a single one the most.
                source = self._runs.run_gathered(at_once=self._taking.has_alone, while_slow=busy)
        except BaseException as error:
            # This process ends, and its supervisor brings back what it held, by the marks. Unless it is the database
            # that was away, the last run is why.
            if not isinstance(error, Error | Broken):
                self._marks.blame()
            raise
        if alone:
            self._let_end()
            mean = time.monotonic() - began
        if source:
            self._taking.ran(source, seconds=time.monotonic() - began, mean=mean)
        self._claiming.let_go(self._runs)
        if self._burst:
            self._marks.hold()  # until it has looked for more, of what it has brought: nobody may end before that
