"""Limits on slow pages: one person and all together have so many at once, over every process, and are told in words."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from django.utils import timezone

from dashboard.jobs import export
from handlers import turns
from handlers.models import AuditEntry, BulkOperation, JobPayload, JobRecord, Turn
from handlers.states import State
from tests.console.conftest import OPERATES, MakeUser, logged_in
from tests.console.factories import make_job
from tests.processes import wait_for
from tests.servers import free_port, web

pytestmark = pytest.mark.django_db
URL = "/admin/jobs/export/"


@pytest.fixture
def viewers(make_user: MakeUser) -> list[Client]:
    return [logged_in(make_user(name, "view_jobrecord")) for name in ("vera", "viktor", "viola")]


def begin(client: Any) -> Any:
    """An export that goes on: its answer, of which a part was read."""
    answer = client.get(URL)
    if answer.status_code == 200:
        next(answer._iterator)
    return answer


def leave(answer: Any) -> None:
    """Stop reading: what the server does then."""
    answer._iterator.close()


def test_exports_are_limited_for_one_person_and_for_all(viewers: list[Client]) -> None:
    make_job()
    vera, viktor, viola = viewers
    going = [begin(vera), begin(vera)]
    refused = begin(vera)
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "30")
    assert "2 exports are under way, yours" in refused.content.decode()
    going.append(begin(viktor))
    refused = begin(viola)
    assert refused.status_code == 429
    assert "3 exports are under way, by vera, viktor: all together" in refused.content.decode()
    leave(going[0])
    list(going[2]._iterator)  # this one is read to its end
    going.append(begin(viola))
    assert going[-1].status_code == 200
    for answer in going:
        leave(answer)
    assert not Turn.objects.exists()


def test_limits_are_settings(viewers: list[Client], settings: Any) -> None:
    make_job()
    settings.CONSOLE_SLOW_EACH = 1
    first = begin(viewers[0])
    assert begin(viewers[0]).status_code == 429
    leave(first)


def test_place_of_a_process_that_died_is_free_after_its_lease(viewers: list[Client]) -> None:
    make_job()
    going = [begin(viewers[0]), begin(viewers[0])]
    Turn.objects.update(until=timezone.now() - timedelta(seconds=1))
    going.append(begin(viewers[0]))
    assert going[-1].status_code == 200
    for answer in going:
        leave(answer)


def test_place_is_kept_while_rows_go_out_and_an_export_that_lost_it_ends(
    viewers: list[Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "RENEW_SECONDS", 0.0)
    monkeypatch.setattr(export, "CHUNK", 1)
    for _ in range(4):
        make_job()
    answer = begin(viewers[0])
    Turn.objects.update(until=timezone.now() + timedelta(seconds=9))
    lines = answer._iterator
    next(lines)
    next(lines)
    assert all(turn.until > timezone.now() + timedelta(minutes=4) for turn in Turn.objects.all())
    Turn.objects.all().delete()
    assert len(list(lines)) < 2, "the rest is not sent"


def test_place_is_held_for_long_only_once_lines_go_out(viewers: list[Client]) -> None:
    make_job(), make_job()
    answer: Any = viewers[0].get(URL)  # and its reader may be gone already
    assert all(turn.until < timezone.now() + timedelta(minutes=1) for turn in Turn.objects.all())
    next(answer._iterator), next(answer._iterator)
    assert all(turn.until > timezone.now() + timedelta(minutes=4) for turn in Turn.objects.all())
    leave(answer)


def test_export_that_is_refused_or_fails_leaves_no_place_taken(
    viewers: list[Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert viewers[0].get(f"{URL}?state=gone").status_code == 400
    monkeypatch.setattr(export, "time_limit", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        viewers[0].get(URL)
    assert not Turn.objects.exists()


def test_count_of_every_job_has_its_turn(make_user: MakeUser, monkeypatch: pytest.MonkeyPatch) -> None:
    user = make_user("olga", *OPERATES, "run_bulkoperation")
    make_job()
    held = [turns.take("count", str(user.pk), "olga", each=2, most=3) for _ in range(2)]
    url = "/admin/bulk/new/?verb=retry"
    answer = logged_in(user).post(url, {"confirm_count": "1"})
    assert "2 counts are under way, yours" in answer.content.decode()
    assert not BulkOperation.objects.exists()
    held[0].give_back()
    assert logged_in(user).post(url, {"confirm_count": "1"}).status_code == 302
    assert Turn.objects.count() == 2  # those of the one that is still held


@pytest.fixture
def server(child_env: dict[str, str]) -> Iterator[int]:
    """The port of a real web server: one process with four threads."""
    port = free_port()
    command = ("gunicorn", "--bind", f"127.0.0.1:{port}", "--threads", "4", "jobsite.wsgi")
    with web(*command, port=port, env=child_env):
        yield port


@pytest.mark.redis
@pytest.mark.django_db(transaction=True)
def test_eight_exports_of_a_viewer_leave_the_others_their_pages(make_user: MakeUser, server: int) -> None:
    start = timezone.now()
    rows = [
        JobRecord(state=State.SUCCEEDED, token="t", job_type="app.Note", queue="default", created_at=start)
        for _ in range(1_500)
    ]
    JobRecord.objects.bulk_create(rows)
    big = {"text": "x" * 10_000}  # more than the sockets between hold
    JobPayload.objects.bulk_create(JobPayload(job=row, data=big) for row in rows)
    cookie = settings.SESSION_COOKIE_NAME
    sessions = {name: logged_in(make_user(name, "view_jobrecord")).cookies[cookie].value for name in ("vera", "viktor")}

    def ask(path: str, name: str) -> socket.socket:
        made = socket.create_connection(("127.0.0.1", server), timeout=60)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {cookie}={sessions[name]}\r\n"
        made.sendall(f"{head}Connection: close\r\n\r\n".encode())
        return made

    asked = [ask(URL, "vera") for _ in range(8)]  # and nobody reads what comes
    told = sorted(connection.recv(12).decode() for connection in asked)
    assert told == ["HTTP/1.1 200"] * 2 + ["HTTP/1.1 429"] * 6
    began = time.monotonic()
    for path in ("/healthz", "/admin/"):
        with ask(path, "viktor") as answer:
            assert answer.recv(12) == b"HTTP/1.1 200"
    assert time.monotonic() - began < 20, "and not when the exports have ended"
    for connection in asked:
        connection.close()
    wait_for("their places are free", lambda: not Turn.objects.exists())
    # What the server writes last: afterwards another test has the database.
    wait_for("the audit says that both have ended", lambda: AuditEntry.objects.filter(verb="exported").count() == 2)
