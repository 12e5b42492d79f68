"""Along what the engine's costs may grow, and the loads that show it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from tests.bench.places import Figures

DRAIN, SINGLE, MANY = "recorded drain, jobs/s", "enqueue, one at a time, jobs/s", "enqueue_many, jobs/s"
START = "enqueue to start, p50, ms"
WAITING = ("jobs/s", "of the limit", "workers and scheduler, CPU ms a job", "servers, CPU ms a job")


@dataclass(frozen=True)
class Load:
    """What ``load.load`` is asked for, on a database with ``made_up`` jobs."""

    function: ClassVar[str] = "load.load"
    made_up: int = 0
    single: int = 400
    many: int = 8_000
    call: int = 1_000
    processes: int = 2
    size: int = 10
    scheduled: int = 0
    paced: int = 0

    def options(self) -> Figures:
        """Its keyword arguments."""
        return {name: value for name, value in vars(self).items() if name != "made_up"}


@dataclass(frozen=True)
class Waiting:
    """What ``waiting.drained`` is asked for: the drain takes some seconds, whatever the slots."""

    function: ClassVar[str] = "waiting.drained"
    made_up: ClassVar[int] = 0
    slots: int
    count: int

    def options(self) -> Figures:
        """Its keyword arguments."""
        return vars(self).copy()


@dataclass(frozen=True)
class Curve:
    """The loads along it by what stands at the axis, and the figures that are drawn."""

    along: str
    points: Mapping[str, Load | Waiting]
    shown: Sequence[str]


CURVES = (
    Curve("worker processes", {"1": Load(processes=1), "2": Load(paced=40), "4": Load(processes=4)}, (DRAIN,)),
    Curve(
        "arguments",
        {
            "10 B": Load(paced=40),
            "1 KiB": Load(size=1_024),
            "64 KiB": Load(size=65_536, single=200, many=1_000, call=100),
        },
        (DRAIN, SINGLE, MANY),
    ),
    Curve("scheduled jobs", {"0": Load(paced=40), "100k": Load(paced=40, scheduled=100_000)}, (DRAIN, SINGLE, START)),
    Curve(
        "async jobs at once",
        {
            "1": Waiting(1, 400),
            "10": Waiting(10, 4_000),
            "100": Waiting(100, 20_000),
            "1,000": Waiting(1_000, 40_000),
        },
        WAITING,
    ),
)
RECORDS = Curve("records", {"10k": Load(10_000), "1M": Load(1_000_000)}, (DRAIN, SINGLE, MANY))
