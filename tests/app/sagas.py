"""A saga that counts, and tells of what it has counted by jobs."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, replace
from pathlib import Path

from handlers import Command, Event, Saga, handles_command, on, on_event, starts
from tests.app.jobs import NO_RETRY, QUICK, note
from tests.app.many import wait_to_go


@dataclass(frozen=True)
class Opened(Event):
    """A saga begins."""

    number: int


@dataclass(frozen=True)
class Counted(Event):
    """One more; told by a job where ``tells``; the first time that it comes it may ``kill`` its worker."""

    number: int
    which: int
    tells: bool = False
    kill: bool = False


@dataclass(frozen=True)
class Tell(Command):
    """Write a note."""

    text: str


@handles_command(Tell, retry=NO_RETRY)
def tell(command: Tell) -> None:
    """Write it."""
    note(command.text)


@dataclass(frozen=True)
class Count:
    """How far it is."""

    events: int = 0
    last: int = -1


class Counter(Saga[Count], retry=QUICK):
    """Counts its events."""

    @starts(Opened, key="number")
    def opened(self, event: Opened) -> None:
        """Begin."""

    @on(Counted, key="number")
    def counted(self, event: Counted) -> None:
        """One more."""
        self.state = replace(self.state, events=self.state.events + 1, last=event.which)
        if event.tells:
            self.send(Tell(f"{event.number} {event.which}"))
        if event.kill:
            mark = Path(f"{os.environ['TEST_NOTES']}.killed")
            if not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Heard(Event):
    """Somebody is told; in vain, the first time that it ``fails``; if it is ``held``, once the test says go."""

    who: str
    which: int
    fails: bool = False
    held: bool = False


@on_event(Heard, name="tests.hear", retry=QUICK)
def hear(event: Heard) -> None:
    """Write it down."""
    mark = Path(f"{os.environ['TEST_NOTES']}.{event.who}")
    if event.held:
        note(f"held {os.getpid()}")
        wait_to_go()
    if event.fails and not mark.exists():
        mark.touch()
        raise RuntimeError("not now")
    note(f"{event.who} {event.which}")
