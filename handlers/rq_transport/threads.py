"""Sync handlers of one worker process on threads, each with its own connections."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from typing import NoReturn

from handlers import execution, logs, tidying
from handlers.lifecycle import Claim, Move
from handlers.rq_transport.marks import Marks
from handlers.rq_transport.outcomes import Outcomes
from handlers.rq_transport.slots import PATIENCE_SECONDS, Slots, start, start_together
from handlers.rq_transport.stacks import Place, of_thread
from handlers.together import run_together


class ThreadRuns(Slots):
    """A thread is started when there is more to run than threads that are free."""

    is_async = False

    def __init__(self, name: str, most: int, *, marks: Marks, outcomes: Outcomes, ended: threading.Event) -> None:
        super().__init__(name, most, marks=marks, outcomes=outcomes, ended=ended)
        self._runs: dict[int, tuple[Sequence[Claim], int]] = {}  # by slot: the last one there, and its thread

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.most, thread_name_prefix="jobs")

    def place_of(self, slot: int) -> Place | None:
        """Where the run of this slot is."""
        claims, ident = self._runs.get(slot, ((), 0))
        return Place(claims[0], of_thread(ident), claims[1:]) if claims else None

    def overdue(self, seconds: float = PATIENCE_SECONDS) -> list[Claim]:
        """Those that have waited so long for a thread; none while threads are free, which take them in a moment."""
        busy = self._given - self.ended - len(self._ready)
        return super().overdue(seconds) if busy >= self.most or not seconds else []

    def _wake(self, count: int) -> None:
        for _ in range(count):
            self._threads.submit(self._run)

    def _run(self) -> None:
        if (found := self._next()) is None:
            return
        claim, slot = found
        self._runs[slot] = (claim,), threading.get_ident()
        token = start(claim, self._marks, slot)
        try:
            move = execution.run_attached(claim, token, worker=self._name, in_company=lambda: True)
        except BaseException as error:  # noqa: BLE001 - raised where it is recorded, and ends the process
            self._end((claim,), slot, partial(_broken, error))
        else:
            self._end((claim,), slot, partial(_same, move))
        tidying.close_if_old()

    @property
    def has_room(self) -> bool:
        """Whether a thread is free for one call with several jobs."""
        return self._given - self.ended < self.most and self.room > 0

    def start_together(self, claims: Sequence[Claim]) -> None:
        """Start one call with these; there is room for it."""
        self._in_hand.update((claim.job_id, claim.job_type) for claim in claims)
        with self._counting:
            self._given += 1
        self._threads.submit(self._run_together, claims, self._marks.take_slot(is_async=False))

    def _run_together(self, claims: Sequence[Claim], slot: int) -> None:
        self._runs[slot] = claims, threading.get_ident()
        logs.attach()
        token = start_together(claims, self._marks, slot)
        try:
            moves = run_together(claims, token, worker=self._name, in_company=lambda: True)
        except BaseException as error:  # noqa: BLE001 - as above
            self._end(claims, slot, partial(_broken, error))
        else:
            self._end(claims, slot, partial(_same, None), moves)
        tidying.close_if_old()


def _same(move: Move | None) -> Move | None:
    return move


def _broken(error: BaseException) -> NoReturn:
    raise RuntimeError("a run could not say what it came to") from error
