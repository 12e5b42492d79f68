"""What goes wrong with middleware and receivers is on record for people, and costs nothing where nothing does."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, ClassVar

import pytest
from django.core import mail
from django.db import OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from handlers import Job, Sensitive, handles, job_scheduler, recovery, told_hooks
from handlers.hooks import JobMiddleware, chain
from handlers.models import HookTrouble
from handlers.registry import registry
from handlers.signals import JobMoved, jobs_moved
from handlers.signals.delivery import at_once
from handlers.troubles import LONGEST, MOST, Piece, Tally, Troubles, Went, troubles
from tests.running import run

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("noting")]

HERE = "tests.integration.test_hook_troubles"


@dataclass(frozen=True)
class Pay(Job):
    """It has a secret."""

    card: Annotated[str, Sensitive()] = "4711-0815"


@dataclass(frozen=True)
class Refund(Job):
    """It fails."""


class Wrong(JobMiddleware):
    """Does what the test says."""

    enqueues: ClassVar[Callable[[Any, Any], Any]]
    runs: ClassVar[Callable[[Any], Any]]

    def enqueue(self, jobs: Any, call_next: Any) -> Any:
        return type(self).enqueues(jobs, call_next)

    def run(self, run: Any, call_next: Any) -> Any:
        return type(self).runs(call_next)


@pytest.fixture(autouse=True)
def apart(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(troubles, "process", "")  # another test may have made this process a worker
    Wrong.enqueues = staticmethod(lambda jobs, call_next: call_next(jobs))
    Wrong.runs = staticmethod(lambda call_next: call_next())
    settings.JOBS = settings.JOBS | {"MIDDLEWARE": [f"{HERE}.Wrong"]}
    troubles._begin_anew()
    with registry.isolated():
        handles(Pay)(lambda job: None)
        yield
    troubles._begin_anew()


def known(process: str = "") -> list[tuple[str, str, int, str]]:
    """What is on record: name, hook, how often, how."""
    troubles.flush()
    rows = HookTrouble.objects.filter(process=process).order_by("name", "hook")
    return list(rows.values_list("name", "hook", "count", "went"))


def raise_card(*_: Any) -> None:
    raise LookupError("no such card: 4711-0815")


def test_middleware_that_raises_is_known_with_what_it_said_without_secrets() -> None:
    Wrong.runs = staticmethod(raise_card)
    for _ in range(3):
        run(job_scheduler.enqueue(Pay()))
    assert known() == [(f"{HERE}.Wrong", "run", 3, "raised")]
    [row] = HookTrouble.objects.all()
    assert row.detail.startswith("LookupError: no such card: ••••••")
    assert "test_hook_troubles.py, line" in row.detail
    assert row.first_at <= row.last_at
    assert ", PID " in row.told_by
    run(job_scheduler.enqueue(Pay()))
    assert known() == [(f"{HERE}.Wrong", "run", 4, "raised")], "it is counted on"


def test_around_an_enqueue_its_error_s_text_is_left_out_even_in_a_run() -> None:
    Wrong.enqueues = staticmethod(raise_card)
    outer = job_scheduler.enqueue(Pay())
    registry_runs = Wrong.runs

    def enqueues_more(call_next: Any) -> None:
        job_scheduler.enqueue(Pay())
        registry_runs(call_next)

    Wrong.runs = staticmethod(enqueues_more)
    run(outer)
    assert known() == [(f"{HERE}.Wrong", "enqueue", 2, "raised")]
    [row] = HookTrouble.objects.all()
    assert row.detail.startswith("LookupError (test_hook_troubles.py, line ")


def _swallow(call_next: Any) -> None:
    try:
        call_next()
    except ValueError:
        pass


@pytest.mark.parametrize(("does", "went"), [(lambda call_next: None, "skipped"), (_swallow, "swallowed")])
def test_how_else_it_went_wrong_is_known(does: Any, went: str) -> None:
    def fail(job: Refund) -> None:
        raise ValueError("of the handler")

    with registry.isolated():
        handles(Refund)(fail)
        Wrong.runs = staticmethod(does)
        run(job_scheduler.enqueue(Refund()))
    assert known() == [(f"{HERE}.Wrong", "run", 1, went)]


def test_middleware_that_cannot_be_made_is_known(settings: Any) -> None:
    settings.JOBS = settings.JOBS | {"MIDDLEWARE": ["nowhere.Middleware"]}
    run(job_scheduler.enqueue(Pay()))
    assert known() == [("nowhere.Middleware", "import", 1, "unmade")]
    chain._forget(setting="JOBS")


def receive(sender: type[JobMoved], **_: Any) -> None:
    raise_card()


def test_receiver_that_raises_is_known_by_its_name_without_the_error_s_text() -> None:
    jobs_moved.connect(receive)
    try:
        with at_once():
            job_scheduler.enqueue(Pay())
    finally:
        jobs_moved.disconnect(receive)
    assert known() == [(f"{HERE}.receive", "jobs_moved", 1, "raised")]
    assert HookTrouble.objects.get().detail.startswith("LookupError (test_hook_troubles.py, line ")


def test_what_went_wrong_in_a_worker_is_known_of_it_and_of_all() -> None:
    for process, count in (("host.1.a", 2), ("host.2.b", 3), ("", 4)):
        told_hooks.write(process, {Piece("shop.hooks.Tenant", "run"): Tally(count, Went.RAISED, "KeyError")})
    of_all, of = told_hooks.known(["host.1.a", "host.2.b", "host.3.c"])
    assert [row.count for row in of_all] == [9]
    assert {name: [row.count for row in rows] for name, rows in of.items()} == {"host.1.a": [2], "host.2.b": [3]}
    assert [row.told_by for row in of["host.1.a"]] == ["host.1.a"]


def test_where_nothing_goes_wrong_nothing_is_done() -> None:
    run(job_scheduler.enqueue(Pay()))
    with CaptureQueriesContext(connection) as found:
        troubles.flush()
    assert not found.captured_queries
    assert troubles._thread is None


def test_a_thread_writes_it_though_its_caller_takes_all_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """On SQLite it waits for its caller's transaction to end."""
    monkeypatch.delattr(mail, "outbox")
    Wrong.enqueues = staticmethod(raise_card)
    with transaction.atomic():
        job_scheduler.enqueue(Pay())
        transaction.set_rollback(True)
    thread = troubles._thread
    assert thread is not None
    troubles.end()
    thread.join(60)  # it is given a moment; on a slow machine it needs more
    assert HookTrouble.objects.get().count == 1
    assert troubles._thread is None


