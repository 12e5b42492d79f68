"""A signal interrupts a command, and the next command gets its own answer: on any connection of ours."""

from __future__ import annotations

import contextlib
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import override_settings
from redis import Redis
from redis.connection import AbstractConnection

from handlers.rq_transport import connections, own_connection
from tests.sentinels import Watched, watched

pytestmark = [pytest.mark.redis, pytest.mark.once]

SOON, LATE = 0.05, 0.2  # seconds: the interruption, the answer


class Interrupted(BaseException):
    """As SystemExit and KeyboardInterrupt, no Exception."""


@contextlib.contextmanager
def interrupted() -> Iterator[None]:
    """A signal raises inside, soon."""

    def stop(*_: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, SOON)
    try:
        with pytest.raises(Interrupted):
            yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def servers() -> Iterator[Watched]:
    """Master, replica and Sentinel."""
    with tempfile.TemporaryDirectory(prefix="jobsite-test-") as folder, watched(Path(folder)) as servers:
        yield servers


@pytest.fixture(params=["through Sentinel", "on a unix socket", "over TCP"])
def place(request: pytest.FixtureRequest, redis_server: str, servers: Watched) -> Iterator[None]:
    """Settings that name the server in one way or another."""
    urls = {"on a unix socket": redis_server, "over TCP": f"redis://127.0.0.1:{servers.first}/0"}
    url = urls.get(request.param, servers.url)
    with override_settings(JOBS=settings.JOBS | {"REDIS_URL": url}):
        yield
    connections.reset_connections()


@pytest.fixture(params=["shared", "own"])
def client(request: pytest.FixtureRequest, place: None) -> Redis:
    """The process's client, or the thread's."""
    return connections.redis_connection() if request.param == "shared" else own_connection.own_connection()


def slow(client: Redis) -> None:
    client.blpop(["nothing"], LATE)


def slow_pipeline(client: Redis) -> None:
    with client.pipeline(transaction=False) as pipe:
        pipe.echo("a")
        pipe.blpop(["nothing"], LATE)
        pipe.echo("b")
        pipe.execute()


def transaction(client: Redis) -> None:
    with client.pipeline() as pipe:
        pipe.echo("a")
        pipe.echo("b")
        pipe.execute()


@pytest.mark.parametrize("act", [slow, slow_pipeline])
def test_interrupted_command_leaves_no_answer_behind(client: Redis, act: Callable[[Redis], None]) -> None:
    assert client.echo("before") == b"before"
    with interrupted():
        act(client)
    assert [client.echo(str(number)) for number in range(3)] == [b"0", b"1", b"2"]


@pytest.mark.parametrize("act", [lambda client: client.echo("a"), slow_pipeline, transaction])
def test_interrupted_between_sending_and_reading_leaves_no_answer_behind(
    client: Redis, act: Callable[[Redis], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert client.echo("before") == b"before"
    with monkeypatch.context() as patch:
        patch.setattr(AbstractConnection, "read_response", _interrupt)
        patch.setattr("redis.sentinel.SentinelManagedConnection.read_response", _interrupt)
        with pytest.raises(Interrupted):
            act(client)
    assert [client.echo(str(number)) for number in range(3)] == [b"0", b"1", b"2"]


def test_interrupted_greeting_leaves_no_half_open_connection(place: None, monkeypatch: pytest.MonkeyPatch) -> None:
    client = connections.redis_connection()
    with monkeypatch.context() as patch:
        patch.setattr(AbstractConnection, "on_connect_check_health", _interrupt)
        with pytest.raises(Interrupted):
            client.echo("x")
    assert [client.echo(str(number)) for number in range(3)] == [b"0", b"1", b"2"]


def _interrupt(*_: Any, **__: Any) -> None:
    raise Interrupted
