"""Jobs that this code cannot run wait for code that can: each release refuses a job once, and none for ever."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from unittest.mock import Mock

import pytest
from django.db import OperationalError, connection
from django.test import override_settings
from django.utils import timezone

from handlers import (
    EnqueueJobCommand,
    Job,
    execution,
    fleet,
    folding,
    handles,
    job_scheduler,
    lifecycle,
    stranded,
)
from handlers.lifecycle import NewJob
from handlers.models import AttemptError, FailureGroup, JobPayload, JobRecord, StrandedJob, WorkerProcess
from handlers.models.sql import database_now
from handlers.recovery import Recovery
from handlers.registry import registry
from handlers.rq_transport.marks import Marks
from handlers.rq_transport.stranded import Stranded
from handlers.transport import Message
from tests.app.jobs import Note
from tests.running import LEASE, NotingTransport, claim, facts, message, moves_of, record, run

pytestmark = pytest.mark.django_db(transaction=True)


@dataclass(frozen=True)
class Gone(Job):
    """A type that another release has."""

    n: int = 0


@dataclass(frozen=True)
class Order(Job):
    """The arguments as the old release has them."""

    number: int


@dataclass(frozen=True)
class NewOrder(Job):
    """And as the new one has them."""

    number: int
    currency: str


seen: list[Any] = []


@pytest.fixture(autouse=True)
def _nothing_seen() -> None:
    seen.clear()


@contextmanager
def knowing(payload_class: Any, name: str) -> Iterator[None]:
    """Another release, which has a handler for the type ``name``."""
    with registry.isolated():
        handles(payload_class, name=name)(seen.append)
        yield


def take(*, limit: int = 100, queues: tuple[str, ...] = ("default",)) -> list[Message]:
    """What a worker of this release fetches."""
    return stranded.take(queues, registry.release, limit)


def run_taken() -> set[int]:
    """Claim, run and settle what a worker of this release fetches."""
    claims = lifecycle.claim(take(), worker="w", lease=LEASE)
    moves = [execution.run(each, Any, worker="w") for each in claims]  # type: ignore[arg-type]
    return execution.settle([move for move in moves if move], worker="w")


def stored(name: str = "shop.Gone", payload: bytes = b'{"n": 3}', count: int = 1) -> list[int]:
    return [m.job_id for m in lifecycle.create([NewJob(name, payload, "default")] * count)]


# --- types ---


def test_unknown_type_waits_uncounted_and_unpublished_for_a_release_that_knows_it(noting: NotingTransport) -> None:
    (job_id,) = stored()
    other = job_scheduler.enqueue(Note("a"))
    noting.published.clear()
    assert run(job_id, other) == {job_id, other}
    assert facts(job_id, "state", "attempt", "failures", "crashes") == ("enqueued", 0, 0, 0)
    assert moves_of(job_id) == [("enqueued", "processing"), ("processing", "enqueued")]
    assert "no handler" in record(job_id).history.latest("pk").reason
    assert noting.published == []
    assert take() == [], "this code has refused it"
    (told,) = stranded.summary()
    assert (told.job_type, told.lacking, told.number) == ("shop.Gone", True, 1)
    with knowing(Gone, "shop.Gone"):
        assert take() == [message(job_id)]
        assert run_taken() == {job_id}
    assert seen == [Gone(3)]
    assert facts(job_id, "state", "attempt") == ("succeeded", 1)
    assert stranded.summary() == []


def test_unknown_type_is_refused_once_by_each_release() -> None:
    (job_id,) = stored()
    run(job_id)
    since = StrandedJob.objects.get().since
    with knowing(Order, "shop.Other"):
        run_taken()
        assert take() == []
    assert take() == []
    row = StrandedJob.objects.get()
    assert len(row.refused_by.split()) == 2
    assert row.since == since
    with knowing(NewOrder, "shop.Other"):
        assert take() == [message(job_id)]


def test_job_that_moved_on_waits_anew() -> None:
    (job_id,) = stored()
    run(job_id)
    StrandedJob.objects.update(since=timezone.now() - timedelta(hours=1))
    job_scheduler.delete(job_id)
    assert stranded.summary() == []
    assert take() == []
    job_scheduler.restore(job_id)
    with knowing(Order, "shop.Other"):
        run(job_id)
    row = StrandedJob.objects.get()
    assert row.refused_by.split() != [registry.release]
    assert len(row.refused_by.split()) == 1
    assert timezone.now() - row.since < timedelta(minutes=1)


def test_type_name_of_any_length_waits() -> None:
    (job_id,) = stored("a." + "T" * 198)
    assert run(job_id) == {job_id}
    assert StrandedJob.objects.get().job_type == "a." + "T" * 198


# --- arguments ---


@pytest.mark.parametrize(("written", "read"), [(Order, NewOrder), (NewOrder, Order)], ids=["old to new", "new to old"])
def test_arguments_of_another_release_wait_for_one_that_reads_them(written: Any, read: Any) -> None:
    with knowing(written, "shop.Order"):
        job_id = job_scheduler.enqueue(written(*([7, "EUR"][: len(written.__dataclass_fields__)])))
        writer = registry.release
    with knowing(read, "shop.Order"):
        assert registry.release != writer
        run(job_id)
        assert facts(job_id, "state", "attempt", "failures") == ("enqueued", 0, 0)
        assert "does not read its arguments" in record(job_id).history.latest("pk").reason
        assert take() == []
        (told,) = stranded.summary()
        assert told.lacking is False
    with knowing(written, "shop.Order"):
        run_taken()
    assert len(seen) == 1
    assert record(job_id).state == "succeeded"


def test_arguments_of_this_release_that_do_not_fit_fail_at_once() -> None:
    job_id = job_scheduler.enqueue(Note("a"))
    assert JobPayload.objects.get().release == registry.release
    JobPayload.objects.update(data={"text": 7})
    run(job_id)
    assert record(job_id).state == "failed"
    assert not StrandedJob.objects.exists()


def test_arguments_of_before_releases_were_kept_fail_at_once() -> None:
    job_id = job_scheduler.enqueue(Note("a"))
    JobPayload.objects.update(data={"text": 7}, release=None)
    run(job_id)
    assert record(job_id).state == "failed"


def test_edited_arguments_are_of_the_release_that_edited_them() -> None:
    job_id = job_scheduler.enqueue(Note("a"), delay=timedelta(hours=1))
    JobPayload.objects.update(release="another")
    job_scheduler.retry(job_id, Note("b"))
    assert JobPayload.objects.get().release == registry.release


def test_job_inside_a_command_that_this_code_does_not_know_waits() -> None:
    with knowing(Gone, "shop.Gone"):
        job_id = job_scheduler.enqueue(EnqueueJobCommand(Gone(3)))
    run(job_id)
    assert facts(job_id, "state", "attempt") == ("enqueued", 0)
    with knowing(Gone, "shop.Gone"):
        run_taken()
        assert record(job_id).state == "succeeded"
        assert JobRecord.objects.filter(job_type="shop.Gone").exists()


# --- who fetches what ---


def test_take_passes_over_other_queues_and_what_is_paused() -> None:
    job_id, other = stored(count=2)
    JobRecord.objects.filter(pk=other).update(queue="mail")
    run(job_id)
    run(other)
    with knowing(Gone, "shop.Gone"):
        assert take() == [message(job_id)]
        assert take(queues=("mail",)) == [message(other)]
        job_scheduler.pause_type("shop.Gone")
        assert take() == []
        job_scheduler.resume_type("shop.Gone")
        assert take() == [message(job_id)]


def test_supervisor_tells_its_workers_that_there_is_something_to_fetch() -> None:
    (job_id,) = stored()
    run(job_id)
    at = database_now(connection)

    def wanted() -> bool:
        known = fleet.known()
        row = WorkerProcess(
            name="w", kind="worker", host="h", pid=1, types=known.digest, started_at=at, heartbeat_at=at
        )
        return fleet.beat([row], known, wanted=stranded.servable(["default"], known.digest)).wanted

    assert wanted() is False
    with knowing(Gone, "shop.Gone"):
        assert wanted() is True
        run_taken()
        assert wanted() is False


def test_worker_takes_turns_between_its_queues_and_what_others_refused() -> None:
    ids = stored(count=3)
    run(*ids)
    marks = Marks(8)
    fetching = Stranded(marks)
    with knowing(Gone, "shop.Gone"):
        assert fetching.take(["default"], 2) == []
        assert fetching.patience(1.0) == 1.0
        marks.tell_stranded(waiting=True)
        taken = [bool(fetching.take(["default"], 2)) for _ in range(4)]
        assert taken in ([True, False] * 2, [False, True] * 2)
        assert 0 < fetching.patience(1.0) < 1.0
        assert [m.job_id for m in fetching.take(["default"], 2)] == ids[:2]
        run_taken()
        fetching.patience(1.0)
        assert fetching.take(["default"], 2) == []
        assert fetching.patience(1.0) == 1.0, "it does not ask again at once"


# --- recovery ---


def test_recovery_leaves_the_stranded_unpublished_and_finds_what_is_lost_behind_them(
    noting: NotingTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = stored(count=3)
    run(*ids)
    monkeypatch.setattr("handlers.recovery.PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr("handlers.recovery.LOOK", 2)
    lost = job_scheduler.enqueue(Note("lost"))
    noting.published.clear()
    recovery = Recovery()
    assert recovery.find_lost_messages() == 1
    assert noting.ids == [[lost]]
    assert recovery.find_lost_messages() == 0


def test_recovery_fails_what_waited_too_long_with_the_reason(noting: NotingTransport) -> None:
    job_id, other = stored(count=2)
    run(job_id, other)
    StrandedJob.objects.filter(pk=job_id).update(since=timezone.now() - timedelta(hours=3))
    with override_settings(JOBS={"UNKNOWN_TYPE_HOURS": 2}):
        Recovery().tick()
    assert facts(job_id, "state", "attempt", "failures") == ("failed", 0, 0)
    assert record(other).state == "enqueued"
    why = record(job_id).history.latest("pk").reason
    assert why.startswith("no worker could run it for 2 hours: no handler is registered for type 'shop.Gone'")
    assert AttemptError.objects.get().exception == "handlers.exceptions.NoHandler"
    folding.fold()
    assert FailureGroup.objects.get().job_type == "shop.Gone"
    assert [told.number for told in stranded.summary()] == [1]
    # A retry after the deploy that mends it runs like any other; without one, the wait begins anew.
    assert job_scheduler.retry(job_id)
    run(job_id)
    assert record(job_id).state == "enqueued"
    with override_settings(JOBS={"UNKNOWN_TYPE_HOURS": 2}):
        Recovery().tick()
    assert record(job_id).state == "enqueued"


def test_many_that_waited_too_long_are_failed_in_turns_with_other_duties(
    noting: NotingTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    def apply(*args: Any, **options: Any) -> Any:
        clock.monotonic.return_value += stranded.PASS_SECONDS * 0.6
        return applies(*args, **options)

    jobs, applies = stored(count=5), lifecycle.apply
    run(*jobs)
    StrandedJob.objects.update(since=timezone.now() - timedelta(hours=3))
    clock = Mock(**{"monotonic.return_value": 100.0})
    monkeypatch.setattr(stranded, "time", clock)
    monkeypatch.setattr(stranded, "CHUNK", 1)
    monkeypatch.setattr(lifecycle, "apply", apply)
    for failed in (2, 4, 5):
        stranded.look_after(hours=2)
        assert JobRecord.objects.filter(state="failed").count() == failed


def test_recovery_forgets_what_moved_on() -> None:
    job_id, other = stored(count=2)
    run(job_id, other)
    job_scheduler.delete(job_id)
    stranded.look_after(hours=1)
    assert list(StrandedJob.objects.values_list("pk", flat=True)) == [other]
    with knowing(Gone, "shop.Gone"):
        claim(other)
        stranded.look_after(hours=1)
        assert StrandedJob.objects.exists(), "whoever runs it may refuse it yet"


def test_recovery_offers_some_where_no_worker_tells_of_itself(noting: NotingTransport) -> None:
    (job_id,) = stored()
    run(job_id)
    noting.published.clear()
    Recovery().tick()
    assert noting.ids == [[job_id]]
    noting.published.clear()
    at = database_now(connection)
    row = WorkerProcess(name="w", kind="worker", host="h", pid=1, queues=["default"], started_at=at, heartbeat_at=at)
    fleet.beat([row])
    Recovery().tick()
    assert noting.published == []


def test_refusal_that_cannot_be_noted_is_left_to_recovery(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Any) -> None:
        raise OperationalError("the database went away")

    (job_id,) = stored()
    with monkeypatch.context() as patch:
        patch.setattr("handlers.stranded.keep", fail)
        assert run(job_id) == {job_id}
    assert facts(job_id, "state", "attempt") == ("enqueued", 0)
    run(job_id)
    assert StrandedJob.objects.count() == 1


# --- releases ---


def test_release_stands_for_the_names_and_schemas_of_all_types() -> None:
    release = registry.release
    assert len(release) == 16
    found = {release}
    with knowing(Order, "shop.Order"):
        found.add(registry.release)
        same = registry.release
    with registry.isolated():
        handles(Order, name="shop.Order")(print)
        assert registry.release == same, "another handler, the same arguments"
        registry.register(replace(registry.get("shop.Order"), aliases=("old.Order",)))
        found.add(registry.release)
    with knowing(NewOrder, "shop.Order"):
        found.add(registry.release)
        assert fleet.known().names["shop.Order"] == registry.get("shop.Order").version
    assert len(found) == 4
    assert registry.release == release
