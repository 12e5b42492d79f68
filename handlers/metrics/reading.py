"""One look at everything: four statements to the database, one round trip to the queue server."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from django.db import Error, connections
from django.utils import timezone

from handlers import bounded, fleet, tidying
from handlers.conf import jobs_settings
from handlers.exceptions import TransportUnavailable
from handlers.fleet import LiveProcess
from handlers.lifecycle import database
from handlers.metrics import statements
from handlers.models.sql import from_time, is_postgresql, to_time
from handlers.queues import known_queues
from handlers.transport import ServerState, get_transport

logger = logging.getLogger(__name__)

ROWS = 50_000  # of jobs that wait, which one scrape counts on all queues together
HOOK = "hook "  # before the name of one, where a statement says of what it tells
LEAST = 1_000  # of one queue all the same


class Total(NamedTuple):
    """What one outcome of a type on a queue has added up to."""

    queue: str
    job_type: str
    outcome: str
    number: int
    seconds: float
    buckets: Sequence[int]


class Waits(NamedTuple):
    """What waits on a queue: how many at least, and how long the first has."""

    number: int
    oldest_seconds: float
    more: bool = False  # whether there may be more than that


class Hook(NamedTuple):
    """Middleware or a receiver that has gone wrong, and how often in all."""

    hook: str
    name: str
    times: int
    last_at: datetime | None


@dataclass(slots=True)
class Reading:
    """What was found. Without ``database_seconds`` the database did not answer, and the rest is empty."""

    database_seconds: float | None = None
    server: ServerState = field(default_factory=ServerState)
    totals: list[Total] = field(default_factory=list)
    waits: dict[str, Waits] = field(default_factory=dict)
    states: dict[str, int] = field(default_factory=dict)
    due: int = 0
    late_seconds: float = 0.0
    unfolded_seconds: float = 0.0  # how old the oldest count is that no scheduler has summed
    stranded: int = 0
    slots: dict[str, int] = field(default_factory=dict)  # by limit
    lined_up: dict[str, int] = field(default_factory=dict)
    paused_queues: set[str] = field(default_factory=set)
    paused_types: set[str] = field(default_factory=set)
    hooks: list[Hook] = field(default_factory=list)
    processes: list[LiveProcess] = field(default_factory=list)


def read() -> Reading:
    """Look now. Never raises for a database or a queue server that is away."""
    found = Reading()
    try:
        _read_database(found)
    except Error as error:
        tidying.close_broken_connections()
        logger.warning("the database does not say how jobs are: %s", str(error).partition("\n")[0])
        found = Reading()
    queues = known_queues() | set(found.waits)
    try:
        found.server = get_transport().measure(sorted(queues))
    except TransportUnavailable:
        pass  # as an empty one says
    return found


def _read_database(found: Reading) -> None:
    began = time.perf_counter()
    connection = connections[database()]
    postgresql = is_postgresql(connection)
    # First, because it is what says how long the database takes for next to nothing.
    found.processes = fleet.live_briefly()
    found.database_seconds = time.perf_counter() - began
    queues = known_queues()
    most = max(ROWS // max(len(queues), 1), LEAST)
    with connection.cursor() as cursor:
        cursor.execute(statements.TOTALS, [jobs_settings().metrics_series])
        found.totals = [Total(row[0], row[1], row[2], row[3], float(row[4]), row[5:]) for row in cursor.fetchall()]
        cursor.execute(statements.standing(postgresql=postgresql), {"now": to_time(connection, timezone.now())})
        now = _stand(found, cursor.fetchall())
    for name, number, since in bounded.depths(queues, most):
        found.waits[name] = Waits(min(number, most), _age(now, since), number > most)


def _stand(found: Reading, rows: Sequence[tuple[str, str, int, Any]]) -> datetime:
    told: dict[str, dict[str, tuple[int, datetime | None]]] = {}
    for kind, name, number, at in rows:
        told.setdefault(kind, {})[name] = number, from_time(at)
    now = told["now"][""][1] or timezone.now()
    found.states = _numbers(told, "state")
    found.due, found.stranded = _numbers(told, "due").get("", 0), _numbers(told, "stranded").get("", 0)
    found.late_seconds = _age(now, told.get("late", {}).get("", (0, None))[1])
    found.unfolded_seconds = _age(now, told.get("unfolded", {}).get("", (0, None))[1])
    found.slots, found.lined_up = _numbers(told, "slots"), _numbers(told, "lined up")
    found.hooks = [
        Hook(kind.removeprefix(HOOK), name, count, at)
        for kind, some in told.items() if kind.startswith(HOOK)
        for name, (count, at) in some.items()
    ]  # fmt: skip
    found.paused_queues, found.paused_types = set(told.get("queue", ())), set(told.get("type", ()))
    return now


def _numbers(told: Mapping[str, Mapping[str, tuple[int, datetime | None]]], kind: str) -> dict[str, int]:
    return {name: number for name, (number, _) in told.get(kind, {}).items()}


def _age(now: datetime, since: datetime | None) -> float:
    return 0.0 if since is None else max((now - since).total_seconds(), 0.0)
