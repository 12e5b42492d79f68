"""Limited jobs with real workers: one at a time is one at a time, whatever dies meanwhile."""

from __future__ import annotations

import psutil
import pytest
from redis import Redis

from handlers import job_scheduler
from handlers.models import JobRecord, LimitSlot, LimitWaiter
from tests.app.jobs import Call, Charge
from tests.faults.conftest import Start
from tests.faults.records import Notes, broken_trails, moves, record, wait_state
from tests.processes import wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]


def most_at_once(lines: list[str]) -> int:
    running = most = 0
    for line in lines:
        running += {"start": 1, "end": -1}[line.split()[0]]
        most = max(most, running)
    return most


def test_each_tenant_has_one_job_at_a_time_and_nobody_waits_for_a_scheduler(
    way: str, start_worker: Start, notes: Notes
) -> None:
    jobs = [Charge(0.01, tenant, f"{number}") for number in range(15) for tenant in (1, 2, 3)]
    ids = [int(job_id) for job_id in job_scheduler.enqueue_many(jobs)]
    start_worker("--processes", "2")
    wait_state("succeeded", *ids)
    for tenant in (1, 2, 3):
        lines = [line for line in notes.lines() if line.split()[1] == str(tenant)]
        assert len(lines) == 30
        assert most_at_once(lines) == 1
    assert broken_trails(ids) == []
    wait_for("their slots are given back", lambda: not LimitSlot.objects.exists())
    assert not LimitWaiter.objects.exists()


def test_a_killed_worker_gives_its_slot_back(start_worker: Start, start_scheduler: Start, notes: Notes) -> None:
    start_scheduler()
    first = int(job_scheduler.enqueue(Charge(25, text="a")))
    worker = start_worker("--processes", "2")
    notes.wait("start 1 a")  # of two processes the other might be quicker with the second one
    second = int(job_scheduler.enqueue(Charge(0, text="b")))
    wait_for("the other waits", lambda: LimitWaiter.objects.filter(pk=second).exists())
    worker.kill_all()
    start_worker("--processes", "1")
    wait_state("succeeded", second)
    assert moves(first)[:2] == ["processing", "enqueued"]


def test_the_job_of_a_child_that_died_gives_its_slot_back_at_once(start_worker: Start, notes: Notes) -> None:
    first, second = (int(job_scheduler.enqueue(Charge(25 if text == "a" else 0, text=text))) for text in "ab")
    start_worker("--processes", "1")
    (line,) = notes.wait("start 1 a")
    psutil.Process(int(line.split()[-1])).kill()
    wait_state("succeeded", second)
    notes.wait("start 1 a", times=2)
    assert record(first).crashes == 1


def test_no_more_start_in_any_time_than_the_rate_says(
    start_worker: Start, start_scheduler: Start, notes: Notes
) -> None:
    start_scheduler()
    start_worker("--processes", "2")
    wait_state("succeeded", *[int(i) for i in job_scheduler.enqueue_many([Call(f"{n}") for n in range(12)])])
    times = [at for at in JobRecord.objects.order_by("started_at").values_list("started_at", flat=True) if at]
    assert len(times) == 12
    assert all((fifth - first).total_seconds() >= 2 for first, fifth in zip(times, times[4:], strict=False))


def test_who_waits_survives_a_flush(start_worker: Start, start_scheduler: Start, notes: Notes, redis: Redis) -> None:
    start_scheduler()
    ids = [int(i) for i in job_scheduler.enqueue_many([Charge(0.5, text=f"{n}") for n in range(4)])]
    start_worker("--processes", "2")
    notes.wait("start 1 0")
    redis.flushall()
    wait_state("succeeded", *ids)
    assert most_at_once(notes.lines()) == 1
