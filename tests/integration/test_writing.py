"""What writes has SQLite's lock from its begin on, however a site's transactions begin, and waits its turn for it.

With Django's own settings SQLite refuses at once, "database is locked", whoever has read and then wants to write while
somebody else writes, too; and whoever waits for the lock as SQLite does loses it to those who come meanwhile.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from django.core.management import call_command
from django.db import OperationalError, connection, connections, transaction
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from redis import Redis

from handlers import InvalidJob, job_scheduler, stacks, writing
from handlers.admission.edits import reset_limit
from handlers.adoption.handle import made
from handlers.alerts.edits import delete_rule
from handlers.api import answers
from handlers.api.clients import revoke_client
from handlers.bulk.control import start
from handlers.deploys import mark
from handlers.models import QueueSwitch, StoredPolicy
from handlers.once import once
from handlers.policy_edits import assign, assign_types, delete_policy, save_policy
from handlers.rq_transport.blocking import BlockingCalls, HeldUp
from handlers.selection import Selection
from handlers.switches import stop_worker
from tests.app.jobs import Note
from tests.processes import wait_for
from tests.running import claim

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.once, pytest.mark.usefixtures("noting")]


def enqueue() -> int:
    return job_scheduler.enqueue(Note("x"))


def delete_by_command() -> None:
    call_command("jobs", "delete", str(enqueue()))


def pause() -> None:
    job_scheduler.pause_queue("default")


def answer_once() -> None:
    request = RequestFactory().post("/", headers={answers.HEADER: "a"})
    answers.once(request, 1, lambda: answers.Answer({}))


def tell_of_a_blocking_call() -> None:
    (claimed,) = claim(enqueue())
    BlockingCalls("a worker").tell(HeldUp(claimed, 1.5, 3, sys._getframe()))


def save_meta() -> None:
    made(enqueue(), "shop.report", [], {}, {}, queue="default", connection=Redis()).save_meta()


ACTS = [
    tell_of_a_blocking_call,
    save_meta,
    pause,
    lambda: job_scheduler.pause_type("app.Note"),
    lambda: job_scheduler.retry(1),
    lambda: stop_worker("none", None, ""),
    lambda: reset_limit("none"),
    lambda: save_policy(None, {"name": "slow"}),
    lambda: delete_policy(1),
    lambda: assign("app.Note", None),
    lambda: assign_types(StoredPolicy(pk=1), []),
    lambda: start("retry", Selection(states=("failed",))),
    lambda: mark("2026.11.3"),
    lambda: revoke_client(1),
    lambda: delete_rule(1),
    lambda: stacks.ask(1, None, ""),
    lambda: once("a", lambda: ""),
    answer_once,
    delete_by_command,
]


@pytest.mark.parametrize("act", ACTS)
def test_who_reads_before_writing_takes_the_lock_first(act: Callable[[], object], late_locks: None) -> None:
    with CaptureQueriesContext(connection) as asked, suppress(InvalidJob):
        act()
    assert {sql for sql in said(asked) if sql.startswith("BEGIN")} == {"BEGIN IMMEDIATE"}


def test_part_of_a_transaction_takes_the_lock_first_and_once(late_locks: None) -> None:
    pause()  # how others begin stays as it is
    with CaptureQueriesContext(connection) as asked, transaction.atomic(), writing.writing("default"):
        pause()
    begin, savepoint, lock, *rest = said(asked)
    assert (begin, savepoint.split()[0]) == ("BEGIN", "SAVEPOINT")
    assert lock.startswith("DELETE"), "what takes the lock and deletes nothing"
    assert lock not in rest


@pytest.mark.parametrize("act", [enqueue, pause, lambda: job_scheduler.retry(1), answer_once])
def test_who_waits_for_the_lock_asks_for_it_again_and_again(act: Callable[[], object]) -> None:
    tries: list[str] = []

    def count(execute: Callable[..., Any], sql: str, *args: Any) -> Any:
        tries.append(sql)
        return execute(sql, *args)

    def beside() -> bool:
        try:
            with connection.execute_wrapper(count):
                act()
            return connection.errors_occurred
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        with writing.writing("default"):
            waiting = pool.submit(beside)
            wait_for("tries", lambda: len(tries) > 3 or waiting.done())
            assert len(tries) > 3, "it waited as SQLite does"
            assert set(tries) == {"BEGIN IMMEDIATE"}
        assert waiting.result(60) is False, "to wait is no error of the connection"


def test_who_has_waited_as_long_as_sqlite_would_is_refused_and_may_try_again() -> None:
    held, done = threading.Event(), threading.Event()

    def beside() -> None:
        try:
            with writing.writing("default"):
                held.set()
                done.wait(60)
        finally:
            connections.close_all()

    connection.ensure_connection()
    (usual,) = connection.connection.execute("PRAGMA busy_timeout").fetchone()
    try:
        connection.connection.execute("PRAGMA busy_timeout = 30")
        with ThreadPoolExecutor(1) as pool:
            holder = pool.submit(beside)
            try:
                assert held.wait(60)
                with pytest.raises(OperationalError, match="locked"):
                    pause()
            finally:
                done.set()
            holder.result(60)
        pause()
        assert connection.connection.execute("PRAGMA busy_timeout").fetchone() == (30,)
    finally:
        connection.connection.execute(f"PRAGMA busy_timeout = {usual}")
    assert QueueSwitch.objects.get().name == "default"


@pytest.mark.parametrize(("begins", "act"), [("handlers.writing", pause), ("handlers.lifecycle.sqlite", enqueue)])
def test_interruption_just_after_a_transaction_began_ends_it(
    begins: str, act: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = writing.in_turn

    def interrupted(*args: Any) -> None:
        begin(*args)
        raise KeyboardInterrupt

    monkeypatch.setattr(f"{begins}.in_turn", interrupted)
    with pytest.raises(KeyboardInterrupt):
        act()
    assert not connection.in_atomic_block
    monkeypatch.undo()
    act()


def said(asked: CaptureQueriesContext) -> list[str]:
    return [query["sql"] for query in asked]
