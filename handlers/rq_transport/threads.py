"""Sync handlers of one worker process on threads, each with its own connections."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from typing import NoReturn

from handlers import execution, tidying
from handlers.lifecycle import Claim, Move
from handlers.rq_transport.marks import Marks
from handlers.rq_transport.outcomes import Outcomes
from handlers.rq_transport.slots import PATIENCE_SECONDS, Slots, start
from handlers.rq_transport.stacks import Place, of_thread


class ThreadRuns(Slots):
    """A thread is started when there is more to run than threads that are free."""

    is_async = False

    def __init__(self, name: str, most: int, *, marks: Marks, outcomes: Outcomes, ended: threading.Event) -> None:
        super().__init__(name, most, marks=marks, outcomes=outcomes, ended=ended)
        self._runs: dict[int, tuple[Claim, int]] = {}  # by slot: the last one there, and its thread

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.most, thread_name_prefix="jobs")

    def place_of(self, slot: int) -> Place | None:
        """Where the run of this slot is."""
        claim, ident = self._runs.get(slot, (None, 0))
        return claim and Place(claim, of_thread(ident))

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
        self._runs[slot] = claim, threading.get_ident()
        token = start(claim, self._marks, slot)
        try:
            move = execution.run_attached(claim, token, worker=self._name, in_company=lambda: True)
        except BaseException as error:  # noqa: BLE001 - raised where it is recorded, and ends the process
            self._end(claim, slot, partial(_broken, error))
        else:
            self._end(claim, slot, partial(_same, move))
        tidying.close_if_old()


def _same(move: Move | None) -> Move | None:
    return move


def _broken(error: BaseException) -> NoReturn:
    raise RuntimeError("a run could not say what it came to") from error
