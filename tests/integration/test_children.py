"""A supervisor's worker processes, on a host that has no room for another."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import NoReturn

import pytest

from handlers.rq_transport import children as module
from handlers.rq_transport.children import Child, Children
from handlers.rq_transport.lifetime import ENDLESS
from tests.processes import wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.once]


@pytest.fixture
def ended() -> list[Child]:
    return []


@pytest.fixture
def children(ended: list[Child], monkeypatch: pytest.MonkeyPatch) -> Iterator[Children]:
    """One is wanted, and ends at once."""

    def serve(*_: object, **__: object) -> NoReturn:
        os._exit(0)

    def on_change(child: Child | None) -> None:
        if child is not None:
            ended.append(child)

    monkeypatch.setattr(module, "serve", serve)
    yield (
        made := Children(
            ["default"], max_async=1, threads=1, count=1, weights=None, lifetime=ENDLESS, on_change=on_change
        )
    )
    for child in made:
        os.waitpid(child.pid, 0)


def test_process_that_cannot_be_started_is_started_later_and_its_supervisor_lives(
    children: Children, ended: list[Child], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tries = []

    def fork() -> NoReturn:
        tries.append(1)
        raise BlockingIOError("Resource temporarily unavailable")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fork", fork)
        children.spawn_missing({})
        children.spawn_missing({})
    assert (len(children), len(tries)) == (0, 1), "it pauses"
    assert "Resource temporarily unavailable" in caplog.text
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, [])

    def started() -> bool:
        children.spawn_missing({})
        return len(children) == 1

    def reaped() -> bool:
        children.reap()
        return bool(ended)

    wait_for("it is started", started)
    children.wanted = 0
    wait_for("it is reaped", reaped)


@pytest.fixture
def told(children: Children) -> Iterator[list[list[int]]]:
    """The processes that a stop finds, as a supervisor takes it."""
    found = []

    def on_stop(*_: object) -> None:
        children.wanted = 0
        found.append([child.pid for child in children])

    before = signal.signal(signal.SIGTERM, on_stop)
    yield found
    signal.signal(signal.SIGTERM, before)


def test_stop_that_comes_as_a_process_is_started_finds_it(
    children: Children, told: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    fork = os.fork

    def stopped_fork() -> int:
        signal.raise_signal(signal.SIGTERM)
        return fork()

    monkeypatch.setattr(os, "fork", stopped_fork)
    children.spawn_missing({})
    [child] = children
    assert told == [[child.pid]]


def test_stop_that_comes_just_before_a_process_is_started_is_obeyed(
    children: Children, told: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "reset_connections", lambda: signal.raise_signal(signal.SIGTERM))
    children.spawn_missing({})
    assert (list(children), told) == ([], [[]])
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
