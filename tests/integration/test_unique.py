"""Jobs of which there is one at a time: who holds a key, for how long, and what follows for who comes second."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

import pytest
from django.db import connection, transaction
from django.utils import timezone

from handlers import DuplicateJob, InvalidJob, Job, Unique, handles, job_scheduler, lifecycle, recurring
from handlers.models import JobHistory, JobPayload, JobRecord, Occurrence, RecurringJob, UniqueKey
from handlers.recovery import age_out
from handlers.recurrence import firing
from handlers.registry import registry
from handlers.states import State
from tests.app.jobs import Fail, Note
from tests.processes import wait_for
from tests.running import NotingTransport, claim, facts, make_due, record, run, waits_for_a_lock

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("noting")]

HOUR = timedelta(hours=1)
ONE = Unique()


def enqueue(text: str = "a", unique: Unique | None = ONE, **options: Any) -> int:
    return job_scheduler.enqueue(Note(text), unique=unique, **options)


# --- what holds a key


def test_a_job_holds_its_key_until_it_ends() -> None:
    first = enqueue()
    assert enqueue() == first
    assert enqueue("b") != first
    assert enqueue(unique=None) != first
    claim(first)
    assert enqueue() == first
    lifecycle.expire_leases(max_crashes=3)
    JobRecord.objects.filter(pk=first).update(state=State.SUCCEEDED)
    second = enqueue()
    assert second > first
    job_scheduler.delete(second)
    assert enqueue() > second


def test_a_job_that_is_tried_again_holds_its_key_and_one_that_failed_for_good_does_not() -> None:
    first = job_scheduler.enqueue(Fail(1, "k"), unique=ONE)
    run(first)
    assert record(first).is_retrying
    assert job_scheduler.enqueue(Fail(1, "k"), unique=ONE) == first
    JobRecord.objects.filter(pk=first).update(state=State.FAILED)
    assert job_scheduler.enqueue(Fail(1, "k"), unique=ONE) != first


def test_until_started_lets_another_one_wait_while_one_runs() -> None:
    rule = Unique(until="started")
    first = enqueue(unique=rule)
    assert enqueue(unique=rule) == first
    claim(first)
    second = enqueue(unique=rule)
    assert second != first
    assert enqueue(unique=rule) == second


def test_a_period_holds_it_in_any_case() -> None:
    rule = Unique(period=HOUR)
    first = enqueue(unique=rule)
    run(first)
    assert record(first).state == "succeeded"
    assert enqueue(unique=rule) == first
    # The job may be erased long before.
    JobRecord.objects.update(finished_at=timezone.now() - timedelta(days=8))
    age_out()
    assert not JobRecord.objects.exists()
    assert enqueue(unique=rule) == first
    with pytest.raises(DuplicateJob, match=f"job {first} holds"):
        enqueue(unique=Unique(period=HOUR, on_conflict="error"))
    UniqueKey.objects.update(held_until=timezone.now())
    second = enqueue(unique=rule)
    assert second != first
    UniqueKey.objects.update(held_until=timezone.now())
    age_out()
    assert enqueue(unique=rule) == second
    run(second)
    age_out()
    assert not UniqueKey.objects.exists()


def test_what_will_never_be_started_holds_no_key() -> None:
    first = enqueue(expires=HOUR)
    JobPayload.objects.update(expires_at=timezone.now())
    assert enqueue(expires=HOUR) != first  # a scheduler has not come to it yet


def test_the_key_is_of_the_chosen_fields_and_the_type() -> None:
    rule = Unique(key=("key",))
    first = job_scheduler.enqueue(Fail(1, "k"), unique=rule)
    assert job_scheduler.enqueue(Fail(2, "k"), unique=rule) == first
    assert job_scheduler.enqueue(Fail(1, "l"), unique=rule) != first
    assert record(first).payload == {"times": 1, "key": "k"} | record(first).payload


def test_a_type_that_was_renamed_has_the_keys_of_its_former_names_too() -> None:
    with registry.isolated():
        handles(Sync, name="old.Sync", unique=ONE)(lambda job: None)
        first = job_scheduler.enqueue(Sync(1))
        job_scheduler.add_or_update_recurring("sync", Sync(1), every=HOUR)
    with registry.isolated():
        handles(Sync, name="new.Sync", aliases=("old.Sync",), unique=ONE)(lambda job: None)
        assert job_scheduler.enqueue(Sync(1)) == job_scheduler.trigger_recurring("sync") == first
        second = job_scheduler.enqueue(Sync(1), unique=Unique(on_conflict="replace"))
        assert (record(first).state, record(second).job_type) == ("deleted", "new.Sync")
        assert job_scheduler.enqueue(Sync(1)) == job_scheduler.trigger_recurring("sync") == second


# --- what follows


def test_error_is_raised_and_nothing_is_written() -> None:
    rule = Unique(on_conflict="error")
    first = enqueue(unique=rule)
    with pytest.raises(DuplicateJob) as error:
        job_scheduler.enqueue_many([Note("b"), Note("a")], unique=rule)
    assert error.value.job_id == first
    with pytest.raises(DuplicateJob, match="the jobs 0 and 1 of this call have one key"):
        job_scheduler.enqueue_many([Note("b"), Note("b")], unique=rule)
    assert JobRecord.objects.count() == UniqueKey.objects.count() == 1
    with transaction.atomic():  # which goes on when that is caught
        with pytest.raises(DuplicateJob):
            enqueue(unique=rule)
        enqueue("b", unique=rule)
    assert JobRecord.objects.count() == 2


def test_replace_takes_the_place_of_what_was_not_started(noting: NotingTransport) -> None:
    rule = Unique(key=("key",), on_conflict="replace")
    first = job_scheduler.enqueue(Fail(1, "k"), unique=rule)
    second = job_scheduler.enqueue(Fail(2, "k"), unique=rule)
    assert second != first
    assert record(first).state == "deleted"
    last = JobHistory.objects.filter(job_id=first).latest("pk")
    assert last.reason == "replaced by another job with the same key"
    assert [message.job_id for message in noting.withdrawn[0]] == [first]
    claim(second)
    assert job_scheduler.enqueue(Fail(3, "k"), unique=rule) == second
    assert record(second).state == "processing"


def test_debounce_pushes_the_time_of_what_is_scheduled(noting: NotingTransport) -> None:
    rule = Unique(key=("key",), on_conflict="debounce")
    first = job_scheduler.enqueue(Fail(1, "k"), delay=HOUR, unique=rule)
    before = facts(first, "run_at", "token")
    assert job_scheduler.enqueue(Fail(2, "k"), delay=2 * HOUR, unique=rule) == first
    found = record(first)
    assert found.run_at is not None
    assert found.run_at > before[0] + timedelta(minutes=59)
    assert (found.state, found.payload["times"]) == ("scheduled", 2)
    [message] = noting.delayed[-1]
    assert (message.token, message.run_at) == (found.token, found.run_at)
    assert [message.token for message in noting.withdrawn[0]] == [before[1]]
    moved = JobHistory.objects.get(job_id=first)
    assert (moved.from_state, moved.to_state, moved.reason) == ("scheduled", "scheduled", "postponed")
    make_due(first)
    assert job_scheduler.enqueue(Fail(3, "k"), delay=HOUR, unique=rule) == first
    assert record(first).state == "enqueued"


def test_debounce_pushes_the_deadline_too() -> None:
    rule = Unique(on_conflict="debounce")
    first = enqueue(delay=HOUR, expires=2 * HOUR, unique=rule)
    assert enqueue(delay=3 * HOUR, expires=4 * HOUR, unique=rule) == first
    expires_at, run_at = JobPayload.objects.get(job_id=first).expires_at, record(first).run_at
    assert expires_at is not None
    assert run_at is not None
    assert timedelta(minutes=59) < expires_at - run_at < timedelta(minutes=61)
    enqueue(delay=HOUR, unique=rule)
    assert JobPayload.objects.get(job_id=first).expires_at is None


def test_many_at_once_share_keys_with_what_is_there_and_with_each_other() -> None:
    there = enqueue("c")
    ids = job_scheduler.enqueue_many([Note(text) for text in "abcab"], unique=ONE)
    assert ids[2] == there
    assert (ids[0], ids[1]) == (ids[3], ids[4])
    assert JobRecord.objects.count() == 3
    replaced = job_scheduler.enqueue_many([Note("x"), Note("x")], unique=Unique(on_conflict="replace"))
    assert replaced[0] == replaced[1]


def test_an_id_tells_whether_its_job_is_a_new_one() -> None:
    there = job_scheduler.enqueue(Note("c"), unique=ONE)
    assert there.is_new
    assert job_scheduler.enqueue(Note("d")).is_new
    again = job_scheduler.schedule(Note("c"), timezone.now() + HOUR, unique=ONE)
    assert (again, again.is_new, repr(again)) == (there, False, f"{int(there)}")
    ids = job_scheduler.enqueue_many([Note(text) for text in "abca"], unique=ONE)
    assert [job_id.is_new for job_id in ids] == [True, True, False, True]
    postponed = Unique(on_conflict="debounce")
    later = job_scheduler.enqueue(Note("l"), delay=HOUR, unique=postponed)
    assert (later.is_new, job_scheduler.enqueue(Note("l"), delay=HOUR, unique=postponed).is_new) == (True, False)
    assert job_scheduler.enqueue(Note("l"), unique=Unique(on_conflict="replace")).is_new


def test_a_rollback_gives_the_key_back() -> None:
    with transaction.atomic():
        enqueue()
        transaction.set_rollback(True)
    assert not UniqueKey.objects.exists()
    enqueue()
    assert JobRecord.objects.count() == 1


# --- declared with the type


@dataclass(frozen=True)
class Sync(Job):
    shop: int
    deep: bool = False


def test_a_type_may_say_so_and_who_enqueues_may_say_otherwise() -> None:
    with registry.isolated():
        registry.recurring.clear()
        handles(Sync, unique=Unique(key=("shop",), on_conflict="error"))(lambda job: None)
        first = job_scheduler.enqueue(Sync(1))
        with pytest.raises(DuplicateJob):
            job_scheduler.enqueue(Sync(1, deep=True))
        assert job_scheduler.enqueue(Sync(1), unique=Unique(key=("shop",))) == first
        beside = [job_scheduler.enqueue(Sync(1), unique=False), *job_scheduler.enqueue_many([Sync(1)], unique=False)]
        assert len({first, *beside}) == 3
        assert UniqueKey.objects.get().job_id == first
        job_scheduler.delete_many(beside)
        # A recurring job has nobody to tell: its occurrence is the job that is there.
        recurring("sync", Sync(1), every=HOUR)
        job_scheduler.add_or_update_recurring("sync", Sync(1), every=HOUR)
        assert job_scheduler.trigger_recurring("sync") == first
        at = timezone.now()
        RecurringJob.objects.update(next_at=at, due_at=at)
        assert firing.fire_due().jobs == 1
        assert set(Occurrence.objects.values_list("job_id", flat=True)) == {first}
        assert JobRecord.objects.exclude(state="deleted").count() == 1


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: Unique(key=()), "key must be a tuple"),
        (lambda: Unique(key="shop"), "key must be a tuple"),  # type: ignore[arg-type]
        (lambda: Unique(until="done"), "until must be one of ended, started, not 'done'"),
        (lambda: Unique(on_conflict="wait"), "on_conflict must be one of existing, error, replace, debounce"),
        (lambda: Unique(period=timedelta(0)), "period must be a timedelta above 0"),
        (lambda: enqueue(unique=Unique(key=("order",))), "app.Note has no field 'order'; it has text"),
        (lambda: enqueue(unique=cast("Unique", "yes")), "must be a Unique, such as Unique"),
        (lambda: enqueue(unique=cast("Unique", 0)), "must be a Unique, such as Unique"),
        (lambda: enqueue("x" * 900_000), "the values of text make a key of 900,"),
    ],
)
def test_what_does_not_fit_is_named(make: Any, why: str) -> None:
    with pytest.raises(InvalidJob) as error:
        make()
    assert error.value.field == "unique"
    assert why in str(error.value)
    assert not JobRecord.objects.exists()
    assert not UniqueKey.objects.exists()


# --- races


def test_of_many_at_once_one_wins() -> None:
    together = threading.Barrier(4)

    def come(number: int) -> set[int]:
        try:
            together.wait()
            return {enqueue(f"{turn}") for turn in range(20)}
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(come, range(4)))
    assert JobRecord.objects.count() == 20
    assert set.union(*found) == set(JobRecord.objects.values_list("pk", flat=True))


@pytest.mark.once  # SQLite alone
def test_where_transactions_take_sqlites_lock_late_all_wait_for_it_just_the_same() -> None:
    ids = job_scheduler.enqueue_many([Note(f"old {number}") for number in range(150)])
    job_scheduler.add_or_update_recurring("it", Note("it"), every=HOUR)

    def come(number: int) -> None:
        connection.ensure_connection()
        connection.transaction_mode = None  # type: ignore[attr-defined]
        try:
            for turn in range(50):
                enqueue(f"{number} {turn}")
                job_scheduler.trigger_recurring("it")
                assert job_scheduler.delete(ids[50 * number + turn])
        finally:
            connection.close()

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(come, range(3)))
    assert JobRecord.objects.filter(state="enqueued").count() == 300


@pytest.mark.postgresql
@pytest.mark.parametrize("commits", [True, False])
def test_the_second_waits_for_the_first_ones_transaction(commits: bool) -> None:
    ids: list[int] = []

    def second() -> None:
        try:
            ids.append(enqueue())
        finally:
            connection.close()

    other = threading.Thread(target=second)
    with transaction.atomic():
        first = enqueue()
        other.start()
        wait_for("it waits", waits_for_a_lock)
        transaction.set_rollback(not commits)
    other.join()
    assert (ids == [first]) is commits
    assert JobRecord.objects.count() == 1


@pytest.mark.postgresql
def test_two_that_want_the_same_keys_in_other_orders_wait_for_each_other_and_not_for_ever() -> None:
    together = threading.Barrier(2)
    rule = Unique(on_conflict="replace")

    def come(texts: list[str]) -> None:
        try:
            for turn in range(30):
                together.wait()
                # New keys, then such as are there and whose jobs give way.
                for _ in range(2):
                    job_scheduler.enqueue_many([Note(f"{text} {turn}") for text in texts], unique=rule)
        except BaseException:
            together.abort()
            raise
        finally:
            connection.close()

    texts = [f"{number}" for number in range(50)]
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(come, [texts, texts[::-1]]))
    assert JobRecord.objects.filter(state="enqueued").count() == UniqueKey.objects.count() == 50 * 30
