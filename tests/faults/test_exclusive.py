"""A type that shares no process, and jobs over which workers were lost: nothing runs beside them."""

from __future__ import annotations

import pytest

from handlers import job_scheduler
from handlers.models import JobRecord
from tests.app.coroutines import Doze, Exclusive, ExclusiveOnThread, Wait
from tests.faults.conftest import Start
from tests.faults.records import Notes, broken_trails, trail, wait_state

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]

TOLD = (
    "--threads 8 (JOBS['THREADS']), but types that are exclusive=True run alone in a process, whose other threads wait"
    " meanwhile: app.Exclusive, app.ExclusiveOnThread"
)


@pytest.mark.parametrize(("options", "told"), [((), []), (("--threads", "8"), [TOLD])], ids=["async", "threads"])
def test_a_type_that_shares_no_process_runs_alone_among_many_and_a_worker_with_threads_says_so(
    options: tuple[str, ...], told: list[str], start_worker: Start, notes: Notes
) -> None:
    others = [job(0.1) for _ in range(30) for job in ((Wait, Doze) if options else (Wait,))]
    mixed = [*others[:10], Exclusive(), *others[10:20], ExclusiveOnThread(), *others[20:], Exclusive()]
    ids = [int(job_id) for job_id in job_scheduler.enqueue_many(mixed)]
    worker = start_worker("--processes", "1", *options)
    wait_state("succeeded", *ids)
    assert notes.lines() == ["beside 0"] * 3
    assert set(JobRecord.objects.values_list("attempt", "failures", "crashes")) == {(1, 0, 0)}
    assert broken_trails(ids) == []
    again = [step for job_id in ids for step in trail(job_id) if step[:2] == ("processing", "enqueued")]
    assert {reason for *_, reason in again} <= {"its type shares no process", "the jobs before it took long"}
    said = [line for line in worker.log.read_text().splitlines() if "exclusive=True" in line]
    assert [line[line.index("--threads") :] for line in said] == told


def test_nothing_is_said_of_types_whose_queues_a_worker_does_not_serve(start_worker: Start) -> None:
    worker = start_worker("--processes", "1", "--threads", "8", "--queues", "mail", "--burst")
    assert worker.ended() == 0
    assert "exclusive" not in worker.log.read_text()
