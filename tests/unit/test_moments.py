"""What a process says of past moments: the same each time, until a clock is set."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from handlers.rq_transport import moments
from handlers.rq_transport.moments import Moments

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


class Clocks:
    """The database's and the process's, each set by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.database, self.own = NOW, 1000.0
        monkeypatch.setattr(moments, "database_now", lambda connection: self.database)
        monkeypatch.setattr(time, "monotonic", lambda: self.own)

    def pass_by(self, seconds: float, *, drift: float = 0.0) -> None:
        self.own += seconds
        self.database += timedelta(seconds=seconds + drift)


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    return Clocks(monkeypatch)


def test_a_moment_stays_the_same_while_the_clocks_drift(clocks: Clocks) -> None:
    said = Moments()
    said.now()
    assert said.at(990.0) == NOW - timedelta(seconds=10)
    for drift in (0.000001, -0.000003, 0.2):
        clocks.pass_by(60, drift=drift)
        said.now()
        assert said.at(990.0) == NOW - timedelta(seconds=10)


def test_a_clock_that_was_set_is_followed(clocks: Clocks) -> None:
    said = Moments()
    said.now()
    clocks.pass_by(5, drift=-3600)
    said.now()
    assert said.at(990.0) == NOW - timedelta(seconds=3610)


def test_no_past_moment_lies_ahead(clocks: Clocks) -> None:
    said = Moments()
    said.now()
    clocks.pass_by(5, drift=-0.5)
    assert said.at(clocks.own) == NOW
    now = said.now()
    assert said.at(clocks.own) == now == clocks.database
