"""A request that is sent twice has its effect once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import DEFAULT_DB_ALIAS, OperationalError, connection, connections
from django.utils import timezone

from handlers import once
from handlers.api import answers, jobs
from handlers.models import ApiAnswer, AuditEntry, JobRecord
from tests.api.conftest import Caller, problem

pytestmark = pytest.mark.django_db(transaction=True)
Make = Callable[..., Caller]
NOTE = {"type": "app.Note", "payload": {"text": "hello"}}
KEY = "4c9b4f0e-order-7"


def test_same_request_with_the_same_key_has_the_same_answer(caller: Make) -> None:
    ask = caller()
    first = ask.post("/jobs", NOTE, Idempotency_Key=KEY)
    second = ask.post("/jobs", NOTE, Idempotency_Key=KEY)
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert first.headers["Location"] == second.headers["Location"]
    assert second.headers["Idempotency-Replayed"] == "true"
    assert JobRecord.objects.count() == AuditEntry.objects.filter(verb="enqueue").count() == 1


def test_another_request_with_the_same_key_is_refused(caller: Make) -> None:
    ask = caller()
    ask.post("/jobs", NOTE, Idempotency_Key=KEY)
    other = {**NOTE, "payload": {"text": "other"}}
    problem(ask.post("/jobs", other, Idempotency_Key=KEY), 422, "Idempotency-Key")
    problem(ask.post("/jobs/batch", {"jobs": [NOTE]}, Idempotency_Key=KEY), 422, "Idempotency-Key")
    assert JobRecord.objects.count() == 1
    assert caller().post("/jobs", NOTE, Idempotency_Key=KEY).status_code == 201  # another client's key
    assert JobRecord.objects.count() == 2


def test_request_that_did_nothing_leaves_its_key_unused(caller: Make) -> None:
    ask = caller()
    problem(ask.post("/jobs", {"type": "app.Note"}, Idempotency_Key=KEY), 422, "payload.text")
    assert not ApiAnswer.objects.exists()
    assert ask.post("/jobs", NOTE, Idempotency_Key=KEY).status_code == 201


@pytest.mark.parametrize("key", ["", "a" * 256, "a\tb"])
def test_key_that_is_none_is_refused(caller: Make, key: str) -> None:
    problem(caller().post("/jobs", NOTE, Idempotency_Key=key), 422, "Idempotency-Key")


def test_key_is_free_again_after_its_time(caller: Make) -> None:
    ask = caller()
    ask.post("/jobs", NOTE, Idempotency_Key=KEY)
    ApiAnswer.objects.update(at=timezone.now() - once.KEEP - timedelta(minutes=1))
    ask.post("/jobs", NOTE, Idempotency_Key=KEY)
    assert JobRecord.objects.count() == 2
    ApiAnswer.objects.update(at=timezone.now() - once.KEEP - timedelta(minutes=1))
    once.forget()
    assert not ApiAnswer.objects.exists()


def test_answer_and_effect_are_both_written_or_neither(caller: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = caller()

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(answers, "write", fail)
        problem(ask.post("/jobs", NOTE, Idempotency_Key=KEY), 500)
    assert not JobRecord.objects.exists()


@pytest.mark.postgresql
def test_request_whose_twin_is_under_way_is_told_to_wait(caller: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    ask, inside, go_on = caller(), threading.Event(), threading.Event()
    create = jobs.create

    def slow(*args: object) -> object:
        inside.set()
        assert go_on.wait(60)
        return create(*args)  # type: ignore[arg-type]

    def first() -> object:
        try:
            return Caller(ask.token).post("/jobs", NOTE, Idempotency_Key=KEY)
        finally:
            connection.close()

    with monkeypatch.context() as patch, ThreadPoolExecutor(1) as pool:
        patch.setattr(jobs, "create", slow)
        sent = pool.submit(first)
        assert inside.wait(60)
        answer = ask.post("/jobs", NOTE, Idempotency_Key=KEY)
        go_on.set()
        made = sent.result()
    problem(answer, 409, "Idempotency-Key")
    assert answer.headers["Retry-After"] == "1"
    again = ask.post("/jobs", NOTE, Idempotency_Key=KEY)
    assert again.json() == made.json()  # type: ignore[attr-defined]
    assert JobRecord.objects.count() == 1


@pytest.mark.parametrize("atomic", [False, True])
def test_answer_tells_of_a_commit_that_failed(caller: Make, monkeypatch: pytest.MonkeyPatch, atomic: bool) -> None:
    ask, used = caller(), connections[DEFAULT_DB_ALIAS]
    ask.get("/types")  # the use of the token is written

    def fail() -> None:
        used.rollback()
        raise OperationalError("the server closed the connection")

    with monkeypatch.context() as patch:
        patch.setitem(used.settings_dict, "ATOMIC_REQUESTS", atomic)
        patch.setattr(used, "commit", fail)
        answer = ask.post("/jobs", NOTE, Idempotency_Key=KEY)  # without one PostgreSQL has a single statement
    problem(answer, 503)
    assert not JobRecord.objects.exists()
