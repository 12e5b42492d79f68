"""Jobs that are to be started by a time, or never."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from handlers import InvalidJob, job_scheduler, lifecycle
from handlers.models import JobHistory, JobPayload, JobRecord, Workflow
from handlers.recovery import Recovery
from tests.app.jobs import Fail, Note
from tests.running import NotingTransport, claim, facts, make_due, moves_of, record, run, states

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("noting")]

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def expiry(job_id: int) -> datetime | None:
    return JobPayload.objects.get(pk=job_id).expires_at


def past(*job_ids: int) -> None:
    """Let their time pass."""
    JobPayload.objects.filter(pk__in=job_ids).update(expires_at=timezone.now() - timedelta(milliseconds=1))


def why(job_id: int) -> tuple[str, str, str]:
    """The last row of its history."""
    last: tuple[str, str, str] = (
        JobHistory.objects.filter(job_id=job_id).order_by("-pk").values_list("from_state", "to_state", "reason")[0]
    )
    return last


def test_a_time_or_a_wait_is_kept_beside_the_job() -> None:
    at = datetime(2031, 2, 3, tzinfo=UTC)
    assert expiry(job_scheduler.enqueue(Note("a"), expires=at)) == at
    for job_id in (
        job_scheduler.enqueue(Note("b"), expires=HOUR),
        job_scheduler.schedule(Note("c"), timezone.now() + MINUTE, expires=HOUR),
        *job_scheduler.enqueue_many([Note("d"), Note("e")], expires=HOUR),
    ):
        assert expiry(job_id) == record(job_id).created_at + HOUR
    assert expiry(job_scheduler.enqueue(Note("f"))) is None


@pytest.mark.parametrize(
    "options",
    [
        {"expires": timedelta(0)},
        {"expires": timedelta(days=4_000)},
        {"expires": 5},
        {"expires": datetime(2031, 1, 1)},  # noqa: DTZ001 - naive
        {"expires": MINUTE, "delay": HOUR},
        {"expires": datetime(2020, 1, 1, tzinfo=UTC), "delay": HOUR},
        {"expires": datetime.max.replace(tzinfo=timezone.get_fixed_timezone(-60))},
    ],
)
def test_what_does_not_fit_is_named(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidJob) as error:
        job_scheduler.enqueue(Note("a"), **options)
    assert error.value.field == "expires"
    assert "expires" in str(error.value)
    at = datetime(2031, 2, 3, tzinfo=UTC)
    with pytest.raises(InvalidJob, match="before the job is due"):
        job_scheduler.schedule(Note("a"), at, expires=at)
    with pytest.raises(InvalidJob, match="before the job is due"):
        job_scheduler.schedule(Note("a"), timezone.now() + HOUR, expires=MINUTE)
    assert not JobRecord.objects.exists()


def test_a_scheduler_deletes_what_was_not_started_and_says_why(noting: NotingTransport) -> None:
    waiting = job_scheduler.enqueue(Note("a"), expires=HOUR)
    scheduled = job_scheduler.enqueue(Note("b"), delay=MINUTE, expires=HOUR)
    later, ever = job_scheduler.enqueue(Note("c"), expires=HOUR), job_scheduler.enqueue(Note("d"))
    past(waiting, scheduled)
    Recovery().tick()
    assert [record(job_id).state for job_id in (waiting, scheduled, later, ever)] == [
        "deleted", "deleted", "enqueued", "enqueued",
    ]  # fmt: skip
    assert why(waiting) == ("enqueued", "deleted", "expired before it was started")
    assert why(scheduled) == ("scheduled", "deleted", "expired before it was started")
    assert {message.job_id for message in noting.withdrawn[0]} == {waiting, scheduled}
    assert not lifecycle.agenda().expired
    # A person may bring it back: its time counts no more.
    assert job_scheduler.restore(waiting)
    run(waiting)
    assert record(waiting).state == "succeeded"


def test_a_worker_refuses_it_before_a_scheduler_comes() -> None:
    late, other = job_scheduler.enqueue(Note("a"), expires=HOUR), job_scheduler.enqueue(Note("b"), expires=HOUR)
    past(late)
    assert [found.job_id for found in claim(late, other)] == [other]
    assert facts(late, "state", "attempt") == ("deleted", 0)
    assert why(late) == ("processing", "deleted", "expired before it was started")
    Recovery().tick()
    assert facts(late, "state", "attempt") == ("deleted", 0)
    # That, too, a person may bring back.
    assert job_scheduler.restore(late)
    run(late)
    assert record(late).state == "succeeded"
    running = job_scheduler.enqueue(Note("c"))
    claim(running)
    assert job_scheduler.delete(running)
    assert not job_scheduler.restore(running)


def test_what_comes_back_from_a_worker_unstarted_has_its_deadline_still() -> None:
    unstarted, started = job_scheduler.enqueue(Note("a"), expires=HOUR), job_scheduler.enqueue(Note("b"), expires=HOUR)
    claims = claim(unstarted, started)
    past(unstarted, started)
    assert not lifecycle.agenda().expired
    Recovery().tick()
    moves = [lifecycle.handed_back(each, "", started=each.job_id == started) for each in claims]
    assert lifecycle.apply(moves, actor="it").moved == {unstarted, started}
    assert lifecycle.agenda().expired
    Recovery().tick()
    assert [record(job_id).state for job_id in (unstarted, started)] == ["deleted", "enqueued"]
    assert not lifecycle.agenda().expired


def test_what_was_started_in_time_goes_on_and_is_tried_again() -> None:
    job_id = job_scheduler.enqueue(Fail(1, "k"), expires=HOUR)
    claim(job_id)
    past(job_id)
    Recovery().tick()
    assert record(job_id).state == "processing"
    retried = job_scheduler.enqueue(Fail(1, "l"), expires=HOUR)
    run(retried)
    past(retried)
    Recovery().tick()
    make_due(retried)
    run(retried)
    assert moves_of(retried)[-1] == ("processing", "succeeded")


def test_what_waits_for_a_parent_expires_too_and_its_children_learn_it() -> None:
    with job_scheduler.workflow() as flow:
        parent = flow.enqueue(Note("a"))
        late = flow.enqueue(Note("b"), after=[parent], expires=HOUR)
        needs_it = flow.enqueue(Note("c"), after=[late])
        instead = flow.enqueue(Note("d"), after=[late], when="deleted")
        anyway = flow.enqueue(Note("e"), after=[late], when="ended")
    assert expiry(late.job_id) == record(late.job_id).created_at + HOUR
    Recovery().tick()
    assert record(late.job_id).state == "awaiting"
    past(late.job_id)
    Recovery().tick()
    nodes = (parent, late, needs_it, instead, anyway)
    assert states(*nodes) == ["enqueued", "deleted", "deleted", "enqueued", "enqueued"]
    assert why(late.job_id) == ("awaiting", "deleted", "expired before it was started")
    assert not lifecycle.agenda().expired
    run(parent.job_id, instead.job_id, anyway.job_id)
    assert states(*nodes) == ["succeeded", "deleted", "deleted", "succeeded", "succeeded"]
    workflow = Workflow.objects.get(pk=flow.workflow_id)
    assert (workflow.open, workflow.deleted, workflow.unneeded, bool(workflow.finished_at)) == (0, 1, 1, True)


def test_what_came_to_its_queue_after_it_had_waited_expires_as_any() -> None:
    with job_scheduler.workflow() as flow:
        parent = flow.enqueue(Note("a"))
        late = flow.enqueue(Note("b"), after=[parent], expires=HOUR)
    run(parent.job_id)
    past(late.job_id)
    assert claim(late.job_id) == []
    assert why(late.job_id)[1:] == ("deleted", "expired before it was started")
