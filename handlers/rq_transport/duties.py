"""What a scheduler does again and again: each duty by itself, with its own turn, failures and pause."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from typing import NamedTuple

from django.db import Error as DatabaseError
from django.db import InterfaceError, InternalError, NotSupportedError, OperationalError, ProgrammingError, connections

from handlers import execution
from handlers.exceptions import TransportRefuses, TransportUnavailable
from handlers.failures import class_path
from handlers.fleet import QUEUE_SERVER
from handlers.rq_transport.outages import Outage

DATABASE = "database"
# Those of the database's errors whose first line names its own things, and never a value out of a row.
NAMING = (OperationalError, ProgrammingError, InternalError, InterfaceError, NotSupportedError)


class Trouble(NamedTuple):
    """Something that does not work at the moment."""

    what: str  # a duty, or what several of them need
    since: float  # monotonic seconds
    reason: str  # safe to be shown to whoever may see jobs


class Duties:
    """A scheduler's duties, by name.

    One that fails is tried again after a pause of its own, and holds up no other. Only what all of them need stops
    them all: the database, when it does not answer; and Redis, those that need it.
    """

    def __init__(
        self, log: logging.Logger, *, on_server_lost: Callable[[], None], after_each: Callable[[], None]
    ) -> None:
        self._log, self._on_server_lost, self._after_each = log, on_server_lost, after_each
        self._next: dict[str, float] = {}  # when a duty that has regular turns has its next one, in monotonic time
        self._not_before: dict[str, float] = {}  # after a failure
        self._outages: dict[str, Outage] = {}
        self._troubles: dict[str, Trouble] = {}
        self._known: set[str] = set()  # of these
        self._server_after = 0.0  # Redis is away: what needs it is not tried before
        self._blamed = ""  # the duty by which that was noticed

    def turn(self, name: str, seconds: float, act: Callable[[], int | None], *, needs_server: bool = False) -> int:
        """Do ``act`` if its turn has come, which it has each ``seconds``; what it answers, else 0.

        Raises the database's errors when it is away.
        """
        if not self._may(name, needs_server):
            return 0
        if seconds:
            self._next[name] = time.monotonic() + seconds
        try:
            answer = act() or 0
            self.worked(name)
            if name == self._blamed:
                self._blamed = ""
                self.worked(QUEUE_SERVER)
            return answer
        except TransportRefuses as error:
            self._fail(name, error)  # a full server refuses what is written, not what is read or taken
        except TransportUnavailable as error:
            self.server_lost(name, error)
        except DatabaseError as error:
            for connection in connections.all(initialized_only=True):
                connection.close_if_unusable_or_obsolete()
            if not execution.database_answers():
                raise
            self._fail(name, error)
        except Exception as error:  # noqa: BLE001 - a scheduler that dies of one bad row helps nobody
            self._fail(name, error, traceback=True)
        finally:
            self._after_each()
        return 0

    def _may(self, name: str, needs_server: bool) -> bool:
        now = time.monotonic()
        if now < max(self._next.get(name, 0.0), self._not_before.get(name, 0.0)):
            return False
        if needs_server and now < self._server_after:
            self._not_before[name] = self._server_after
            return False
        return True

    def again_in(self, name: str, seconds: float) -> None:
        """Give a duty its next turn sooner: it left something to do."""
        self._next[name] = time.monotonic() + seconds

    def server_lost(self, name: str, error: TransportUnavailable) -> None:
        """Redis is away, as the duty ``name`` found out."""
        self._blamed = name
        self._server_after = self._not_before[name] = time.monotonic() + self.failed(QUEUE_SERVER, error)
        self._on_server_lost()

    def failed(self, what: str, error: Exception, *, traceback: bool = False) -> float:
        """Note that ``what`` does not work. Seconds to wait before the next try."""
        since = self._troubles[what].since if what in self._troubles else time.monotonic()
        self._troubles[what] = Trouble(what, since, _reason(error))
        return self._outage(what).failed(error, traceback=traceback)

    def worked(self, what: str) -> None:
        """Note that it works."""
        self._outage(what).worked()
        self._troubles.pop(what, None)
        self._not_before.pop(what, None)

    def fails(self, what: str) -> bool:
        """Whether it did not work at the last try."""
        return what in self._troubles

    def have_changed(self) -> bool:
        """Whether something else works, or does not, than when this was last asked."""
        before, self._known = self._known, set(self._troubles)
        return before != self._known

    def troubles(self) -> list[Trouble]:
        """What does not work, the oldest first."""
        return sorted(self._troubles.values(), key=lambda trouble: trouble.since)

    def seconds_until_turn(self) -> float:
        """How long until some duty has its regular turn: infinite, when none has had its first."""
        turns = [max(at, self._not_before.get(name, 0.0)) for name, at in self._next.items()]
        return max(0.0, min(turns, default=math.inf) - time.monotonic())

    def _fail(self, name: str, error: Exception, *, traceback: bool = False) -> None:
        self._not_before[name] = time.monotonic() + self.failed(name, error, traceback=traceback)

    def _outage(self, name: str) -> Outage:
        return self._outages.setdefault(name, Outage(name, self._log))


def _reason(error: Exception) -> str:
    """The error in one line, without what may be private: most errors' texts can quote a job's values."""
    name = class_path(error).rpartition(".")[2]
    if isinstance(error, (*NAMING, TransportUnavailable)) and (lines := str(error).strip().splitlines()):
        return f"{name}: {lines[0]}"[:200]
    return f"{name}: the scheduler's log says more"
