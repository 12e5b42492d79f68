"""Jobs reach the transport after the commit: all that survived, in one call, and never instead of the commit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from django.test import override_settings
from django.utils import timezone
from redis import Redis

from handlers import job_scheduler, lifecycle
from handlers.exceptions import TransportUnavailable
from handlers.models import JobRecord
from handlers.recovery import Recovery
from handlers.rq_transport.messages import rq_job_id
from handlers.rq_transport.names import queue_key
from handlers.transport import Message, install_transport
from tests.app.jobs import AsyncNote, Fail, Note
from tests.running import NotingTransport, make_due, message, record, run

pytestmark = pytest.mark.django_db(transaction=True)

HOUR = timedelta(hours=1)


def note(text: str = "a") -> int:
    return job_scheduler.enqueue(Note(text))


class Undo(Exception):
    """Rolls a transaction back."""


@contextmanager
def undone() -> Iterator[None]:
    """A transaction, or a savepoint in one, that is rolled back."""
    with suppress(Undo), transaction.atomic():
        yield
        raise Undo


# --- when ---


def test_publish_without_a_transaction_is_immediate(noting: NotingTransport) -> None:
    job_id = note()
    assert noting.ids == [[job_id]]
    assert noting.published[0] == [message(job_id)]


def test_publish_waits_for_the_commit(noting: NotingTransport) -> None:
    with transaction.atomic():
        job_id = note()
        assert noting.published == []
    assert noting.ids == [[job_id]]


def test_publish_does_not_happen_on_a_rollback(noting: NotingTransport) -> None:
    with undone():
        note()
    assert noting.published == []
    assert not JobRecord.objects.exists()


def test_publish_happens_once_for_the_whole_transaction(noting: NotingTransport) -> None:
    with transaction.atomic():
        ids = [note(str(n)) for n in range(50)]
        ids.append(job_scheduler.enqueue(AsyncNote("b")))
        ids += job_scheduler.enqueue_many([Note("c"), Note("d")])
        with transaction.atomic():
            ids.append(note("inner"))
            with transaction.atomic(savepoint=False):
                ids.append(note("innermost"))
        ids.append(note("last"))
    assert noting.ids == [ids]


def test_publish_of_one_call_is_one_call(noting: NotingTransport) -> None:
    ids = job_scheduler.enqueue_many([Note(str(n)) for n in range(1_500)])
    assert noting.ids == [ids]


def test_publish_tells_delayed_jobs_apart(noting: NotingTransport) -> None:
    with transaction.atomic():
        soon = note()
        later = job_scheduler.enqueue(Note("b"), delay=HOUR)
        latest = job_scheduler.schedule(Note("c"), timezone.now() + 2 * HOUR)
    assert noting.ids == [[soon]]
    assert [[m.job_id for m in call] for call in noting.delayed] == [[later, latest]]
    assert [m.run_at for m in noting.delayed[0]] == [record(later).run_at, record(latest).run_at]


def test_publish_under_commits_by_hand_is_left_to_recovery(noting: NotingTransport) -> None:
    transaction.set_autocommit(False)
    try:
        with transaction.atomic():
            note()
        transaction.rollback()
        assert noting.published == [], "nobody can know yet whether it will be committed"
    finally:
        transaction.set_autocommit(True)


# --- savepoints ---


def test_inner_rollback_leaves_the_outer_jobs_published(noting: NotingTransport) -> None:
    with transaction.atomic():
        before = note("before")
        with undone():
            note("inner")
        after = note("after")
    assert noting.ids == [[before, after]]
    assert set(JobRecord.objects.values_list("pk", flat=True)) == {before, after}
    again = note("the next transaction publishes too")
    assert noting.ids[1:] == [[again]]


def test_inner_rollback_first_leaves_the_outer_jobs_published(noting: NotingTransport) -> None:
    with transaction.atomic():
        with undone():
            note("inner")
        after = note("after")
    assert noting.ids == [[after]]


def test_inner_rollback_last_leaves_the_outer_jobs_published(noting: NotingTransport) -> None:
    with transaction.atomic():
        before = note("before")
        with undone():
            note("inner")
    assert noting.ids == [[before]]


def test_inner_rollback_alone_publishes_nothing(noting: NotingTransport) -> None:
    with transaction.atomic(), undone():
        note("inner")
    assert noting.published == []
    job_id = note()
    assert noting.ids == [[job_id]]


def test_rollback_of_an_outer_savepoint_takes_the_released_inner_one_with_it(noting: NotingTransport) -> None:
    with transaction.atomic():
        kept = note("kept")
        with undone():
            with transaction.atomic():
                note("released")
            note("middle")
        with transaction.atomic():
            User.objects.create_user("u")
            with suppress(IntegrityError), transaction.atomic():
                note("undone by the database")
                User.objects.create_user("u")
            also = note("kept as well")
    assert noting.ids == [[kept, also]]


def test_verbs_of_an_inner_rollback_withdraw_nothing(noting: NotingTransport) -> None:
    stays, goes = note(), note()
    with transaction.atomic():
        with undone():
            job_scheduler.delete(stays)
        gone = message(goes)
        job_scheduler.delete(goes)
    assert [[m[:3] for m in call] for call in noting.withdrawn] == [[gone[:3]]]
    assert (record(stays).state, record(goes).state) == ("enqueued", "deleted")


def test_what_a_savepoint_by_hand_undid_is_harmless(noting: NotingTransport) -> None:
    # Django keeps the hooks of savepoints that were not made by atomic(), so the message goes out. It must do nothing.
    with transaction.atomic():
        one = note("one")
        savepoint = connection.savepoint()
        assert savepoint is not None
        note("two")
        connection.savepoint_rollback(savepoint)
        three = note("three")
    (published,) = noting.published
    claimed = lifecycle.claim(published, worker="w", lease=HOUR)
    assert [(c.job_id, c.payload["text"]) for c in claimed] == [(one, "one"), (three, "three")]


# --- other hooks ---


@pytest.mark.parametrize("robust", [True, False])
def test_other_hooks_run_before_and_after(noting: NotingTransport, robust: bool) -> None:
    ran: list[str] = []
    with transaction.atomic():
        transaction.on_commit(lambda: ran.append("before"), robust=robust)
        one = note()
        transaction.on_commit(lambda: ran.append("between"), robust=robust)
        two = note()
        transaction.on_commit(lambda: ran.append("after"), robust=robust)
    assert ran == ["before", "between", "after"]
    assert noting.ids == [[one, two]]


class Broken(NotingTransport):
    """Raises what no transport should."""

    def publish(self, messages: Sequence[Message], *, wait: bool = True, front: bool = False) -> None:
        raise RuntimeError("a bug in the transport")


def test_other_hooks_run_though_the_transport_is_broken(noting: NotingTransport) -> None:
    install_transport(Broken())  # `noting` puts the real one back
    ran: list[str] = []
    with transaction.atomic():
        job_id = note()
        transaction.on_commit(lambda: ran.append("after"))
    assert ran == ["after"]
    assert record(job_id).state == "enqueued"


def test_hook_of_the_caller_may_enqueue(noting: NotingTransport) -> None:
    ids: list[int] = []
    with transaction.atomic():
        ids.append(note("first"))
        transaction.on_commit(lambda: ids.append(note("second")))
    assert noting.ids == [[ids[0]], [ids[1]]]


def test_transaction_without_jobs_publishes_nothing(noting: NotingTransport) -> None:
    with transaction.atomic():
        User.objects.create_user("u")
        assert job_scheduler.delete(1) is False
    assert (noting.published, noting.delayed, noting.withdrawn) == ([], [], [])


# --- verbs ---


def test_retry_publishes_the_new_token_and_withdraws_the_old(noting: NotingTransport) -> None:
    job_id = job_scheduler.schedule(Note("a"), timezone.now() + HOUR)
    old = message(job_id)
    job_scheduler.retry(job_id)
    assert noting.published == [[message(job_id)]]
    assert message(job_id) != old
    assert noting.withdrawn == [[old]]


def test_failed_attempt_announces_its_retry_on_the_jobs_own_queue(noting: NotingTransport) -> None:
    job_id = job_scheduler.enqueue(Fail(1, "k"), queue="mail")
    run(job_id)
    assert noting.delayed == [[message(job_id)._replace(run_at=record(job_id).run_at)]]
    assert noting.delayed[0][0].queue == "mail"
    assert make_due(job_id) == [message(job_id)]


# --- Redis ---


@pytest.fixture
def away(redis_server: str) -> Any:
    """Settings under which no Redis answers."""
    return override_settings(JOBS={**settings.JOBS, "REDIS_URL": "unix:///nonexistent/redis.sock"})


def queued(url: str, queue: str = "default") -> list[str]:
    with Redis.from_url(url) as client:
        entries: Any = client.lrange(queue_key(queue), 0, -1)
    return [entry.decode() for entry in entries]


def test_publish_reaches_the_real_queue(redis_server: str) -> None:
    with transaction.atomic():
        ids = [note("a"), note("b")]
        assert queued(redis_server) == []
    assert queued(redis_server) == [rq_job_id(message(job_id)) for job_id in ids]


def test_enqueue_commits_though_redis_is_away_and_recovery_publishes(
    redis_server: str, away: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = SimpleNamespace(now=1_000.0)
    monkeypatch.setattr("handlers.recovery.time", SimpleNamespace(monotonic=lambda: clock.now))
    recovery, ran = Recovery(), []
    with away:
        with transaction.atomic():
            ids = [note("a"), note("b")]
            later = job_scheduler.enqueue(Note("c"), delay=HOUR)
            transaction.on_commit(lambda: ran.append("after"))
        ids.append(note("without a transaction"))
        assert job_scheduler.delete(later)
        with pytest.raises(TransportUnavailable):
            recovery.tick()
    assert ran == ["after"]
    assert "recovery will do it" in caplog.text
    assert JobRecord.objects.filter(state="enqueued").count() == 3
    assert queued(redis_server) == []
    assert recovery.tick() == 0
    clock.now += 2
    assert recovery.tick() == 3
    assert queued(redis_server) == [rq_job_id(message(job_id)) for job_id in ids]
    clock.now += 2
    assert recovery.tick() == 0


def test_outcome_is_recorded_though_redis_is_away(redis_server: str, away: Any) -> None:
    job_id = job_scheduler.enqueue(Fail(1, "k"))
    with away:
        assert run(job_id) == {job_id}
    assert record(job_id).state == "scheduled"
