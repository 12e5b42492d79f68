"""Jobs of every type start, whatever floods of others have the slots, and whatever holds the main thread."""

from __future__ import annotations

import pytest

from handlers import Job, job_scheduler
from handlers.models import JobRecord
from tests.app.coroutines import Wait
from tests.app.jobs import AsyncNote, Note, Sleep
from tests.faults.conftest import Start
from tests.faults.records import broken_trails, states, wait_state

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]


def enqueue(*jobs: Job) -> list[int]:
    return [int(job_id) for job_id in job_scheduler.enqueue_many(jobs, queue="default")]


def later_than(ids: list[int], others: list[int]) -> int:
    """How many of the jobs were started after all of the others."""
    last = JobRecord.objects.filter(pk__in=others).latest("started_at").started_at
    return JobRecord.objects.filter(pk__in=ids, started_at__gt=last).count()


def all_ran_once(*ids: int) -> None:
    wait_state("succeeded", *ids)
    assert set(JobRecord.objects.filter(pk__in=ids).values_list("attempt", "crashes")) == {(1, 0)}
    assert broken_trails(ids) == []


@pytest.mark.parametrize(
    ("options", "flood", "other"),
    [
        pytest.param(("--max-async", "4"), Wait(0.3), AsyncNote("other"), id="async behind async"),
        pytest.param(("--max-async", "4"), Wait(0.3), Note("other"), id="sync behind async"),
        pytest.param(("--threads", "4"), Sleep(0.3), Note("other"), id="sync behind threads"),
        pytest.param(("--threads", "4"), Sleep(0.3), AsyncNote("other"), id="async behind threads"),
    ],
)
def test_a_flood_of_one_type_keeps_no_other_from_starting(
    start_worker: Start, options: tuple[str, ...], flood: Job, other: Job
) -> None:
    first = enqueue(*[flood] * 80)
    behind = enqueue(*[other] * 2)
    start_worker("--processes", "1", *options)
    all_ran_once(*first, *behind)
    assert later_than(first, behind) > 10, "these were before it"


def test_threads_that_are_all_busy_for_long_hold_up_no_async_job(start_worker: Start) -> None:
    long = enqueue(*[Sleep(60)] * 3)
    ids = enqueue(Note("waits"), *[Wait(0.2)] * 10)
    start_worker("--processes", "1", "--threads", "3")
    wait_state("succeeded", *ids[1:])
    assert states(long) == {"processing"}
    assert states(ids[:1]) == {"enqueued"}


def test_a_long_sync_job_in_the_main_thread_holds_up_no_async_one(start_worker: Start) -> None:
    [long] = enqueue(Sleep(60))
    start_worker("--processes", "1")
    wait_state("processing", long)
    ids = enqueue(Note("waits"), *[Wait(0.2)] * 40)
    wait_state("succeeded", *ids[1:])
    assert states([long]) == {"processing"}
    assert states(ids[:1]) == {"enqueued"}
    job_scheduler.delete(long)
    all_ran_once(*ids)


def test_no_more_is_taken_than_there_are_slots_for_when_jobs_suddenly_take_longer(start_worker: Start) -> None:
    ids = enqueue(*[Sleep(0.005)] * 100, *[Sleep(0.3)] * 12, *[Note("the rest")] * 40)
    worker = start_worker("--processes", "1", "--threads", "4")
    all_ran_once(*ids)
    assert worker.log.read_text().count(" started, PID ") == 1, "it had to be replaced"
