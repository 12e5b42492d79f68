"""Jobs with a priority before real workers: who comes first, and that nobody waits for ever."""

from __future__ import annotations

import pytest
from django.conf import settings
from django.test import override_settings
from redis import Redis

from handlers import job_scheduler
from handlers.models import JobRecord
from tests.app.jobs import Note, Sleep
from tests.app.many import Hold
from tests.faults.conftest import Start
from tests.faults.records import Notes, broken_trails, record, states, wait_state
from tests.processes import wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]


def notes_by(*priorities: int) -> list[int]:
    """Jobs that note their priorities and their places here."""
    return [int(job_scheduler.enqueue(Note(f"{n}: {at}"), priority=n)) for at, n in enumerate(priorities)]


def ran_once(*ids: int) -> None:
    assert set(JobRecord.objects.filter(pk__in=ids).values_list("state", "attempt")) == {("succeeded", 1)}
    assert broken_trails(ids) == []


@pytest.mark.usefixtures("quick")
def test_a_worker_runs_the_highest_first_and_the_lowest_last(
    batch: bool, start_worker: Start, notes: Notes, redis: Redis
) -> None:
    ids = notes_by(0, -5, 5, 0, 5, -5, 100, 0, -100)
    start_worker("--processes", "1")
    wait_state("succeeded", *ids)
    assert notes.lines() == ["100: 6", "5: 2", "5: 4", "0: 0", "0: 3", "0: 7", "-5: 1", "-5: 5", "-100: 8"]
    ran_once(*ids)
    assert redis.keys("jobs:ranks:*") == redis.keys("rq:job:*") == []


def test_several_workers_run_each_once(batch: bool, start_worker: Start) -> None:
    ids = [
        int(pk)
        for n in range(300)
        for pk in job_scheduler.enqueue_many([Note(str(n))], priority=(0, 5, -5, 0, 100, -100)[n % 6])
    ]
    start_worker("--processes", "3")
    wait_state("succeeded", *ids)
    ran_once(*ids)


def test_an_idle_worker_starts_one_as_soon_as_any_other(start_worker: Start, redis: Redis) -> None:
    start_worker("--processes", "1")
    wait_state("succeeded", *notes_by(0))
    for priority in (100, -100):
        wait_for("it waits", lambda: redis.info("clients")["blocked_clients"] == 1)
        (job_id,) = notes_by(priority)
        wait_state("succeeded", job_id)
        ran_once(job_id)


def test_a_flood_of_high_ones_lets_a_low_one_wait_for_a_time_and_not_for_ever(
    start_worker: Start, child_env: dict[str, str]
) -> None:
    child_env["TEST_JOBS"] = '{"PRIORITY_SECONDS": 0.01}'
    with override_settings(JOBS=settings.JOBS | {"PRIORITY_SECONDS": 0.01}):
        (low,) = notes_by(-50)  # so it ranks half a second later, and what is high a second earlier
        flood: list[int] = []

        def feed() -> bool:
            waiting = JobRecord.objects.filter(pk__in=flood, state="enqueued").count()
            if waiting < 30:
                flood.extend(job_scheduler.enqueue_many([Sleep(0.03)] * (60 - waiting), priority=100))
            return states([low]) == {"succeeded"}

        feed()
        start_worker("--processes", "1")
        wait_for("the low one", feed)
        begun = record(low).started_at
        assert begun is not None
        assert JobRecord.objects.filter(pk__in=flood, state="enqueued").exists(), "it did not wait for their end"
        assert JobRecord.objects.filter(pk__in=flood, started_at__lt=begun).count() > 10, "many went before it"
        job_scheduler.delete_many(flood)


def test_a_job_that_is_handed_back_keeps_its_priority(start_worker: Start, notes: Notes) -> None:
    long = int(job_scheduler.enqueue(Hold("long"), priority=50))
    worker = start_worker("--processes", "1")
    notes.wait("start long")
    others = notes_by(0, 60, 0)
    worker.terminate()
    assert (record(long).state, record(long).attempt) == ("enqueued", 1)
    notes.let_go()
    start_worker("--processes", "1")
    wait_state("succeeded", long, *others)
    assert [line.split()[0] for line in notes.lines()] == ["start", "cancelled", "60:", "start", "end", "0:", "0:"]


def test_a_stock_rqworker_runs_them_and_leaves_nothing_to_those_of_ours(
    start: Start, start_worker: Start, redis: Redis
) -> None:
    ids = notes_by(0, 5, -5)
    assert start("rqworker", "default", "--burst", "--serializer", "json").ended() == 0
    wait_state("succeeded", *ids)
    start_worker("--processes", "1")
    ids += notes_by(-5, 0, 5)
    wait_state("succeeded", *ids)
    ran_once(*ids)
    wait_for("nothing is left", lambda: not redis.keys("jobs:ranks:*"))
