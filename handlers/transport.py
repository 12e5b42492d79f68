"""What carries jobs to workers. The database is the truth; a transport holds hints that can be rebuilt from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, Protocol, runtime_checkable

from handlers.exceptions import TransportUnavailable


class Message(NamedTuple):
    """One delivery: which job, and the token that makes an outdated delivery harmless."""

    job_id: int
    token: str  # 16 hex digits
    queue: str
    run_at: datetime | None = None  # set for a delayed job
    priority: int = 0  # see ``priorities.rank``
    enqueued_at: datetime | None = None  # where that is known; else it is as it is published


class LastWords(NamedTuple):
    """What is known of a worker process that ended, with jobs whose outcome is not recorded."""

    running: frozenset[int]  # the jobs that were running when it died
    started: frozenset[int]  # the jobs whose runs began; of them no other can be going on


@dataclass(frozen=True, slots=True)
class ServerState:
    """How the queue server is. Without ``seconds``, the time of its answer, it takes no messages now."""

    seconds: float | None = None
    memory_bytes: int = 0
    memory_limit_bytes: int = 0  # 0: none
    messages: Mapping[str, int] = field(default_factory=dict)  # by queue, other programs' too


@runtime_checkable
class Transport(Protocol):
    """The few things the engine asks of a queue server.

    Every method may raise ``TransportUnavailable``, and is harmless to repeat: claiming is a compare-and-set.
    """

    def publish(self, messages: Sequence[Message], *, wait: bool = True, front: bool = False) -> None:
        """Put the messages at the end of their queues, or at the ``front``, in the order given, in one round trip.

        Those with a priority are taken by their ranks.

        ``wait`` until that is confirmed; else it may be sent and looked after later, and what became of it is logged.
        """

    def publish_delayed(self, messages: Sequence[Message], *, wait: bool = True) -> None:
        """Announce jobs that are due at their ``run_at``, and wake the scheduler if one of them comes first."""

    def withdraw(self, messages: Sequence[Message]) -> None:
        """Take back deliveries, queued or delayed, that can no longer change anything."""

    def missing(self, queue: str, messages: Sequence[Message]) -> list[Message]:
        """Those of ``messages`` that the queue does not hold. It may look only at the head of a long queue."""

    def trouble(self) -> str:
        """Why the queue server takes no messages now, or seconds ago, in one line; empty when it does.

        Takes half a second at most; never raises.
        """

    def measure(self, queues: Sequence[str]) -> ServerState:
        """How the queue server is, and how many messages stand on ``queues``. Takes a second at most."""

    def leave_last_words(self, worker: str, words: LastWords) -> None:
        """Keep what only a supervisor knows, and cannot tell the database, until recovery asks."""

    def last_words(self, workers: Sequence[str]) -> Mapping[str, LastWords]:
        """What was left of those of ``workers`` of which something was."""


_transport: Transport | None = None


def install_transport(transport: Transport) -> None:
    """Make ``transport`` the one in use in this process."""
    global _transport  # noqa: PLW0603
    _transport = transport


def get_transport() -> Transport:
    """The transport in use. Raises TransportUnavailable when none was installed."""
    if _transport is None:
        raise TransportUnavailable("no transport is installed: add 'handlers' to INSTALLED_APPS")
    return _transport
