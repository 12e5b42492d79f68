"""Who may ask the API for what: tokens, scopes, rates, and requests that are none."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.conf import settings
from django.contrib.auth.models import User
from django.core.asgi import get_asgi_application
from django.db import OperationalError
from django.test import Client
from django.utils import timezone

from handlers import InvalidJob
from handlers.api import clients
from handlers.api.clients import create_client, find_client, revoke_client
from handlers.models import ApiClient, AuditEntry, JobRecord
from handlers.registry import registry
from handlers.states import State
from tests.api.conftest import Caller, problem
from tests.console.factories import make_job

pytestmark = pytest.mark.django_db(transaction=True)
Make = Callable[..., Caller]
NOTE = {"type": "app.Note", "payload": {"text": "hello"}}


def test_token_is_kept_as_its_hash_alone() -> None:
    client, token = create_client("billing", verbs=["read"], by="a test")
    row = ApiClient.objects.get()
    assert row.digest == hashlib.sha256(token.encode()).hexdigest()
    assert token not in str(vars(row))
    assert token not in str([vars(entry) for entry in AuditEntry.objects.all()])
    assert find_client(token) == client
    assert find_client(token[:-1] + ("a" if token[-1] != "a" else "b")) is None
    assert find_client("") is None


@pytest.mark.parametrize(
    ("field", "options"),
    [
        ("name", {"name": "Billing"}),
        ("name", {"name": ""}),
        ("verbs", {"verbs": []}),
        ("verbs", {"verbs": ["everything"]}),
        ("queues", {"queues": ["nobodys"]}),
        ("types", {"types": ["no type"]}),
        ("rate_per_minute", {"rate_per_minute": 0}),
        ("expires_at", {"expires_at": timezone.now() - timedelta(days=1)}),
        ("expires_at", {"expires_at": timezone.now().replace(tzinfo=None)}),
    ],
)
def test_client_of_what_does_not_fit_is_refused(field: str, options: dict[str, object]) -> None:
    with pytest.raises(InvalidJob) as refused:
        create_client(**{"name": "billing", "verbs": ["read"], **options})  # type: ignore[arg-type]
    assert refused.value.field == field
    assert not ApiClient.objects.exists()


def test_name_of_a_client_is_taken_for_good() -> None:
    client, _ = create_client("billing", verbs=["read"])
    revoke_client(client.pk)
    with pytest.raises(InvalidJob, match="there is a client"):
        create_client("billing", verbs=["read"])


def test_request_without_a_valid_token_is_refused(caller: Make, caplog: pytest.LogCaptureFixture) -> None:
    _, token = create_client("billing", verbs=["read"])
    caplog.set_level(logging.DEBUG)
    for sent in (None, "", "jobs_000000000000_" + "a" * 43, token + "x"):
        told = problem(Caller(sent).get("/jobs"), 401)
        assert "Authorization" in told["mend"]
    answer = Caller(None).get("/jobs", Authorization=f"Token {token}")
    problem(answer, 401)
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert token not in caplog.text


def test_session_of_a_person_opens_nothing() -> None:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    problem(Caller(None, client).get("/jobs"), 401)


def test_request_needs_no_csrf_token(caller: Make) -> None:
    ask = Caller(caller().token, Client(enforce_csrf_checks=True))
    assert ask.post("/jobs", NOTE).status_code == 201


def test_revoked_or_expired_token_opens_nothing(caller: Make) -> None:
    ask = caller("read", name="billing")
    assert ask.get("/jobs").status_code == 200
    client = ApiClient.objects.get()
    assert client.used_at is not None
    assert revoke_client(client.pk, by="a test") is True
    assert revoke_client(client.pk) is False
    assert "revoked" in problem(ask.get("/jobs"), 401)["detail"]
    ask = caller("read", name="other", expires_at=timezone.now() + timedelta(hours=1))
    assert ask.get("/jobs").status_code == 200
    ApiClient.objects.filter(name="other").update(expires_at=timezone.now() - timedelta(seconds=1))
    clients.forget()
    assert "expired" in problem(ask.get("/jobs"), 401)["detail"]


@pytest.mark.parametrize(
    ("verb", "method", "path", "body"),
    [
        ("enqueue", "POST", "/jobs", NOTE),
        ("schedule", "POST", "/jobs", {**NOTE, "run_at": "2030-01-01T00:00:00Z"}),
        ("read", "GET", "/jobs", None),
        ("read", "GET", "/jobs/{id}", None),
        ("delete", "DELETE", "/jobs/{id}", None),
        ("retry", "POST", "/jobs/{id}/retry", None),
        ("requeue", "POST", "/jobs/{id}/requeue", None),
        ("restore", "POST", "/jobs/{id}/restore", None),
        ("move", "POST", "/jobs/{id}/move", {"queue": "mail"}),
        ("signal", "POST", "/jobs/{id}/signal", {"name": "approval"}),
        ("bulk", "POST", "/bulk", {"verb": "retry", "q": "state:failed"}),
        ("recurring", "PUT", "/recurring/x", {"type": "app.Note", "payload": {"text": "a"}, "every_seconds": 60}),
        ("workflows", "POST", "/workflows/1/cancel", None),
        ("failures", "POST", "/failures/abc/resolve", None),
        ("read", "GET", "/types", None),
        ("read", "GET", "/failures", None),
    ],
)
def test_verb_that_the_scope_lacks_is_refused(caller: Make, verb: str, method: str, path: str, body: object) -> None:
    job = make_job(State.FAILED)
    told = problem(caller("sensitive")(method, path.format(id=job.pk), body), 403)
    assert repr(verb) in told["detail"]
    job.refresh_from_db()
    assert job.state == State.FAILED
    assert JobRecord.objects.count() == 1


def test_token_for_some_types_and_queues_knows_of_no_others(caller: Make) -> None:
    mine = make_job(State.FAILED, queue="mail")
    others = [make_job(State.FAILED), make_job(State.FAILED, job_type="app.Sleep", queue="mail")]
    ask = caller(types=["app.Note"], queues=["mail"])
    assert [job["id"] for job in ask.get("/jobs").json()["jobs"]] == [mine.pk]
    assert ask.get("/jobs?type=app.Sleep").json() == {"jobs": [], "next": None}
    for other in others:
        problem(ask.get(f"/jobs/{other.pk}"), 404)
        problem(ask.post(f"/jobs/{other.pk}/retry"), 404)
    assert ask.get(f"/jobs/{mine.pk}").status_code == 200
    problem(ask.post("/jobs", NOTE), 403)  # on the type's own queue
    assert ask.post("/jobs", {**NOTE, "queue": "mail"}).status_code == 201
    problem(ask.post("/jobs/batch", {"jobs": [NOTE]}), 403)
    problem(ask.post(f"/jobs/{mine.pk}/move", {"queue": "default"}), 403, "queue")
    problem(ask.get("/workflows"), 403)
    problem(ask.get("/failures"), 403)
    problem(ask.post("/failures/abc/resolve"), 403)
    assert [known["name"] for known in ask.get("/types").json()["types"]] == ["app.Note"]
    bulk = ask.post("/bulk", {"verb": "delete"})
    assert (bulk.status_code, bulk.json()["count"]) == (201, 2)


@pytest.mark.redis
def test_client_that_asks_too_often_is_told_when_to_come_again(caller: Make) -> None:
    ask = caller("read", rate_per_minute=2)
    first = ask.get("/jobs")
    assert (first.status_code, first.headers["RateLimit-Limit"], first.headers["RateLimit-Remaining"]) == (
        200,
        "2",
        "1",
    )
    assert ask.get("/jobs").headers["RateLimit-Remaining"] == "0"
    refused = ask.get("/jobs")
    problem(refused, 429)
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert refused.headers["RateLimit-Remaining"] == "0"
    assert caller("read", rate_per_minute=2).get("/jobs").status_code == 200  # another client


def test_rate_holds_in_each_process_while_redis_is_away(caller: Make, settings: object) -> None:
    settings.JOBS = {"REDIS_URL": "unix:///nowhere/at/all.sock"}  # type: ignore[attr-defined]
    ask = caller("read", rate_per_minute=1)
    assert ask.get("/jobs").status_code == 200
    problem(ask.get("/jobs"), 429)


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"type=app.Note", "application/x-www-form-urlencoded", 415),
        (b"{}", "text/plain", 415),
        (b"{}", "application/json; charset=latin-1", 415),
        (b"{", "application/json", 400),
        (b'{"type": "app.Note", "payload": {"text": "\xff"}}', "application/json", 400),
        (b'{"type": "app.Note", "priority": NaN}', "application/json", 400),
        (b'{"type": "app.Note", "type": "app.Pay"}', "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b'{"type": "app.Note", "priority": 1' + b"0" * 5_000 + b"}", "application/json", 400),
        (b" " * 1_200_000, "application/json", 413),
    ],
)
def test_body_that_cannot_be_read_is_told(caller: Make, body: bytes, kind: str, status: int) -> None:
    problem(caller().post("/jobs", body, Content_Type=kind), status)
    assert not JobRecord.objects.exists()


def test_address_or_method_of_nothing_is_told(caller: Make) -> None:
    ask = caller()
    problem(ask.get("/nothing/here"), 404)
    problem(ask.get("/"), 404)
    answer = ask("PATCH", "/jobs")
    problem(answer, 405)
    assert {*answer.headers["Allow"].split(", ")} == {"GET", "POST"}


def test_site_without_django_ninja_starts_and_is_told_where_it_mounts_the_api() -> None:
    script = """
