"""A scheduler's duties, each with its own turns and failures."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
from django.db import DatabaseError, DataError, OperationalError, ProgrammingError

from handlers import execution
from handlers.exceptions import TransportRefuses, TransportUnavailable
from handlers.rq_transport import duties as module
from handlers.rq_transport import outages
from handlers.rq_transport.duties import Duties

pytestmark = pytest.mark.django_db


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(outages, "time", clock)
    monkeypatch.setattr(execution, "database_answers", lambda: True)
    return clock


@pytest.fixture
def lost() -> list[None]:
    """One entry for each time that Redis was found to be away."""
    return []


@pytest.fixture
def duties(clock: Clock, lost: list[None]) -> Duties:
    return Duties(logging.getLogger(__name__), on_server_lost=lambda: lost.append(None), after_each=lambda: None)


def failing(error: Exception) -> Callable[[], int]:
    def act() -> int:
        raise error

    return act


def test_duty_has_its_turn_each_so_many_seconds(duties: Duties, clock: Clock) -> None:
    assert [duties.turn("a", 5, lambda: 7) for _ in range(2)] == [7, 0]
    assert duties.seconds_until_turn() == 5
    clock.now += 4
    assert (duties.turn("a", 5, lambda: 7), duties.turn("b", 5, lambda: 8)) == (0, 8)
    assert duties.seconds_until_turn() == 1
    clock.now += 1
    assert duties.turn("a", 5, lambda: 7) == 7
    duties.again_in("a", 0.5)
    assert duties.seconds_until_turn() == 0.5


def test_duty_that_fails_pauses_alone_and_is_told_until_it_works(duties: Duties, clock: Clock) -> None:
    for _ in range(8):
        assert duties.turn("a", 0, failing(ProgrammingError("permission denied for table t\nLINE 1: secret"))) == 0
        clock.now += 0.01
        assert duties.turn("a", 0, lambda: 1) == 0, "not yet"
        assert duties.turn("b", 0, lambda: 1) == 1
        clock.now += 1
    assert duties.troubles() == [("a", 100.0, "ProgrammingError: permission denied for table t")]
    assert [duties.have_changed() for _ in range(2)] == [True, False]
    assert duties.turn("a", 0, lambda: 1) == 1
    assert duties.troubles() == []
    assert duties.have_changed()


@pytest.mark.parametrize("error", [DataError("value too long: secret"), ValueError("secret")])
def test_what_may_quote_a_value_is_not_told(duties: Duties, error: Exception) -> None:
    duties.turn("a", 0, failing(error))
    [trouble] = duties.troubles()
    assert trouble.reason == f"{type(error).__name__}: the scheduler's log says more"


def test_database_that_is_away_stops_them_all(duties: Duties, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "database_answers", lambda: False)
    with pytest.raises(DatabaseError):
        duties.turn("a", 0, failing(OperationalError("gone")))
    assert duties.troubles() == []


def test_redis_that_is_away_stops_those_that_need_it_until_one_of_them_works(
    duties: Duties, clock: Clock, lost: list[None], caplog: pytest.LogCaptureFixture
) -> None:
    away = failing(TransportUnavailable("Redis is away"))
    for _ in range(3):
        duties.turn("a", 0, away, needs_server=True)
        assert duties.turn("b", 0, lambda: 1, needs_server=True) == 0, "not asked in vain"
        assert duties.turn("c", 0, lambda: 1) == 1
        clock.now += 2
    assert len(lost) == 3
    assert [(what, reason) for what, _, reason in duties.troubles()] == [
        ("queue server", "TransportUnavailable: Redis is away")
    ]
    assert duties.turn("b", 0, lambda: 1, needs_server=True) == 1
    assert [trouble.what for trouble in duties.troubles()] == ["queue server"], "b may not have asked it"
    assert duties.turn("a", 0, lambda: 1, needs_server=True) == 1
    assert duties.troubles() == []
    assert [record.getMessage() for record in caplog.records] == [
        "queue server: Redis is away; trying again",
        "queue server: works again after 6.0 s",
    ]


def test_redis_that_takes_nothing_holds_up_only_what_it_refuses(duties: Duties, lost: list[None]) -> None:
    assert duties.turn("a", 0, failing(TransportRefuses("Redis is full")), needs_server=True) == 0
    assert duties.turn("b", 0, lambda: 1, needs_server=True) == 1
    assert duties.troubles() == [("a", 100.0, "TransportRefuses: Redis is full")]
    assert lost == []
