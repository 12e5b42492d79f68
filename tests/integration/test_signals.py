"""Receivers are told of every move, after its commit, and can harm nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection, transaction
from django.test import TestCase
from django.utils import timezone

from handlers import Job, RetryPolicy, Run, WaitFor, handles, job_scheduler, lifecycle, recovery
from handlers.models import JobPayload, JobRecord
from handlers.recovery import Recovery
from handlers.registry import registry
from handlers.selection import Selection
from handlers.signals import JobMoved, jobs_moved
from handlers.signals.delivery import MOST_WAITING, Delivery, at_once, delivery
from handlers.states import State
from handlers.testing import JobsTestMixin, run_due_jobs
from tests.running import drain, expire, make_due, message, moves_of, record, run

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("noting")]

Moves = list[JobMoved]


@dataclass(frozen=True)
class Work(Job):
    """Fails so often."""

    failures: int = 0


@dataclass(frozen=True)
class Wait(Job):
    """Waits for an approval."""


@pytest.fixture(autouse=True)
def apart() -> Iterator[None]:
    with registry.isolated():
        left: dict[str, int] = {}

        @handles(Work, retry=RetryPolicy(max_attempts=2))
        def work(job: Work) -> None:
            left.setdefault("n", job.failures)
            left["n"] -= 1
            if left["n"] >= 0:
                raise ValueError("no")

        yield


@contextmanager
def told(receiver: Callable[..., Any] | None = None) -> Iterator[Moves]:
    found: Moves = []

    def take(sender: Any, moves: tuple[JobMoved, ...], **_: Any) -> None:
        assert sender is JobMoved
        found.extend(moves)

    receivers = [take, *([receiver] if receiver else [])]
    for each in reversed(receivers):
        jobs_moved.connect(each)
    try:
        yield found
    finally:
        for each in receivers:
            jobs_moved.disconnect(each)


def pairs(moves: Moves, job_id: int) -> list[tuple[str, str]]:
    return [(move.from_state or "", move.to_state) for move in moves if move.job_id == job_id]


def test_every_move_of_a_life_is_told_as_history_has_it() -> None:
    with told() as moves, at_once():
        job_id = job_scheduler.enqueue(Work(1), by="ann")
        run(job_id)
        make_due(job_id)
        run(job_id)
        job_scheduler.requeue(job_id, reason="once more")
        job_scheduler.take_back(job_id)
        job_scheduler.requeue(job_id)
        job_scheduler.move(job_id, "mail")
        job_scheduler.delete(job_id)
        job_scheduler.restore(job_id)
    history = list(record(job_id).history.order_by("pk"))
    assert [(move.from_state, move.to_state) for move in moves[1:]] == moves_of(job_id)
    assert [(move.at, move.reason, move.actor, move.attempt) for move in moves[1:]] == [
        (row.at, row.reason, row.actor, row.attempt) for row in history
    ]
    first = moves[0]
    assert (first.from_state, first.to_state, first.at) == (None, State.ENQUEUED, record(job_id).created_at)
    assert {move.job_type for move in moves} == {"tests.Work"}
    assert {move.queue for move in moves} == {"default", "mail"}


def test_jobs_that_are_scheduled_await_are_lost_or_expire_are_told_too() -> None:
    with told() as moves, at_once():
        later = job_scheduler.enqueue(Work(), delay=timedelta(hours=1))
        first = job_scheduler.enqueue(Work())
        second = job_scheduler.continue_with(first, Work())
        drain()
        lost = job_scheduler.enqueue(Work())
        lifecycle.claim([message(lost)], worker="gone", lease=timedelta(seconds=9))
        expire(lost)
        recovery.bring_back()
    assert pairs(moves, later) == [("", "scheduled")]
    assert pairs(moves, second) == [
        ("", "awaiting"), ("awaiting", "enqueued"), ("enqueued", "processing"), ("processing", "succeeded"),
    ]  # fmt: skip
    assert pairs(moves, lost) == [("", "enqueued"), ("enqueued", "processing"), ("processing", "enqueued")]
    assert moves[-1].actor == "recovery"


def test_waits_their_answers_and_their_timeouts_are_told_too() -> None:
    def wait(job: Wait, run: Run) -> None:
        if not run.signals and not run.timed_out:
            raise WaitFor("approval", timeout=timedelta(minutes=5))

    handles(Wait)(wait)
    with told() as moves, at_once():
        answered, over = job_scheduler.enqueue_many([Wait(), Wait()])
        run(answered, over)
        assert job_scheduler.signal(answered, "approval", by="ann")
        JobRecord.objects.filter(pk=over).update(run_at=timezone.now() - timedelta(seconds=1))
        lifecycle.end_waits()
        drain()
    life = [("", "enqueued"), ("enqueued", "processing"), ("processing", "waiting"), ("waiting", "enqueued")]
    for job_id in (answered, over):
        assert pairs(moves, job_id) == [*life, ("enqueued", "processing"), ("processing", "succeeded")]
        history = list(record(job_id).history.order_by("pk").values_list("reason", "actor"))
        assert [(move.reason, move.actor) for move in moves if move.job_id == job_id][1:] == history


def test_what_a_bulk_operation_moves_and_what_expires_is_told_too() -> None:
    with told() as moves, at_once():
        ids = job_scheduler.enqueue_many([Work(), Work()])
        bulk = job_scheduler.start_bulk("delete", Selection(states=("enqueued",), queues=("default",)))
        run(JobRecord.objects.get(job_type="jobs.RunBulk").pk)
        expires = job_scheduler.enqueue(Work(), expires=timedelta(hours=1))
        JobPayload.objects.filter(pk=expires).update(expires_at=timezone.now() - timedelta(seconds=1))
        Recovery().tick()
    for job_id in (*ids, expires):
        assert pairs(moves, job_id) == [("", "enqueued"), ("enqueued", "deleted")]
    reasons = {move.job_id: move.reason for move in moves if move.to_state == State.DELETED}
    assert all(f"bulk operation {bulk.pk}" in reasons[job_id] for job_id in ids)
    assert reasons[expires] == record(expires).history.latest("pk").reason


def test_nobody_is_told_before_the_commit_or_of_what_is_rolled_back() -> None:
    with told() as moves, at_once():
        with transaction.atomic():
            kept = job_scheduler.enqueue(Work())
            with suppress(ValueError), transaction.atomic():
                job_scheduler.enqueue(Work())
                raise ValueError
            assert not moves
        assert [move.job_id for move in moves] == [kept]


def test_a_receiver_that_raises_is_logged_and_the_others_are_told(caplog: pytest.LogCaptureFixture) -> None:
    def fail(sender: Any, **_: Any) -> None:
        raise ValueError("broken receiver")

    def leave(sender: Any, **_: Any) -> None:
        raise SystemExit

    with told(fail) as moves, at_once():
        job_id = job_scheduler.enqueue(Work())
        assert run(job_id) == {job_id}
    assert len(moves) == 3
    assert "broken receiver" in caplog.text
    with told(leave), at_once():
        assert job_scheduler.enqueue(Work())
    assert "a receiver of jobs_moved raised SystemExit" in caplog.text


def test_a_receiver_that_hangs_holds_up_nobody_and_what_overflows_is_counted(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("handlers.signals.delivery.MOST_WAITING", 5)
    monkeypatch.setattr("handlers.signals.delivery.END_SECONDS", 0.01)
    hangs, goes_on = threading.Event(), threading.Event()

    def hang(sender: Any, moves: Any, **_: Any) -> None:
        hangs.set()
        goes_on.wait(30)

    with told(hang) as moves:
        job_scheduler.enqueue(Work())
        assert hangs.wait(10)
        before = delivery.dropped
        ids = job_scheduler.enqueue_many([Work()] * 8)
        assert run(*ids) == set(ids)
        assert delivery.dropped > before
        assert "receivers of jobs_moved are too slow" in caplog.text
        assert not delivery.wait(0)
        goes_on.set()
        assert delivery.wait(10)
    assert pairs(moves, ids[0])[:1] == [("", "enqueued")]


def test_receivers_are_called_by_a_thread_of_their_own_in_the_order_of_the_commits() -> None:
    threads = set()

    def note(sender: Any, **_: Any) -> None:
        threads.add(threading.current_thread())

    with told(note) as moves:
        job_id = job_scheduler.enqueue(Work())
        run(job_id)
        assert delivery.wait(10)
    assert pairs(moves, job_id) == [("", "enqueued"), ("enqueued", "processing"), ("processing", "succeeded")]
    assert threading.current_thread() not in threads


def test_an_async_receiver_is_told() -> None:
    found: Moves = []

    async def receive(sender: Any, moves: tuple[JobMoved, ...], **_: Any) -> None:
        found.extend(moves)

    with told(receive) as moves, at_once():
        job_scheduler.enqueue(Work())
    assert found == moves


def test_at_the_end_what_waits_has_a_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handlers.signals.delivery.END_SECONDS", 0.05)
    goes_on, mine = threading.Event(), Delivery()

    def hang(sender: Any, **_: Any) -> None:
        goes_on.wait(30)

    with told(hang) as moves:
        job_scheduler.enqueue(Work())
        assert delivery.wait(0) is False
        mine.end()  # nothing waits there
        delivery.end()
        goes_on.set()
        assert delivery.wait(10)
    assert len(moves) == 1
    assert MOST_WAITING == 10_000


def test_what_a_receiver_leaves_open_or_broken_is_in_nobody_s_way() -> None:
    found: list[tuple[bool, int]] = []

    def receive(sender: Any, **_: Any) -> None:
        found.append((connection.in_atomic_block, Group.objects.filter(name="none").count()))
        transaction.atomic().__enter__()
        connection.close()

    with told(receive):
        for _ in range(2):
            job_scheduler.enqueue(Work())
            assert delivery.wait(10)
    assert found == [(False, 0)] * 2


def test_where_no_thread_can_be_started_the_next_moves_are_told_with_those(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    mine = Delivery()
    monkeypatch.setattr("handlers.signals.delivery.delivery", mine)
    with told() as moves:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", start)
            first = job_scheduler.enqueue(Work())
        assert not mine.wait(0)
        second = job_scheduler.enqueue(Work())
        assert mine.wait(10)
    assert [move.job_id for move in moves] == [first, second]


def test_eager_jobs_tell_at_once(settings: Any) -> None:
    settings.JOBS = settings.JOBS | {"EAGER": True}
    with told() as moves:
        job_id = job_scheduler.enqueue(Work())
        assert pairs(moves, job_id)[0] == ("", "enqueued")


class TestInATestCase(JobsTestMixin, TestCase):
    """A test case's own transaction never commits."""

    def test_what_run_due_jobs_does_is_told_before_it_returns(self) -> None:
        """In order, with what was enqueued before."""
        with told() as moves:
            job_id = job_scheduler.enqueue(Work())
            run_due_jobs()
            assert pairs(moves, job_id) == [("", "enqueued"), ("enqueued", "processing"), ("processing", "succeeded")]


def test_a_process_that_ends_tells_what_waits(child_env: dict[str, str]) -> None:
    code = """
import time, django
django.setup()
from handlers import job_scheduler
from handlers.signals import jobs_moved
from tests.app.jobs import Nothing
def receive(sender, moves, **kwargs):
    time.sleep(0.3)
    print("told", len(moves), flush=True)
jobs_moved.connect(receive)
job_scheduler.enqueue_many([Nothing()] * 3)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        env=os.environ | child_env,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.strip() == "told 3", done.stderr