import sys
sys.modules["ninja"] = None
import django
django.setup()
import dashboard.clients.pages, handlers.api.clients
from django.core.exceptions import ImproperlyConfigured
try:
    import handlers.api.urls
except ImproperlyConfigured as error:
    print(error)
"""
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=settings.BASE_DIR)
    assert done.returncode == 0, done.stderr
    assert 'pip install "jobsite[api]"' in done.stdout


def test_database_that_says_nothing_is_told(caller: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OperationalError

    monkeypatch.setattr(registry, "all", fail)
    problem(caller().get("/types"), 503)


def test_failure_of_ours_is_told_without_its_words(caller: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("the secret")

    monkeypatch.setattr(registry, "all", fail)
    answer = caller().get("/types")
    problem(answer, 500)
    assert b"secret" not in answer.content


def test_body_in_chunks_is_looked_at_as_any_other(caller: Make) -> None:
    token = caller().token

    @async_to_sync
    async def post(content: bytes, kind: str) -> int:
        chunks, sent = [content[: len(content) // 2], content[len(content) // 2 :]], []

        async def receive() -> dict[str, object]:
            if not chunks:
                await asyncio.sleep(60)
            return {"type": "http.request", "body": chunks.pop(0), "more_body": bool(chunks)}

        async def send(message: Mapping[str, Any]) -> None:
            sent.append(message)

        headers = {"authorization": f"Bearer {token}", "content-type": kind, "transfer-encoding": "chunked"}
        scope = {
            "type": "http", "http_version": "1.1", "method": "POST", "path": "/api/v1/jobs", "query_string": b"",
            "headers": [(b"host", b"testserver"), *((name.encode(), text.encode()) for name, text in headers.items())],
        }  # fmt: skip
        await get_asgi_application()(scope, receive, send)
        return int(sent[0]["status"])

    body = json.dumps(NOTE).encode()
    assert post(body, "text/plain") == 415
    assert post(body + b" " * 1_200_000, "application/json") == 413
    assert post(body, "application/json") == 201


def test_body_in_chunks_that_the_server_does_not_pass_on_is_told(caller: Make) -> None:
    problem(caller().post("/jobs", b"", Transfer_Encoding="chunked"), 400, "Content-Length")
