"""Commands that enqueue and schedule, with a deadline and a rule of which jobs there is one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from handlers import (
    DuplicateJob,
    EnqueueJobCommand,
    GiveUp,
    InvalidJob,
    ScheduleJobCommand,
    Unique,
    command_bus,
    job_scheduler,
)
from handlers.models import AttemptError, JobPayload, JobRecord, UniqueKey
from tests.app.jobs import Note
from tests.running import facts, record, run

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("noting")]

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
ONE = Unique()


def expiry(job_id: Any) -> datetime | None:
    return JobPayload.objects.get(pk=job_id).expires_at


def made_by(command_id: int) -> JobRecord:
    """The job that the command of this job has made."""
    return JobRecord.objects.get(arguments__parent_id=command_id)


def test_send_passes_on_the_deadline() -> None:
    at = datetime(2031, 2, 3, tzinfo=UTC)
    assert expiry(command_bus.send(EnqueueJobCommand(Note("a"), expires=at))) == at
    due = timezone.now() + MINUTE
    scheduled = int(command_bus.send(ScheduleJobCommand(Note("b"), due, expires=HOUR)))
    assert expiry(scheduled) == record(scheduled).created_at + HOUR
    assert expiry(command_bus.send(EnqueueJobCommand(Note("c"), MINUTE))) is None


def test_send_answers_with_the_job_that_is_there_where_the_rule_says_so() -> None:
    first = command_bus.send(EnqueueJobCommand(Note("a"), unique=ONE))
    assert command_bus.send(EnqueueJobCommand(Note("a"), MINUTE, unique=ONE)) == first
    assert command_bus.send(ScheduleJobCommand(Note("a"), timezone.now() + MINUTE, unique=ONE)) == first
    with pytest.raises(DuplicateJob) as error:
        command_bus.send(EnqueueJobCommand(Note("a"), unique=Unique(on_conflict="error")))
    assert error.value.job_id == first
    assert JobRecord.objects.count() == 1
    second = command_bus.send(EnqueueJobCommand(Note("a"), unique=False))
    assert second != first
    assert UniqueKey.objects.get().job_id == first


def test_a_worker_that_carries_it_out_counts_from_then() -> None:
    command_id = job_scheduler.enqueue(EnqueueJobCommand(Note("a"), MINUTE, expires=HOUR, unique=ONE))
    JobRecord.objects.update(created_at=timezone.now() - 2 * HOUR)
    run(command_id)
    made = made_by(command_id)
    assert made.run_at is not None
    assert expiry(made.pk) == made.created_at + HOUR
    assert made.run_at - made.created_at == MINUTE
    again = job_scheduler.enqueue(ScheduleJobCommand(Note("a"), timezone.now() + MINUTE, HOUR, ONE))
    run(again)
    assert facts(again, "state") == ("succeeded",)
    assert not JobRecord.objects.filter(arguments__parent_id=again).exists()
    assert job_scheduler.enqueue(Note("a"), unique=ONE) == made.pk


def test_a_deadline_that_is_over_when_it_is_carried_out_is_not_tried_again() -> None:
    command_id = job_scheduler.enqueue(EnqueueJobCommand(Note("a"), HOUR, expires=timezone.now() + MINUTE))
    run(command_id)
    assert facts(command_id, "state", "attempt") == ("failed", 1)
    error = AttemptError.objects.get(job_id=command_id)
    assert error.exception.endswith(GiveUp.__name__)
    assert "comes before the job is due" in error.message
    assert JobRecord.objects.count() == 1


def test_a_key_that_is_held_fails_the_attempt_where_the_rule_says_so() -> None:
    first = job_scheduler.enqueue(Note("a"), unique=ONE)
    command_id = job_scheduler.enqueue(EnqueueJobCommand(Note("a"), unique=Unique(on_conflict="error")))
    run(command_id)
    assert record(command_id).is_retrying
    assert f"job {first} holds the key already" in AttemptError.objects.get(job_id=command_id).message


@pytest.mark.parametrize(
    ("command", "field"),
    [
        (EnqueueJobCommand(Note("a"), HOUR, expires=datetime(2020, 1, 1, tzinfo=UTC)), "expires"),
        (ScheduleJobCommand(Note("a"), datetime(2131, 1, 1, tzinfo=UTC), expires=HOUR), "expires"),
        (EnqueueJobCommand(Note("x" * 5_000), unique=ONE), "unique"),
    ],
)
def test_what_only_the_scheduler_can_tell_is_told_and_nothing_is_written(command: Any, field: str) -> None:
    with pytest.raises(InvalidJob, match=field) as error:
        command_bus.send(command)
    assert error.value.field == field
    assert not JobRecord.objects.exists()
    assert not UniqueKey.objects.exists()
