"""The export from an ASGI server: sent as it is made, one turn each, and over when its reader leaves."""

from __future__ import annotations

import gc
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from threading import Event
from typing import Any, NamedTuple

import pytest
from django.conf import settings
from django.contrib import admin
from django.db import connections
from django.test import RequestFactory
from django.utils import timezone

from dashboard.jobs import export
from handlers.models import AuditEntry, JobPayload, JobRecord, Turn
from handlers.states import State
from tests.console.conftest import MakeUser, logged_in
from tests.processes import wait_for
from tests.servers import free_port, web

pytestmark = [pytest.mark.redis, pytest.mark.django_db(transaction=True)]
JOBS = 1_500
BIG = {"text": "x" * 10_000}  # all of them are more than the sockets between hold


class Server(NamedTuple):
    """A real ASGI server."""

    port: int
    log: Path


@pytest.fixture
def server(child_env: dict[str, str], tmp_path: Path) -> Iterator[Server]:
    port, log = free_port(), tmp_path / "uvicorn.log"
    command = ("uvicorn", "--port", str(port), "--lifespan", "off", "jobsite.asgi:application")
    with web(*command, port=port, env=child_env, log=log):
        yield Server(port, log)


@pytest.fixture
def ask(make_user: MakeUser, server: Server) -> Iterator[Callable[[], socket.socket]]:
    """Asks for the export of all jobs, as one person, and reads nothing yet."""
    start = timezone.now()
    rows = [
        JobRecord(state=State.SUCCEEDED, token="t", job_type="app.Note", queue="default", created_at=start)
        for _ in range(JOBS)
    ]
    JobRecord.objects.bulk_create(rows)
    JobPayload.objects.bulk_create(JobPayload(job=row, data=BIG) for row in rows)
    cookie = settings.SESSION_COOKIE_NAME
    session = logged_in(make_user("vera", "view_jobrecord")).cookies[cookie].value
    made: list[socket.socket] = []

    def asked() -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", server.port), timeout=60)
        head = f"GET /admin/jobs/export/?format=json HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {cookie}={session}\r\n"
        connection.sendall(f"{head}Connection: close\r\n\r\n".encode())
        made.append(connection)
        return connection

    yield asked
    for connection in made:
        connection.close()


def until(connection: socket.socket, end: bytes) -> bytes:
    """What comes up to ``end``."""
    read = b""
    while end not in read and (part := connection.recv(65_536)):
        read += part
    return read


def test_export_is_sent_as_it_is_made(ask: Callable[[], socket.socket], server: Server) -> None:
    connection = ask()
    read = until(connection, b'{"id": ')
    assert read.startswith(b"HTTP/1.1 200")
    assert Turn.objects.exists(), "the first job has come, and the last is not made"
    assert not AuditEntry.objects.filter(verb="exported").exists()
    while part := connection.recv(1 << 20):
        read += part
    assert read.count(b'"state": "succeeded"') == JOBS
    (ended,) = wait_for("the audit says that it has ended", lambda: _ended(1))
    assert ended == (JOBS, True)
    assert not Turn.objects.exists()
    assert "must consume" not in server.log.read_text()


def test_reader_who_leaves_ends_the_export_and_gives_the_turn_back(ask: Callable[[], socket.socket]) -> None:
    asked = [ask(), ask(), ask()]
    told = [until(connection, b"\r\n\r\n")[:12] for connection in asked]
    assert sorted(told) == [b"HTTP/1.1 200"] * 2 + [b"HTTP/1.1 429"]
    for connection in asked:
        connection.close()
    wait_for("their places are free", lambda: not Turn.objects.exists())
    ended = wait_for("both are over", lambda: _ended(2))
    assert all(count < JOBS and not is_whole for count, is_whole in ended)


def test_reader_who_leaves_before_the_first_job_is_told_of_too(make_user: MakeUser) -> None:
    response: Any = logged_in(make_user("vera", "view_jobrecord")).get("/admin/jobs/export/?format=json")
    response.close()
    assert _ended(1) == [(0, False)]
    assert not Turn.objects.exists()


def test_reader_who_leaves_while_a_portion_is_made_ends_it_at_once(
    make_user: MakeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go = Event(), Event()

    def slow(*_: Any) -> Iterator[dict[str, Any]]:
        begun.set()
        assert go.wait(60)
        while True:
            yield dict.fromkeys(export.COLUMNS)

    monkeypatch.setattr(export, "rows", slow)
    monkeypatch.setattr(export, "PORTION", 1)
    response: Any = logged_in(make_user("vera", "view_jobrecord")).get("/admin/jobs/export/?format=json")
    parts = response.streaming_content  # held, as by the traceback of what ended its reader's request

    def make() -> bytes:
        try:
            return bytes(response.portion(parts))
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as threads:
        made = threads.submit(make)
        assert begun.wait(60)
        response.close()
        go.set()
        assert made.result() == b""
    assert _ended(1) == [(0, False)]
    assert not Turn.objects.exists()


def test_file_that_is_dropped_half_sent_asks_the_database_for_nothing(
    make_user: MakeUser, django_assert_num_queries: Callable[[int], AbstractContextManager[Any]]
) -> None:
    row = {"state": State.SUCCEEDED, "token": "t", "job_type": "app.Note", "queue": "default"}
    JobRecord.objects.create(**row, created_at=timezone.now())
    request = RequestFactory().get("/admin/jobs/export/?format=json")
    request.user = make_user("vera", "view_jobrecord")
    response: Any = export.export(admin.site, request)  # the test client would close it
    assert next(iter(response))
    gc.collect()  # what others have dropped, and may be closed by that
    with django_assert_num_queries(0):  # it may be collected in the middle of another statement
        del response
        gc.collect()


def _ended(number: int) -> list[tuple[int, bool]]:
    """How many jobs each export that has ended sent, and whether those were all; empty before ``number`` ended."""
    rows = AuditEntry.objects.filter(verb="exported").values_list("count", "data")
    found = [(count, bool(data and data["whole"])) for count, data in rows]
    return found if len(found) == number else []
