"""What runs beside a worker's main thread: how much of it there may be, and what waits for its turn."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import ClassVar, NamedTuple

from handlers import execution, logs
from handlers.cancellation import CancellationToken
from handlers.lifecycle import Claim, Move
from handlers.rq_transport.marks import MAIN, Marks
from handlers.rq_transport.outcomes import Ended, Outcomes
from handlers.rq_transport.stacks import Place

AHEAD_SECONDS = 0.05  # jobs are claimed so long ahead of their turn, as far as runs end often enough,
PATIENCE_SECONDS = 0.1  # and given back when that takes longer after all
FULL = 0.75  # from this part of the slots on a flood may be holding up others


class Crowd(NamedTuple):
    """Types that have all slots, or nearly."""

    share: int  # of the slots, for each type, were there one more
    types: frozenset[str]  # that have as many


class Slots(ABC):
    """Runs that go on at once, ``most`` of them. The main thread starts them and asks; others run and end them."""

    is_async: ClassVar[bool]

    def __init__(self, name: str, most: int, *, marks: Marks, outcomes: Outcomes, ended: threading.Event) -> None:
        self._name, self.most, self._marks, self._outcomes = name, most, marks, outcomes
        self._went_on = ended  # set whenever a run ends
        self._in_hand: dict[int, str] = {}  # jobs, with their types
        self._ready: deque[tuple[float, Claim, int]] = deque()  # to be run next: since when, and in which slot
        self._given = self.ended = 0  # runs
        self._counting = threading.Lock()
        self._ahead = self._paced = 0  # how many may wait for their turn; and ended when that was last reckoned
        self._paced_at = 0.0

    # --- for the main thread

    @property
    def has_any(self) -> bool:
        """Whether runs go on, or are about to begin."""
        return self._given > self.ended

    @property
    def room(self) -> int:
        """How many more may be started: at once, or as soon as some end, which is in a moment."""
        ended = self.ended - self._paced
        if (passed := (now := time.monotonic()) - self._paced_at) >= AHEAD_SECONDS:
            self._ahead = min(int(ended / passed * AHEAD_SECONDS), self.most)
            self._paced_at, self._paced = now, self.ended
        elif ended > self._ahead:  # more often than before
            self._ahead = min(ended, self.most)
        in_hand = self._given - self.ended
        room = min(self.most + self._ahead - in_hand, self._marks.free_slots(is_async=self.is_async))
        return max(room, 0)  # more may be ahead than was right, now that runs take longer

    def start(self, claims: Sequence[Claim]) -> None:
        """Start a run of each; there is room for them."""
        now = time.monotonic()
        self._in_hand.update((claim.job_id, claim.job_type) for claim in claims)
        with self._counting:
            self._given += len(claims)
        self._ready.extend((now, claim, self._marks.take_slot(is_async=self.is_async)) for claim in claims)
        self._wake(len(claims))

    def in_hand(self) -> set[int]:
        """The jobs that were started and whose runs have not ended."""
        return set(self._in_hand)

    def crowd(self) -> Crowd | None:
        """Who has the slots, when hardly any is free: the types that have more than a share, if others wait, too."""
        if self._given - self.ended < self.most * FULL:
            return None
        held = Counter(self._in_hand.copy().values())
        share = max(self.most // (len(held) + 1), 1)
        return Crowd(share, frozenset(name for name, count in held.items() if count >= share))

    # --- for the thread that records

    def overdue(self, seconds: float = PATIENCE_SECONDS) -> list[Claim]:
        """Those that have waited so long for their turn, which they lose."""
        found = []
        before = time.monotonic() - seconds
        with suppress(IndexError):  # those that run them take from it, too
            while self._ready[0][0] <= before:
                _, claim, slot = self._ready.popleft()
                self._marks.give_slot_back(slot)
                found.append(claim)
        return found

    def gave_back(self, claims: Sequence[Claim]) -> None:
        """The outcomes know of these, which are not going to run."""
        for claim in claims:
            self._in_hand.pop(claim.job_id, None)
        self._paced += len(claims)  # they say nothing of how often runs end
        self._count(len(claims))

    # --- for those that run them

    @abstractmethod
    def _wake(self, count: int) -> None:
        """So many more are ready."""

    @abstractmethod
    def place_of(self, slot: int) -> Place | None:
        """Where the run of this slot is, for any thread; None once it is over."""

    def _next(self) -> tuple[Claim, int] | None:
        """What to run now, and its slot in the marks; None when nothing is ready."""
        try:
            _, claim, slot = self._ready.popleft()
        except IndexError:
            return None
        logs.attach()
        return claim, slot

    def _end(self, claims: Sequence[Claim], slot: int, outcome: Ended, others: Sequence[Move] = ()) -> None:
        """The run of these has ended, the first with this ``outcome``."""
        self._marks.end(slot)
        self._outcomes.ended(slot, claims[0].job_id, outcome, others)
        for claim in claims:
            self._in_hand.pop(claim.job_id, None)
        logs.detach()
        self._count(1)

    def _count(self, ended: int) -> None:
        with self._counting:
            self.ended += ended
        if not self._went_on.is_set():
            self._went_on.set()


def start(claim: Claim, marks: Marks, slot: int = MAIN) -> CancellationToken:
    """Say in ``marks`` that the run begins in ``slot``; its token, which says what they say of it."""
    return _token(claim, marks, marks.start(claim.job_id, execution.timeout_of(claim), slot), slot)


def start_together(claims: Sequence[Claim], marks: Marks, slot: int = MAIN) -> CancellationToken:
    """The same for one run of several."""
    ids = [claim.job_id for claim in claims]
    return _token(claims[0], marks, marks.start_together(ids, execution.timeout_of(claims[0]), slot), slot)


def _token(claim: Claim, marks: Marks, sequence: int, slot: int) -> CancellationToken:
    probe = partial(marks.cancel_reason, sequence, slot)
    return CancellationToken(probe, job_id=claim.job_id, attempt=claim.attempt, facts=claim.facts)


def wait(event: threading.Event, seconds: float, until: Callable[[], bool]) -> bool:
    """Wait for runs to end, ``seconds`` at most, until there is what is waited for; whether there is."""
    deadline = time.monotonic() + seconds
    while not until():
        event.clear()
        if until():
            return True
        if (left := deadline - time.monotonic()) <= 0 or not event.wait(left):
            return until()
    return True
