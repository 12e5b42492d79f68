"""Jobs that wait for a signal in real workers: killed before, while and after they wait."""

from __future__ import annotations

import pytest

from handlers import job_scheduler
from handlers.models import JobRecord
from tests.app.approvals import PayOut
from tests.faults.conftest import Start
from tests.faults.records import Notes, moves, record, wait_state
from tests.processes import wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]

YES = {"approved": True, "reason": "fine"}


@pytest.mark.parametrize("holds", [True, False], ids=["before it waits", "while it waits"])
def test_worker_that_dies_loses_no_signal(start_worker: Start, notes: Notes, holds: bool) -> None:
    job_id = int(job_scheduler.enqueue(PayOut(7, holds)))
    worker = start_worker("--processes", "1")
    notes.wait("asked")
    if not holds:
        wait_state("waiting", job_id)
        assert worker.terminate() == 0
    assert job_scheduler.signal(job_id, "approval", YES)
    if holds:
        (child,) = worker.children()
        child.kill()
    else:
        start_worker("--processes", "1")
    wait_state("succeeded", job_id)
    assert notes.lines().count("may order 7 be paid out?") == 1
    assert notes.lines().count("paid 7: fine") == 1
    assert (record(job_id).attempt, record(job_id).failures) == (2, 0)
    assert ("waiting" in moves(job_id)) is not holds


def test_its_process_is_free_for_others_and_a_scheduler_ends_the_wait(
    start_worker: Start, start_scheduler: Start, notes: Notes
) -> None:
    jobs = [int(job_scheduler.enqueue(PayOut(number))) for number in range(8)]
    start_worker("--processes", "1")
    for job_id in jobs:
        wait_state("waiting", job_id)
    start_scheduler()
    JobRecord.objects.filter(pk=jobs[0]).update(run_at=record(jobs[0]).created_at)
    wait_for("the first has come back, and waits anew", lambda: record(jobs[0]).attempt == 2)
    wait_state("waiting", jobs[0])
    assert {record(job_id).attempt for job_id in jobs[1:]} == {1}
