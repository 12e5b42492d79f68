"""What dead worker processes held is brought back by their supervisor, or left in words to recovery."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable

from django.db import Error

from handlers import execution, lifecycle, tidying
from handlers.cancellation import CancelReason
from handlers.conf import jobs_settings
from handlers.exceptions import TransportUnavailable
from handlers.lifecycle import Claim, Move
from handlers.models.count import Outcome
from handlers.publishing import publish
from handlers.rq_transport.children import Child
from handlers.rq_transport.intake import taken_last
from handlers.transport import LastWords, get_transport

logger = logging.getLogger(__name__)

LATER_SECONDS = 1.0  # until the next try, while the database is away
LAST_SECONDS = 2.0  # how long it is tried for the last children
LOOK_SECONDS = 0.2  # between two tries of these


class Burial:
    """The dead of one supervisor whose jobs are not yet brought back."""

    def __init__(self) -> None:
        self._lost: list[Child] = []
        self._after = 0.0  # monotonic; not tried before

    def add(self, child: Child) -> None:
        """This one has ended."""
        if child.marks.holding:
            self._lost.append(child)

    @property
    def is_over(self) -> bool:
        """Whether nobody is left."""
        return not self._lost

    def bury(self) -> None:
        """Bring back at once what dead children held. While the database is away they wait for it."""
        if time.monotonic() < self._after:
            return
        for child in list(self._lost):
            try:
                claims = lifecycle.claims_of(child.name)
                moves = _last_moves(child, claims)
                moved = execution.settle(moves, worker=f"supervisor of {child.name}", keep_trying=lambda: False)
                if child.killed is None:
                    lost = [(claim.queue, claim.job_type) for claim in claims if claim.job_id in moved]
                    lifecycle.count(Outcome.WORKER_LOST, lost)
                publish(lifecycle.still_enqueued(_taken_last(child)))
            except Error as error:
                tidying.close_broken_connections()
                logger.warning("cannot bring back the jobs of %s yet: %s", child.name, str(error).strip())
                self._after = time.monotonic() + LATER_SECONDS
                return
            self._lost.remove(child)

    def bury_the_last(self, hurry: Callable[[], bool]) -> None:
        """Wait a little for the database; then leave to recovery what the marks say."""
        until = time.monotonic() + LAST_SECONDS
        while True:
            self._after = 0.0
            self.bury()
            if not self._lost or hurry() or time.monotonic() >= until:
                break
            time.sleep(LOOK_SECONDS)
        self.leave_words()

    def leave_words(self) -> None:
        """Leave to recovery what the marks say."""
        for child in self._lost:
            try:
                get_transport().leave_last_words(child.name, _last_words(child))
            except TransportUnavailable:
                logger.warning("nobody can be told what became of the jobs of %s", child.name)


def _last_moves(child: Child, claims: Iterable[Claim]) -> list[Move]:
    running, words = {job: run for run in child.marks.running() for job in run.jobs}, _last_words(child)
    moves = []
    for claim in claims:
        run = running.get(claim.job_id)
        if run is None or child.killed is None:
            most = jobs_settings().max_crashes
            moves.append(lifecycle.left_behind(claim, words, max_crashes=most, worker=child.name))
        elif child.stuck.get(run.key) == CancelReason.TIMEOUT:
            seconds = time.monotonic() - run.since
            whole = lifecycle.with_payload(claim)
            moves.append(execution.failed(whole, execution.timed_out(whole), worker=child.name, seconds=seconds))
        else:  # for the stop, or for another run than this one
            moves.append(lifecycle.handed_back(claim, "its worker had to stop before it could finish", started=True))
    return moves


def _taken_last(child: Child) -> list[tuple[int, str]]:
    try:
        return taken_last(child.name)
    except TransportUnavailable:
        return []  # recovery finds what is on no queue


def _last_words(child: Child) -> LastWords:
    """What the marks of a dead child say."""
    running = () if child.killed is not None else child.marks.running()
    return LastWords(frozenset().union(*(run.jobs for run in running)), child.marks.started())
