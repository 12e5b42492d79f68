"""A job's priority: where it comes from, what is refused, and that every message of the job carries it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

import pytest
from django.utils import timezone

from handlers import (
    Command,
    EnqueueJobCommand,
    InvalidJob,
    Job,
    ScheduleJobCommand,
    Unique,
    command_bus,
    execution,
    handles,
    handles_command,
    job_scheduler,
    lifecycle,
    recurring,
    waiting,
)
from handlers.models import JobRecord, RecurringJob
from handlers.recurrence import firing
from handlers.registry import registry
from handlers.rq_transport.overlooked import Overlooked
from handlers.states import State
from handlers.transport import Message
from tests.app.jobs import Fail, Note
from tests.running import WORKER, NotingTransport, claim, expire, facts, make_due, record, run

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("noting")]

HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Urgent(Job):
    """A type of job that has a priority."""


@dataclass(frozen=True)
class Tidy(Command):
    """A command that has one."""


def enqueue(priority: int = 7) -> int:
    return job_scheduler.enqueue(Note("a"), priority=priority)


def priorities(messages: list[list[Message]]) -> list[int]:
    """Of the messages in the last call."""
    return [message.priority for message in messages[-1]]


# --- where it comes from


def test_it_is_the_callers_then_the_types_then_none(noting: NotingTransport) -> None:
    with registry.isolated():
        handles(Urgent, priority=50)(lambda job: None)
        handles_command(Tidy, priority=-50)(lambda command: None)
        ids = [
            job_scheduler.enqueue(Urgent()),
            job_scheduler.enqueue(Urgent(), priority=0),
            command_bus.send(Tidy()),
            command_bus.send(EnqueueJobCommand(Urgent())),
            command_bus.send(EnqueueJobCommand(Urgent(), priority=-1)),
            job_scheduler.enqueue(Note("a")),
            *job_scheduler.enqueue_many([Urgent(), Note("a")]),
            *job_scheduler.enqueue_many([Urgent(), Note("a")], priority=-3),
        ]
    assert [facts(pk, "priority") for pk in ids] == [(n,) for n in (50, 0, -50, 50, -1, 0, 50, 0, -3, -3)]
    assert [m.priority for call in noting.published for m in call] == [50, 0, -50, 50, -1, 0, 50, 0, -3, -3]


def test_an_occurrence_has_that_of_its_type(noting: NotingTransport) -> None:
    with registry.isolated():
        registry.recurring.clear()
        handles(Urgent, priority=50)(lambda job: None)
        recurring("urgent", Urgent(), every=HOUR)
        job_scheduler.add_or_update_recurring("urgent", Urgent(), every=HOUR)
        assert facts(cast("int", job_scheduler.trigger_recurring("urgent")), "priority") == (50,)
        at = timezone.now()
        RecurringJob.objects.update(next_at=at, due_at=at)
        assert firing.fire_due().jobs == 1
    assert priorities(noting.published) == [50]


# --- what is refused


@pytest.mark.parametrize("wrong", [101, -101, True, 1.0, "7", 10**30])
def test_what_is_no_priority_is_named_and_nothing_is_written(wrong: Any) -> None:
    calls: list[Callable[[], object]] = [
        lambda: job_scheduler.enqueue(Note("a"), priority=wrong),
        lambda: job_scheduler.schedule(Note("a"), timezone.now(), priority=wrong),
        lambda: job_scheduler.enqueue_many([Note("a")], priority=wrong),
        lambda: EnqueueJobCommand(Note("a"), priority=wrong),
        lambda: ScheduleJobCommand(Note("a"), timezone.now(), priority=wrong),
        lambda: handles(Urgent, priority=wrong)(lambda job: None),
        lambda: handles_command(Tidy, priority=wrong)(lambda command: None),
    ]
    for call in calls:
        with pytest.raises(InvalidJob, match="priority: must be a whole number from -100 to 100") as error:
            call()
        assert error.value.field == "priority"
    assert not JobRecord.objects.exists()


def test_a_type_that_says_none_is_refused_too() -> None:
    with pytest.raises(InvalidJob, match="priority"):
        handles(Urgent, priority=cast("int", None))(lambda job: None)


# --- every message carries it


def test_what_is_scheduled_keeps_it_until_it_is_due(noting: NotingTransport) -> None:
    job_id = job_scheduler.schedule(Note("a"), timezone.now() + HOUR, priority=7)
    assert priorities(noting.delayed) == [7]
    assert [(m.job_id, m.priority) for m in make_due(job_id)] == [(job_id, 7)]


def test_a_retry_keeps_it(noting: NotingTransport) -> None:
    job_id = job_scheduler.enqueue(Fail(9), priority=7)
    run(job_id)
    assert priorities(noting.delayed) == [7]
    assert [message.priority for message in make_due(job_id)] == [7]


def test_a_hand_back_and_a_lost_worker_keep_it(noting: NotingTransport) -> None:
    job_id = enqueue()
    (claimed,) = claim(job_id)
    execution.settle([lifecycle.handed_back(claimed, "stopped", started=False)], worker=WORKER)
    assert priorities(noting.published) == [7]
    claim(job_id)
    expire(job_id)
    assert [message.priority for message in lifecycle.expire_leases(max_crashes=3).messages] == [7]


@pytest.mark.parametrize(
    ("state", "verb"),
    [
        (State.FAILED, job_scheduler.retry),
        (State.SCHEDULED, job_scheduler.retry),
        (State.SUCCEEDED, job_scheduler.requeue),
    ],
)
def test_verbs_keep_it(state: State, verb: Callable[[int], bool], noting: NotingTransport) -> None:
    job_id = enqueue()
    JobRecord.objects.filter(pk=job_id).update(state=state, run_at=timezone.now() + HOUR)
    assert verb(job_id)
    assert priorities(noting.published) == [7]


def test_restore_and_move_keep_it(noting: NotingTransport) -> None:
    job_id = enqueue()
    assert job_scheduler.delete(job_id)
    assert job_scheduler.restore(job_id)
    assert priorities(noting.published) == [7]
    assert job_scheduler.move(job_id, "mail")
    assert (noting.published[-1][0].queue, noting.published[-1][0].priority) == ("mail", 7)
    later = job_scheduler.schedule(Note("a"), timezone.now() + HOUR, priority=-7)
    assert job_scheduler.move(later, "mail")
    assert priorities(noting.delayed) == [-7]


def test_a_type_that_runs_again_has_it_published_with_the_time_since_when_it_waits(noting: NotingTransport) -> None:
    job_id = enqueue()
    job_scheduler.pause_type("app.Note")
    job_scheduler.resume_type("app.Note")
    row = record(job_id)
    assert noting.published[-1] == [Message(job_id, row.token, "default", None, 7, row.enqueued_at)]


def test_what_is_published_again_has_it_with_the_time_since_when_it_waits() -> None:
    row = record(enqueue())
    expected = Message(row.pk, row.token, "default", None, 7, row.enqueued_at)
    assert lifecycle.still_enqueued([(row.pk, row.token), (row.pk, "0" * 16)]) == [expected]
    assert [found.message for found in waiting.oldest("default", 10)] == [expected]


def test_debounce_gives_the_one_that_is_there_the_new_ones(noting: NotingTransport) -> None:
    rule = Unique(on_conflict="debounce")
    job_id = job_scheduler.enqueue(Note("a"), delay=HOUR, unique=rule, priority=7)
    assert job_scheduler.enqueue(Note("a"), delay=HOUR, unique=rule, priority=-7) == job_id
    assert facts(job_id, "priority") == (-7,)
    assert priorities(noting.delayed) == [-7]


# --- where slots are short


def test_who_lets_others_pass_is_overlooked_only_once_that_is_over() -> None:
    usual, low = enqueue(0), enqueue(-1)

    def found(**which: Any) -> list[int]:
        return [message.job_id for message in Overlooked().look(["default"], 10, **which)]

    assert found(without={"app.Fail"}) == [usual]
    assert found(only={"app.Note"}) == [usual, low], "the slots are theirs"
    JobRecord.objects.filter(pk=low).update(enqueued_at=timezone.now() - timedelta(seconds=7))
    assert found(without={"app.Fail"}) == [low, usual]
    JobRecord.objects.filter(pk=low).update(priority=-2)
    assert found(without={"app.Fail"}) == [usual]
