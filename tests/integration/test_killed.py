"""Who writes for recurring, unique and limited jobs is killed at any instant: nothing is half written, and then it goes
on as if nothing had been. Workflows and atomic jobs have theirs beside their other tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db.models import F
from django.utils import timezone

from handlers import DuplicateJob, Job, Limit, Unique, admission, execution, handles, job_scheduler, lifecycle
from handlers.admission import LimitDuties
from handlers.lifecycle import Claim, Move
from handlers.models import (
    AuditEntry,
    JobHistory,
    JobRecord,
    LimitKey,
    LimitSlot,
    LimitStart,
    LimitWaiter,
    Occurrence,
    RecurringJob,
    UniqueKey,
    WatchedMove,
)
from handlers.recurrence import firing, heartbeats
from handlers.registry import registry
from handlers.states import State
from tests.app.jobs import NO_RETRY, Note
from tests.dying import kills
from tests.running import LEASE, WORKER, drain, expire, message, perform, states

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("noting")]

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
ROWS = (
    LimitSlot, LimitWaiter, LimitStart, LimitKey, UniqueKey, Occurrence, RecurringJob, AuditEntry, WatchedMove,
    JobHistory, JobRecord,
)  # fmt: skip


def wipe() -> None:
    for model in ROWS:
        model._default_manager.all().delete()


def row() -> RecurringJob:
    return RecurringJob.objects.get()


def told() -> list[tuple[str, int]]:
    """How the occurrences came to be, and for how many each stands that did not run."""
    return list(Occurrence.objects.order_by("due_at").values_list("how", "skipped"))


def all_ran_once(count: int) -> None:
    """There are so many jobs, each of an occurrence of its own, and each runs."""
    drain()
    ids = list(JobRecord.objects.order_by("pk").values_list("pk", flat=True))
    assert states(*ids) == ["succeeded"] * count
    made = Occurrence.objects.filter(job_id__isnull=False).order_by("job_id")
    assert list(made.values_list("job_id", flat=True)) == ids
    assert JobHistory.objects.filter(to_state=State.SUCCEEDED).count() == count


# --- recurring jobs


def overdue(by: timedelta, **options: Any) -> datetime:
    """One that is due each minute, and has been for so long; since when."""
    wipe()
    job_scheduler.add_or_update_recurring("it", Note("it"), every=MINUTE, **options)
    at = timezone.now() - by
    RecurringJob.objects.update(due_at=at, next_at=at, anchor_at=at)
    return at


def test_one_that_fires_leaves_occurrence_job_and_next_time_or_none_of_them() -> None:
    due: list[datetime] = []

    def prepare() -> None:
        due[:] = [overdue(4 * MINUTE + SECOND, misfire="each", catch_up=2)]

    whole = [("missed", 2), ("late", 0), ("late", 0), ("due", 0)]
    seen = []
    for was_killed in kills(prepare, firing.fire_due):
        found = (told(), JobRecord.objects.count(), row().fired, row().skipped, row().due_at)
        if found != (whole, 3, 3, 2, due[0] + 5 * MINUTE):
            assert was_killed
            assert found == ([], 0, 0, 0, due[0])
        seen.append(bool(found[0]))
        firing.fire_due()
        assert (told(), row().fired, row().skipped, row().due_at) == (whole, 3, 2, due[0] + 5 * MINUTE)
        all_ran_once(3)
    assert {*seen} == {True, False}


def test_one_that_fires_what_waited_for_the_job_before_fires_it_once() -> None:
    def prepare() -> None:
        overdue(MINUTE + SECOND, misfire="each", overlap="queue")
        firing.fire_due()
        drain()
        assert row().held_at

    for was_killed in kills(prepare, firing.fire_held):
        found = (told()[1:], JobRecord.objects.count(), row().held_at is None)
        assert found == ([("held", 0)], 2, True) or (was_killed and found == ([], 1, False))
        firing.fire_held()
        assert told() == [("late", 0), ("held", 0)]
        all_ran_once(2)


def test_one_that_sends_heartbeats_sends_each_once() -> None:
    def prepare() -> None:
        overdue(SECOND, heartbeat_url="https://example.org/ping")
        firing.fire_due()
        drain()

    for was_killed in kills(prepare, heartbeats.send):
        sent = JobRecord.objects.filter(job_type=heartbeats.HEARTBEAT)
        found = (sent.count(), Occurrence.objects.filter(heartbeat=True).count())
        assert found == (1, 0) or (was_killed and found == (0, 1))
        heartbeats.send()
        assert sent.count() == 1


def test_one_that_backfills_leaves_all_or_nothing() -> None:
    due: list[datetime] = []

    def prepare() -> None:
        due[:] = [overdue(5 * MINUTE + SECOND, misfire="skip")]
        firing.fire_due()
        drain()

    def backfill() -> None:
        job_scheduler.backfill_recurring("it", due[0], due[0] + 3 * MINUTE, by="somebody")

    seen = set[int]()
    for was_killed in kills(prepare, backfill):
        found = (told(), row().skipped, row().fired, JobRecord.objects.count(), AuditEntry.objects.count())
        if found[1:] != (2, 4, 4, 1):
            assert was_killed
            assert found == ([("missed", 5), ("due", 0)], 5, 1, 1, 0)
        seen.add(found[1])
        backfill()
        assert told() == [*[("backfilled", 0)] * 3, ("missed", 2), ("due", 0)]
        assert (row().skipped, row().fired) == (2, 4)
        all_ran_once(4)
    assert seen == {2, 5}


# --- unique jobs


@dataclass(frozen=True)
class Fresh(Job):
    key: str
    text: str = ""


@pytest.fixture
def types() -> Iterator[None]:
    with registry.isolated():
        handles(Fresh, name="killed.Fresh", retry=NO_RETRY)(lambda job: None)
        yield


Seen = dict[str, list[tuple[str, int]]]  # by key: the text and the hours to wait of those that are to run


def to_run() -> Seen:
    now, found = timezone.now(), {key: list[tuple[str, int]]() for key in "kl"}
    for each in JobRecord.objects.filter(state__in=["enqueued", "scheduled"]):
        hours = round((each.run_at - now) / HOUR) if each.run_at else 0
        found[each.payload["key"]].append((each.payload["text"], hours))
    return found


@pytest.mark.usefixtures("types")
@pytest.mark.parametrize(
    ("on_conflict", "keys", "expected"),
    [
        ("existing", "l", {"k": [("old", 1)], "l": [("new", 0)]}),
        ("error", "lk", {"k": [("old", 1)], "l": []}),
        ("replace", "k", {"k": [("new", 0)], "l": []}),
        ("debounce", "k", {"k": [("new", 2)], "l": []}),
    ],
)
def test_one_that_wants_a_key_leaves_what_the_rule_says_or_nothing(on_conflict: str, keys: str, expected: Seen) -> None:
    rule = Unique(key=("key",), on_conflict=on_conflict)

    def prepare() -> None:
        wipe()
        job_scheduler.enqueue(Fresh("k", "old"), delay=HOUR, unique=rule)

    def enqueue() -> None:
        with suppress(DuplicateJob):
            if on_conflict == "debounce":
                job_scheduler.enqueue(Fresh(keys, "new"), delay=2 * HOUR, unique=rule)
            else:
                job_scheduler.enqueue_many([Fresh(key, "new") for key in keys], unique=rule)

    for was_killed in kills(prepare, enqueue):
        found = to_run()
        assert found == expected or (was_killed and found == {"k": [("old", 1)], "l": []})
        present = JobRecord.objects.exclude(state="deleted").values_list("pk", flat=True)
        assert {*UniqueKey.objects.values_list("job_id", flat=True)} == {*present}
        enqueue()
        assert to_run() == expected
        JobRecord.objects.update(run_at=timezone.now())
        lifecycle.promote_due()
        drain()
        assert JobRecord.objects.filter(state="succeeded").count() == sum(map(len, expected.values()))


# --- limited jobs


@dataclass(frozen=True)
class Charge(Job):
    tenant: int = 1


RAN: list[int] = []


@pytest.fixture
def cards() -> Iterator[None]:
    with registry.isolated():

        @handles(Charge, name="killed.Charge", limits=[Limit("cards", concurrency=2, rate="100/h")], retry=NO_RETRY)
        def charge(job: Charge) -> None:
            RAN.append(job.tenant)

        yield


def come(*ids: int) -> list[Claim]:
    return admission.claim([message(job_id) for job_id in ids], worker=WORKER, lease=LEASE)


def charges() -> list[int]:
    wipe()
    RAN.clear()
    return [int(job_id) for job_id in job_scheduler.enqueue_many([Charge(number) for number in range(3)])]


def never_too_many() -> None:
    running = JobRecord.objects.filter(state="processing")
    assert running.count() <= 2
    slots = LimitSlot.objects.count()
    assert slots <= 2
    held = {*LimitSlot.objects.values_list("job_id", "token")}
    assert held >= {*running.values_list("pk", "token")}, "who runs has a slot"


def go_on(ids: list[int], *, recorded: int = 3) -> None:
    """A minute later schedulers come by, as often as it takes, and workers to whatever is not in a line."""
    duties = LimitDuties()
    for _ in range(10):
        ago = timedelta(seconds=60)
        LimitSlot.objects.update(taken_at=F("taken_at") - ago)
        expire(*ids)
        lifecycle.expire_leases(max_crashes=9)
        duties.look_after()
        never_too_many()
        in_line = LimitWaiter.objects.values("job_id")
        free = JobRecord.objects.filter(state="enqueued").exclude(pk__in=in_line).order_by("pk")
        claims: list[Claim] = []
        for pk in list(free.values_list("pk", flat=True)):
            claims += come(pk)  # alone, as it may be what its worker died of
        never_too_many()
        execution.settle([move for claim in claims if (move := perform(claim))], worker=WORKER)
        if not JobRecord.objects.exclude(state="succeeded").exists():
            break
    assert states(*ids) == ["succeeded"] * len(ids)
    assert JobHistory.objects.filter(to_state="succeeded").count() == recorded
    starts = JobHistory.objects.filter(to_state="processing").count()
    assert sum(LimitStart.objects.values_list("count", flat=True)) >= starts, "none is forgotten"
    for model in (LimitSlot, LimitWaiter):
        assert not model._default_manager.exists()


@pytest.mark.usefixtures("cards")
def test_one_that_takes_slots_takes_none_with_it() -> None:
    ids: list[int] = []

    def prepare() -> None:
        ids[:] = charges()

    running = set[int]()
    for _ in kills(prepare, lambda: come(*ids)):
        never_too_many()
        running.add(JobRecord.objects.filter(state="processing").count())
        go_on(ids)
        assert sorted(RAN) == [0, 1, 2]
    assert running == {0, 2}


@pytest.mark.usefixtures("cards")
def test_one_that_gives_slots_back_takes_none_with_it_and_they_are_passed_on() -> None:
    ids: list[int] = []
    moves: list[Move] = []

    def prepare() -> None:
        ids[:] = charges()
        moves[:] = [move for claim in come(*ids) if (move := perform(claim))]
        assert LimitWaiter.objects.count() == 1

    seen = set[tuple[int, int]]()
    for was_killed in kills(prepare, lambda: execution.settle(moves, worker=WORKER)):
        never_too_many()
        done = JobRecord.objects.filter(state="succeeded").count()
        waiting = LimitWaiter.objects.count()
        seen.add((done, waiting))
        assert was_killed or (done, waiting) == (2, 0)
        go_on(ids)
        assert len(RAN) == 3 + (2 - done), "those whose outcome was not recorded run again, and no other"
    assert {(0, 1), (2, 0)} <= seen <= {(0, 1), (2, 1), (2, 0)}


@pytest.mark.usefixtures("cards")
def test_a_scheduler_that_passes_slots_on_takes_none_with_it() -> None:
    ids: list[int] = []

    def prepare() -> None:
        ids[:] = charges()
        come(*ids)
        LimitSlot.objects.update(taken_at=F("taken_at") - MINUTE)
        JobRecord.objects.filter(state="processing").update(state="succeeded")  # and nobody could say so

    for _ in kills(prepare, lambda: LimitDuties().look_after()):
        never_too_many()
        done = JobRecord.objects.filter(state="succeeded").count()
        assert done == 2
        go_on(ids, recorded=1)
        assert RAN == [2]
