"""A type that shares no process, and jobs over which workers were lost: nothing runs beside them."""

from __future__ import annotations

import pytest

from handlers import job_scheduler
from handlers.models import JobRecord
from tests.app.coroutines import Exclusive, Wait
from tests.faults.conftest import Start
from tests.faults.records import Notes, broken_trails, trail, wait_state

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]


def test_a_type_that_shares_no_process_runs_alone_among_many(start_worker: Start, notes: Notes) -> None:
    mixed = [job for n in range(60) for job in ((Wait(0.1), Exclusive()) if n % 20 == 10 else (Wait(0.1),))]
    ids = [int(job_id) for job_id in job_scheduler.enqueue_many(mixed)]
    start_worker("--processes", "1")
    wait_state("succeeded", *ids)
    assert notes.lines() == ["beside 0"] * 3
    assert set(JobRecord.objects.values_list("attempt", "failures", "crashes")) == {(1, 0, 0)}
    assert broken_trails(ids) == []
    again = [step for job_id in ids for step in trail(job_id) if step[:2] == ("processing", "enqueued")]
    assert {reason for *_, reason in again} <= {"its type shares no process", "the jobs before it took long"}
