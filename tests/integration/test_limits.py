"""Limited jobs: who gets a slot, who waits for one and comes next, and what becomes of slots in every case."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import F

from handlers import (
    Command,
    InvalidJob,
    Job,
    Limit,
    Unique,
    admission,
    entry,
    execution,
    following,
    handles,
    handles_command,
    job_scheduler,
    lifecycle,
)
from handlers.admission import LimitDuties
from handlers.admission.edits import reset_limit, set_limit
from handlers.admission.places import place_of, standings
from handlers.lifecycle import Claim, Move
from handlers.models import (
    AuditEntry,
    JobRecord,
    LimitKey,
    LimitOverride,
    LimitSlot,
    LimitStart,
    LimitWaiter,
    WatchedMove,
)
from handlers.recovery import Recovery, age_out, bring_back
from handlers.registry import registry
from handlers.states import State
from handlers.transport import Message
from tests.app.jobs import NO_RETRY, QUICK, Note
from tests.running import LEASE, WORKER, NotingTransport, expire, make_due, message, perform, record

pytestmark = [pytest.mark.django_db(transaction=True)]

HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Charge(Job):
    tenant: int = 1
    fails: bool = False


@dataclass(frozen=True)
class Refund(Command):
    of: int = 1


@dataclass(frozen=True)
class Report(Job):
    tenant: int = 1


@pytest.fixture(autouse=True)
def noting(noting: NotingTransport) -> Iterator[NotingTransport]:
    """Types of this file alone."""
    with registry.isolated():
        yield noting


def declare(*limits: Limit, job: type[Job] = Charge, **options: Any) -> None:
    def handler(job: Any) -> None:
        if getattr(job, "fails", False):
            raise RuntimeError("no")

    handles(job, limits=list(limits), **({"retry": NO_RETRY} | options))(handler)


def come(*ids: int, worker: str = WORKER, company: bool | None = None) -> list[Claim]:
    """A worker comes to these jobs with messages that are up to date."""
    return admission.claim([message(job_id) for job_id in ids], worker=worker, lease=LEASE, company=company)


def ids_of(claims: Sequence[Claim]) -> list[int]:
    return [claim.job_id for claim in claims]


def end(claims: Sequence[Claim]) -> None:
    """Run and record them."""
    moves: list[Move] = [move for claim in claims if (move := perform(claim))]
    execution.settle(moves, worker=WORKER)


def charges(*tenants: int, **options: Any) -> list[int]:
    return [int(job_id) for job_id in job_scheduler.enqueue_many([Charge(tenant) for tenant in tenants], **options)]


def waiting() -> list[int]:
    return list(LimitWaiter.objects.order_by("key_id", "rank", "job_id").values_list("job_id", flat=True))


def holding() -> set[int]:
    return set(LimitSlot.objects.values_list("job_id", flat=True))


def published(noting: NotingTransport) -> list[int]:
    """What was published since the last call."""
    found = [message.job_id for call in noting.published for message in call]
    noting.published.clear()
    return found


def pass_by(seconds: float) -> None:
    """Let time go by for slots, starts and jobs that run."""
    ago = timedelta(seconds=seconds)
    LimitSlot.objects.update(taken_at=F("taken_at") - ago)
    LimitStart.objects.update(at=F("at") - ago, since=F("since") - ago)
    LimitWaiter.objects.update(since=F("since") - ago)
    JobRecord.objects.filter(started_at__isnull=False).update(started_at=F("started_at") - ago)
    WatchedMove.objects.update(at=F("at") - ago)


def lines() -> dict[int, str]:
    """Who waits for which limit."""
    names = dict(LimitKey.objects.values_list("pk", "name"))
    return {job: names[key] for job, key in LimitWaiter.objects.values_list("job_id", "key_id")}


def nothing_is_left() -> None:
    assert not LimitSlot.objects.exists()
    assert not LimitWaiter.objects.exists()
    assert not WatchedMove.objects.exists()


# --- how many at once


def test_a_limit_lets_so_many_run_and_the_others_wait_without_a_worker(noting: NotingTransport) -> None:
    declare(Limit("cards", concurrency=2))
    jobs = charges(1, 1, 1, 1)
    assert published(noting) == jobs
    running = come(*jobs)
    assert ids_of(running) == jobs[:2]
    assert waiting() == jobs[2:]
    assert come(*jobs[2:]) == [], "and coming to them again changes nothing"
    assert waiting() == jobs[2:]
    assert published(noting) == []
    end(running[:1])
    assert published(noting) == [jobs[2]]
    assert waiting() == [jobs[3]]
    assert ids_of(come(jobs[2])) == [jobs[2]]
    assert holding() == {*jobs[1:3]}


def test_each_value_of_the_key_has_the_limit_for_itself(noting: NotingTransport) -> None:
    declare(Limit("cards", concurrency=1, key="tenant"))
    jobs = charges(1, 1, 2, 2, 3)
    running = come(*jobs)
    assert ids_of(running) == [jobs[0], jobs[2], jobs[4]]
    published(noting)
    end(running)
    assert sorted(published(noting)) == [jobs[1], jobs[3]]
    assert set(LimitKey.objects.values_list("name", "key")) == {("cards", "1"), ("cards", "2"), ("cards", "3")}


def test_who_waits_is_admitted_in_turns_so_that_one_key_does_not_starve_another(noting: NotingTransport) -> None:
    declare(Limit("cards", concurrency=2, key="tenant"))
    jobs = charges(1, 1, 1, 1, 1, 1, 2, 2, 2, 2)
    running = come(*jobs)
    published(noting)
    end(running)
    assert published(noting) == [jobs[2], jobs[8], jobs[3], jobs[9]]


def test_a_job_needs_a_slot_of_each_of_its_limits_and_holds_none_while_it_waits_for_one(
    noting: NotingTransport,
) -> None:
    declare(Limit("all", concurrency=2), Limit("tenant", concurrency=1, key="tenant"))
    jobs = charges(1, 2, 1, 3)
    running = come(*jobs)
    assert ids_of(running) == jobs[:2]
    assert lines() == {jobs[2]: "all", jobs[3]: "all"}
    published(noting)
    end(running[1:])  # there is room for one, but not for the first who waits: its tenant has a job that runs
    assert published(noting) == [jobs[3]]
    assert lines() == {jobs[2]: "tenant"}
    end([*running[:1], *come(jobs[3])])
    assert published(noting) == [jobs[2]]
    end(come(jobs[2]))
    nothing_is_left()


def test_types_share_a_limit_by_its_name_each_with_the_key_in_a_field_of_its_own() -> None:
    declare(Limit("cards", concurrency=1, key="tenant"))
    handles_command(Refund, limits=[Limit("cards", concurrency=1, key="of")])(lambda command: None)
    (charge,), refund, other = charges(7), job_scheduler.enqueue(Refund(7)), job_scheduler.enqueue(Refund(8))
    assert ids_of(come(charge, refund, other)) == [charge, other]
    assert waiting() == [refund]


def test_jobs_without_limits_beside_limited_ones_are_claimed_as_ever() -> None:
    declare(Limit("cards", concurrency=1))
    (one, two), note = charges(1, 2), job_scheduler.enqueue(Note("x"))
    assert ids_of(come(two, note, one)) == [two, note]


def test_who_comes_later_does_not_pass_those_who_wait(noting: NotingTransport) -> None:
    declare(Limit("cards", rate="1/h"))
    first, second, third = charges(1, 1, 1)
    end(come(first))
    assert come(second) == []
    pass_by(3_601)
    published(noting)
    assert come(third) == []
    assert published(noting) == [second]
    assert waiting() == [third]
    assert ids_of(come(second)) == [second]


def test_a_line_is_in_the_order_of_the_queue_priorities_included(noting: NotingTransport) -> None:
    declare(Limit("cards", concurrency=1))
    running = come(*charges(1))
    (plain,), (urgent,) = charges(1), charges(1, priority=50)
    come(plain, urgent)
    assert waiting() == [urgent, plain]
    published(noting)
    end(running)
    assert published(noting) == [urgent]


# --- how many in a time


def test_a_rate_lets_so_many_start_in_any_such_time(noting: NotingTransport) -> None:
    declare(Limit("cards", rate="3/m"))
    jobs = charges(*[1] * 8)
    duties = LimitDuties()
    end(come(*jobs[:2]))
    pass_by(40)
    end(come(*jobs[2:]))
    assert LimitWaiter.objects.count() == 5, "two of 40 s ago, and one"
    published(noting)
    duties.look_after()
    assert published(noting) == []
    pass_by(21)
    duties.look_after()
    assert published(noting) == jobs[3:5]
    end(come(*jobs[3:5]))
    pass_by(38)
    duties.look_after()
    assert published(noting) == []
    pass_by(2)
    duties.look_after()
    assert published(noting) == [jobs[5]]


def test_a_start_counts_from_the_claim_and_until_then_in_any_case(noting: NotingTransport) -> None:
    declare(Limit("cards", rate="1/m"))
    first, second, third = charges(1, 1, 1)
    duties = LimitDuties()
    end(come(first))
    come(second, third)
    pass_by(61)
    published(noting)
    duties.look_after()
    assert published(noting) == [second]
    pass_by(20)  # no worker has come for it yet
    duties.look_after()
    running = come(second)
    assert running
    pass_by(50)
    duties.look_after()
    assert waiting() == [third]
    pass_by(11)
    duties.look_after()
    assert waiting() == []
    end(running)


def test_many_starts_are_kept_as_few_rows() -> None:
    declare(Limit("cards", rate="1000/h"))
    jobs = charges(*[1] * 60)
    for at in range(0, 60, 20):
        end(come(*jobs[at : at + 20]))
    assert LimitStart.objects.count() == 1
    assert LimitStart.objects.get().count == 60
    pass_by(3_700)
    end(come(*charges(1)))
    assert LimitStart.objects.get().count == 1


def test_a_rate_and_a_concurrency_hold_together() -> None:
    declare(Limit("cards", concurrency=2, rate="3/h"))
    jobs = charges(*[1] * 6)
    running = come(*jobs)
    assert ids_of(running) == jobs[:2]
    end(running)
    assert ids_of(come(jobs[2])) == [jobs[2]]
    assert come(*jobs[3:]) == []


# --- what gives a slot back


def test_a_retry_that_waits_out_its_backoff_holds_no_slot(noting: NotingTransport) -> None:
    declare(Limit("cards", concurrency=1), retry=QUICK)
    failing = job_scheduler.enqueue(Charge(1, fails=True))
    (other,) = charges(1)
    running = come(failing, other)
    published(noting)
    end(running)
    assert record(failing).is_retrying
    assert published(noting) == [other]
    assert holding() == {other}
    make_due(failing)
    assert come(failing) == []
    end(come(other))
    assert ids_of(come(failing)) == [failing]


def test_a_lost_worker_gives_its_slots_back(noting: NotingTransport) -> None:
    declare(Limit("cards", concurrency=1))
    lost, other = charges(1, 1)
    come(lost, other)
    published(noting)
    expire(lost)
    assert bring_back() == 1
    assert sorted(published(noting)) == [lost, other]
    assert holding() == {other}
    assert come(lost) == [], "it came back with another token, behind"
    end(come(other))
    assert ids_of(come(lost)) == [lost]


def test_what_is_handed_back_holds_no_slot(noting: NotingTransport) -> None:
    declare(Limit("cards", concurrency=1))
    first, second = charges(1, 1)
    (running,) = come(first, second)
    published(noting)
    lifecycle.apply([lifecycle.handed_back(running, "the job before it takes long", started=False)], actor=WORKER)
    assert published(noting) == [second]
    assert holding() == {second}


@pytest.mark.parametrize("state", ["running", "waiting", "admitted"])
def test_a_deleted_job_neither_holds_nor_waits(state: str, noting: NotingTransport) -> None:
    declare(Limit("cards", concurrency=1))
    first, second, third = charges(1, 1, 1)
    running = come(first, second, third)
    if state == "admitted":
        end(running)
    gone = first if state == "running" else second
    published(noting)
    assert job_scheduler.delete(gone)
    assert gone not in {*waiting(), *holding()}
    assert published(noting) == ({"running": [second], "waiting": [], "admitted": [third]}[state])
    assert job_scheduler.restore(gone) is (state != "running")
    if state != "running":
        assert published(noting)[-1:] == [gone]
        assert come(gone) == []
        assert gone in waiting()


def test_a_job_that_waits_can_be_moved_to_another_queue(noting: NotingTransport) -> None:
    declare(Limit("cards", concurrency=1))
    first, second, third = charges(1, 1, 1)
    running = come(first, second, third)
    published(noting)
    assert job_scheduler.move(second, "mail")
    assert published(noting) == [second]
    assert come(second) == []
    assert waiting() == [third, second], "at the end of the queue, at the end of the line"
    end(running)
    assert published(noting) == [third]
    assert job_scheduler.move(third, "mail"), "also one that has a slot and was not claimed: behind the other, again"
    assert published(noting) == [third]
    assert come(third) == []
    assert published(noting) == [second]
    end(come(second))
    assert ids_of(come(third)) == [third]


def test_an_edited_payload_is_under_its_own_key() -> None:
    declare(Limit("cards", concurrency=1, key="tenant"))
    failing = job_scheduler.enqueue(Charge(1, fails=True))
    end(come(failing))
    (other,) = charges(1)
    come(other)
    assert job_scheduler.retry(failing, Charge(2))
    assert ids_of(come(failing)) == [failing]


def test_requeue_and_run_now_wait_for_slots_too() -> None:
    declare(Limit("cards", concurrency=1))
    (done,), later = charges(1), job_scheduler.enqueue(Charge(1), delay=HOUR)
    end(come(done))
    (running,) = come(*charges(1))
    assert job_scheduler.requeue(done)
    assert job_scheduler.retry(later)
    assert come(done, later) == []
    end([running])
    assert len(waiting()) == 1


def test_what_many_hold_many_at_once_can_be_deleted(noting: NotingTransport) -> None:
    declare(Limit("cards", concurrency=3))
    jobs = charges(*[1] * 10)
    come(*jobs)
    published(noting)
    assert job_scheduler.delete_many(jobs[:5]) == 5
    assert published(noting) == jobs[5:8]
    assert holding() == {*jobs[5:8]}
    assert waiting() == jobs[8:]


@pytest.mark.parametrize("what", ["queue", "type"])
def test_what_is_paused_holds_no_slot_and_goes_on_where_it_was(what: str, noting: NotingTransport) -> None:
    declare(Limit("cards", concurrency=1))
    declare(Limit("cards", concurrency=1), job=Report, queue="mail")
    first, second = charges(1, 1)
    third = job_scheduler.enqueue(Report())
    running = come(first, second, third)
    if what == "queue":
        job_scheduler.pause_queue("default")
    else:
        job_scheduler.pause_type(registry.for_object(Charge()).name)
    published(noting)
    end(running)
    assert published(noting) == [third], "not the second, which could not be claimed"
    end(come(third))
    assert come(second) == []
    nothing_is_left()
    if what == "queue":
        job_scheduler.resume_queue("default")
    else:
        job_scheduler.resume_type(registry.for_object(Charge()).name)
    assert ids_of(come(second)) == [second]


def test_a_job_of_a_workflow_needs_a_slot_and_takes_none_while_that_is_paused(noting: NotingTransport) -> None:
    declare(Limit("cards", concurrency=1))
    running = come(*charges(1))
    with job_scheduler.workflow() as flow:
        node = flow.enqueue(Charge(2))
    step = int(node.job_id)
    assert come(step) == []
    assert waiting() == [step]
    assert job_scheduler.pause_workflow(flow.workflow_id)
    published(noting)
    end(running)
    assert published(noting) == []
    nothing_is_left()
    assert job_scheduler.resume_workflow(flow.workflow_id)
    assert published(noting) == [step]
    end(come(step))
    assert record(step).state == State.SUCCEEDED
    nothing_is_left()


def test_what_was_paused_after_it_was_admitted_gives_its_slot_back(noting: NotingTransport) -> None:
    declare(Limit("cards", concurrency=1))
    declare(Limit("cards", concurrency=1), job=Report, queue="mail")
    first, second = charges(1, 1)
    third = job_scheduler.enqueue(Report())
    end(come(first, second, third))
    assert holding() == {second}
    job_scheduler.pause_queue("default")
    pass_by(3)
    published(noting)
    LimitDuties().look_after()
    assert published(noting) == [third]
    assert holding() == {third}


def test_a_slot_that_no_worker_comes_for_goes_to_others(noting: NotingTransport) -> None:
    declare(Limit("cards", concurrency=1))
    first, second, third = charges(1, 1, 1)
    end(come(first, second, third))
    duties = LimitDuties()
    duties.look_after()
    assert holding() == {second}
    pass_by(31)
    duties.look_after()
    assert holding() == {third}
    assert come(second) == []
    end(come(third))
    assert ids_of(come(second)) == [second]


# --- what else a scheduler does


def test_recovery_leaves_those_who_wait_alone_and_publishes_what_was_admitted_and_lost(
    noting: NotingTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("handlers.recovery.PATIENCE_SECONDS", 0.0)
    declare(Limit("cards", concurrency=1))
    first, second, third = charges(1, 1, 1)
    running = come(first, second, third)
    noting.published.clear()  # as if Redis had been flushed
    recovery = Recovery()
    recovery.tick()
    recovery.tick()
    assert published(noting) == []
    end(running)
    assert published(noting) == [second]
    pass_by(3)
    recovery.tick()
    assert published(noting) == [second]
    assert waiting() == [third]


def test_a_slot_whose_job_is_gone_goes_to_others(noting: NotingTransport) -> None:
    declare(Limit("cards", concurrency=1))
    first, second = charges(1, 1)
    come(first, second)
    JobRecord.objects.filter(pk=first).delete()
    pass_by(3)
    published(noting)
    LimitDuties().look_after()
    assert published(noting) == [second]


def test_a_clock_that_is_set_back_holds_nobody_until_that_time_has_come_again() -> None:
    declare(Limit("cards", rate="1/m"))
    first, second = charges(1, 1)
    end(come(first))
    assert not come(second)
    pass_by(-86_400)  # as if the clock had been set back by a day
    LimitDuties().look_after()
    assert ids_of(come(second)) == [second]


def test_slots_from_before_a_clock_was_set_back_are_looked_after() -> None:
    declare(Limit("cards", concurrency=1))
    first, second = charges(1, 1)
    come(first)
    come(second)
    JobRecord.objects.filter(pk=first).delete()  # whatever became of it
    pass_by(-86_400)
    LimitDuties().look_after()
    assert holding() == {second}
    pass_by(-86_400)  # nobody has come for it
    third = charges(1)
    come(*third)
    LimitDuties().look_after()
    assert not waiting()


def test_what_should_have_followed_and_was_cut_off_follows(
    noting: NotingTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(Limit("cards", concurrency=1))
    first, second = charges(1, 1)
    running = come(first, second)
    published(noting)
    with monkeypatch.context() as patch:
        patch.setattr("handlers.lifecycle.watching._told", lambda: None)
        end(running)
    assert published(noting) == []
    pass_by(10)
    Recovery().tick()
    assert published(noting) == [second]


def test_a_waiter_that_is_none_any_more_is_forgotten() -> None:
    declare(Limit("cards", concurrency=1))
    first, second = charges(1, 1)
    come(first, second)
    JobRecord.objects.filter(pk=second).update(state=State.SUCCEEDED)
    LimitDuties().look_after()
    assert waiting() == []


def test_what_is_used_no_more_is_forgotten() -> None:
    declare(Limit("cards", concurrency=1, rate="5/s", key="tenant"))
    end(come(*charges(1, 2)))
    (running,) = come(*charges(3))
    assert LimitKey.objects.count() == 3
    LimitStart.objects.update(at=F("at") - timedelta(days=32))
    age_out()
    assert LimitKey.objects.get().key == "3"
    end([running])
    assert ids_of(come(*charges(1)))  # which this process knows by a number that is gone


def test_a_type_that_has_no_limit_any_more_lets_those_go_who_wait(noting: NotingTransport) -> None:
    with registry.isolated():
        declare(Limit("cards", concurrency=1))
        first, second, third = charges(1, 1, 1)
        running = come(first, second, third)
    declare()
    duties = LimitDuties()
    published(noting)
    end(running)
    duties.look_after()
    assert published(noting) == [], "another release may know that limit"
    pass_by(61)
    duties.look_after()
    assert sorted(published(noting)) == [second, third]
    claims = come(second, third)
    assert ids_of(claims) == [second, third]
    end(claims)
    nothing_is_left()


def test_a_job_of_a_type_that_is_not_known_here_is_claimed_to_be_refused() -> None:
    with registry.isolated():
        declare(Limit("cards", concurrency=1))
        (job,) = charges(1)
    assert ids_of(come(job)) == [job]


# --- who makes jobs


def test_recurring_jobs_and_stock_workers_keep_to_the_limits_too(noting: NotingTransport) -> None:
    declare(Limit("cards", concurrency=1))
    job_scheduler.add_or_update_recurring("it", Charge(1), every=HOUR)
    first, second = job_scheduler.trigger_recurring("it"), job_scheduler.trigger_recurring("it")
    assert first
    assert second
    (running,) = come(first)
    entry.run(second, record(second).token)
    assert record(second).state == State.ENQUEUED
    assert waiting() == [second]
    end([running])
    entry.run(second, record(second).token)
    assert record(second).state == State.SUCCEEDED
    nothing_is_left()


def test_a_unique_job_may_be_limited() -> None:
    declare(Limit("cards", concurrency=1), unique=Unique(key=("tenant",)))
    first, again = charges(1, 1)
    assert first == again
    assert ids_of(come(first)) == [first]


# --- edits


def test_what_a_person_has_set_goes_over_the_code_at_once_and_back(noting: NotingTransport) -> None:
    declare(Limit("cards", concurrency=1))
    jobs = charges(*[1] * 6)
    running = come(*jobs)
    published(noting)
    assert set_limit("cards", concurrency=3, by="ann", reason="a second gateway")
    assert published(noting) == jobs[1:3]
    assert not set_limit("cards", concurrency=3, by="ann")
    assert set_limit("cards", concurrency=3, rate="2/h", expect_version=1, by="ann")
    assert set_limit("cards", concurrency=2, expect_version=2, by="ann")
    end(running)
    assert published(noting) == [], "two have slots still"
    assert reset_limit("cards", expect_version=3, by="ann", reason="it is gone again")
    assert not reset_limit("cards", by="ann")
    end(come(*jobs[1:3]))
    assert published(noting) == [jobs[3]]
    told = [(entry.verb, entry.target, entry.reason, entry.data) for entry in AuditEntry.objects.order_by("pk")]
    first, last = {"concurrency": 1, "rate": ""}, {"concurrency": 2, "rate": ""}
    assert told[0] == (
        "change_limit", "limit cards", "a second gateway",
        {"before": first, "after": {"concurrency": 3, "rate": ""}},
    )  # fmt: skip
    assert told[3] == ("reset_limit", "limit cards", "it is gone again", {"before": last, "after": first})
    assert len(told) == 4


def test_a_limit_can_be_lifted_and_made(noting: NotingTransport) -> None:
    declare(Limit("cards", concurrency=1))
    jobs = charges(*[1] * 4)
    end(come(*jobs))
    published(noting)
    assert set_limit("cards", concurrency=None)
    assert published(noting) == jobs[2:]
    end(come(*jobs[1:]))
    assert set_limit("cards", concurrency=None, rate="2/h")
    assert len(come(*charges(1, 1, 1))) == 2


@pytest.mark.parametrize(
    ("values", "field", "why"),
    [
        ({"name": "cars", "concurrency": 1}, "name", "no job type has a limit 'cars'"),
        ({"concurrency": 0}, "concurrency", "must be a whole number, 1 to 1,000,000"),
        ({"concurrency": None, "rate": "fast"}, "rate", "cannot read 'fast'"),
        ({"concurrency": 2, "expect_version": 1}, "version", "someone changed the limit 'cards'"),
    ],
)
def test_what_does_not_fit_is_told_and_changes_nothing(values: dict[str, Any], field: str, why: str) -> None:
    declare(Limit("cards", concurrency=1))
    with pytest.raises(InvalidJob) as error:
        set_limit(**({"name": "cards", "by": "ann"} | values))
    assert error.value.field == field
    assert str(error.value).startswith(f"{field}: {why}")
    assert not LimitOverride.objects.exists()
    assert not AuditEntry.objects.exists()
    set_limit("cards", concurrency=2)
    with pytest.raises(InvalidJob, match="someone changed the limit"):
        reset_limit("cards", expect_version=0)


# --- what pages tell


def test_a_job_that_waits_has_a_place_in_a_line() -> None:
    declare(Limit("cards", concurrency=1, key="tenant"))
    jobs = charges(17, 17, 17, 5)
    come(*jobs)
    assert [place_of(job, record(job).token) for job in jobs] == [
        None, ("cards", "17", (1, False)), ("cards", "17", (2, False)), None,
    ]  # fmt: skip
    assert place_of(jobs[1], "another") is None


def test_limits_stand_as_they_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    declare(Limit("cards", concurrency=2, rate="100/m", key="tenant"))
    declare(Limit("asks", rate="1/h"), job=Report)
    come(*charges(1, 1, 1, 1, 2, 3, 3, 3))
    set_limit("asks", concurrency=4)
    names = [registry.for_object(job).name for job in (Charge(), Report())]
    asks, cards = standings(["cards", "asks", "nonsense"])
    assert (cards.types, cards.terms, cards.override, cards.is_keyed) == (names[:1], (2, (100, 60)), None, True)
    assert (str(cards.in_use), str(cards.waiting)) == ("5", "3")
    assert [(key, str(waiting), used) for key, waiting, used in cards.busiest] == [
        ("1", "2", 2), ("3", "1", 2), ("2", "0", 1),
    ]  # fmt: skip
    assert (asks.types, asks.terms, str(asks.in_use)) == (names[1:], (4, None), "0")
    assert {each.limit.name for each in standings()} >= {"cards", "asks"}
    monkeypatch.setattr("handlers.admission.places.COUNTED", 2)
    (cards,) = standings(["cards"])
    assert (str(cards.in_use), str(cards.waiting)) == ("2+", "2+")


# --- races


def test_of_many_workers_at_once_no_more_get_slots_than_there_are() -> None:
    declare(Limit("all", concurrency=7), Limit("tenant", concurrency=2, key="tenant"))
    jobs = charges(*[n % 6 for n in range(120)])
    together, most, lock = threading.Barrier(4), [0], threading.Lock()
    running: set[int] = set()

    def work(number: int) -> None:
        try:
            together.wait()
            left = jobs[number::4]
            for at in range(0, 30, 6):
                claims = come(*left[at : at + 6], worker=f"w{number}")
                with lock:
                    running.update(ids_of(claims))
                    most[0] = max(most[0], len(running))
                with lock:
                    running.difference_update(ids_of(claims))
                end(claims)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(4)))
    assert most[0] <= 7
    # All of them, each time: of some, picked in no order, none may have the slots that the others have been given.
    for _ in range(100):  # what was admitted stands on the queue
        end(come(*JobRecord.objects.filter(state=State.ENQUEUED).values_list("pk", flat=True)))
        if not JobRecord.objects.filter(state=State.ENQUEUED).exists():
            break
    assert JobRecord.objects.filter(state=State.SUCCEEDED).count() == 120
    nothing_is_left()


def test_two_that_race_for_the_last_slot_do_not_both_get_it() -> None:
    declare(Limit("cards", concurrency=1))
    for _ in range(15):
        pair = charges(1, 1)
        together = threading.Barrier(2)

        def race(job_id: int, together: threading.Barrier = together) -> list[Claim]:
            wanted: Message = message(job_id)
            try:
                together.wait()
                return admission.claim([wanted], worker=f"w{job_id}", lease=LEASE)
            finally:
                connection.close()

        with ThreadPoolExecutor(2) as threads:
            won = [claim for claims in threads.map(race, pair) for claim in claims]
        assert len(won) == 1
        end(won)
        end(come(*(set(pair) - {won[0].job_id})))
    nothing_is_left()


@pytest.mark.postgresql  # SQLite's one writer gives it back before or after that
def test_who_joins_a_line_while_a_slot_is_given_back_gets_it(noting: NotingTransport) -> None:
    declare(Limit("cards", concurrency=1))
    one, two = charges(1, 1)
    running = come(one)
    published(noting)

    def give_back() -> None:
        try:
            end(running)  # waits for nobody
        finally:
            connection.close()

    with transaction.atomic():
        assert come(two) == []
        with ThreadPoolExecutor(1) as threads:
            threads.submit(give_back).result()
        assert not LimitSlot.objects.exists()
        assert published(noting) == []  # it saw nobody in the line
    assert published(noting) == [two]  # who joined it has looked once more
    end(come(two))
    nothing_is_left()


@pytest.mark.postgresql  # SQLite's one writer gives it back before or after that
def test_a_slot_that_is_given_back_while_somebody_joins_the_line_is_found_by_who_gives_it(
    noting: NotingTransport,
) -> None:
    declare(Limit("cards", concurrency=1))
    one, two = charges(1, 1)
    running = come(one)
    published(noting)

    def join() -> list[Claim]:
        try:
            return come(two)
        finally:
            connection.close()

    moves = [move for claim in running if (move := perform(claim))]
    with transaction.atomic():  # what follows has given it back, and is not committed
        lifecycle.apply(moves, actor=WORKER)
        following.follow()
        assert not LimitSlot.objects.exists()
        with ThreadPoolExecutor(1) as threads:
            assert threads.submit(join).result() == []
        assert waiting() == [two]
    assert published(noting) == [two]
    end(come(two))
    nothing_is_left()


@pytest.mark.postgresql  # elsewhere nobody else can write in between
@pytest.mark.parametrize("another", [True, False])
def test_who_is_late_to_claim_what_it_has_a_slot_for_does_not_run_beside_who_has_it_since(
    *, another: bool, noting: NotingTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(Limit("cards", concurrency=1))
    one, *others = charges(1, 1) if another else charges(1)
    claim, meanwhile = lifecycle.claim, list[int]()

    def since() -> list[Claim]:
        try:
            assert come(*others) == []  # it waits behind the first one
            pass_by(31)
            LimitDuties().look_after()  # nobody has come for the slot
            return come(*others)
        finally:
            connection.close()

    def late(*args: Any, seen_to: str = "", **options: Any) -> list[Claim]:
        if seen_to and not meanwhile:
            meanwhile.append(one)
            assert holding() == {one}
            with ThreadPoolExecutor(1) as threads:
                running.extend(threads.submit(since).result())
            assert holding() == {*others}
        return claim(*args, seen_to=seen_to, **options)

    running: list[Claim] = []
    monkeypatch.setattr(lifecycle, "claim", late)
    claims = come(one)
    if not another:  # it is free: who is late takes it again
        assert ids_of(claims) == [one]
        end(claims)
        return nothing_is_left()
    assert (claims, ids_of(running), waiting()) == ([], others, [one])
    end(running)
    assert published(noting)[-1] == one
    end(come(one))
    return nothing_is_left()


@pytest.mark.postgresql  # elsewhere nobody else can write in between
def test_who_comes_while_its_slot_is_taken_back_leaves_it() -> None:
    declare(Limit("cards", concurrency=1))
    one, two = charges(1, 1)
    end(come(one, two))
    assert holding() == {two}

    def come_for_it() -> list[Claim]:
        try:
            return lifecycle.claim([message(two)], worker=WORKER, lease=LEASE, seen_to="limited")
        finally:
            connection.close()

    with transaction.atomic(), ThreadPoolExecutor(1) as threads:
        LimitSlot.objects.filter(job_id=two).delete()
        assert threads.submit(come_for_it).result() == []  # and waits for nobody
    assert come_for_it() == []
    end(come(two))
    nothing_is_left()