def test_what_could_not_be_written_is_written_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(mail, "outbox")
    monkeypatch.setattr("handlers.troubles.PAUSE_SECONDS", 0.01)
    monkeypatch.setattr("handlers.troubles.GATHER_SECONDS", 0.01)
    ours, tried, written = Troubles(), threading.Event(), threading.Event()
    found: list[int] = []

    def write(process: str, taken: Any) -> None:
        if not tried.is_set():
            tried.set()
            raise OperationalError
        found.extend(tally.count for tally in taken.values())
        if sum(found) == 3:
            written.set()

    ours.write = write
    ours.note("a", "run", Went.SLOW)
    assert tried.wait(30)
    ours.note("a", "run", Went.RAISED, count=2)
    assert written.wait(30)
    assert sum(found) == 3


def test_what_waits_and_what_is_kept_is_bounded() -> None:
    for number in range(MOST + 50):
        troubles.note(f"hook {number}", "run", Went.RAISED, "x" * 10_000)
    assert len(troubles._waiting) == MOST
    assert {len(tally.detail) for tally in troubles._waiting.values()} == {LONGEST}
    now = timezone.now()
    HookTrouble.objects.bulk_create(
        HookTrouble(
            process=f"w{number}", name="a", hook="run", count=1, first_at=now, last_at=now - timedelta(seconds=number),
            told_by="w", went="raised",
        )
        for number in range(told_hooks.MOST + 7)
    )  # fmt: skip
    old = HookTrouble.objects.get(process="w3")
    HookTrouble.objects.filter(pk=old.pk).update(last_at=now - timedelta(days=8))
    recovery.age_out()
    assert HookTrouble.objects.count() == told_hooks.MOST
    assert not HookTrouble.objects.filter(pk=old.pk).exists()


def test_what_is_long_or_not_text_for_a_database_is_cut() -> None:
    told_hooks.write("p" * 100, {Piece("n" * 300, "run"): Tally(1, Went.RAISED, "a\x00b")})
    told_hooks.write("p" * 100, {Piece("n" * 300, "run"): Tally(1, Went.RAISED, "a\x00b")})
    assert [(row.count, len(row.name)) for row in HookTrouble.objects.all()] == [(2, 200)] * 2


def test_lately_is_an_hour() -> None:
    told_hooks.write("", {Piece("a", "run"): Tally(1, Went.RAISED, "")})
    told_hooks.write("", {Piece("b", "run"): Tally(1, Went.RAISED, "")})
    HookTrouble.objects.filter(name="a").update(last_at=timezone.now() - timedelta(minutes=61))
    assert [row.name for row in told_hooks.lately(9)] == ["b"]
