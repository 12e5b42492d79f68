"""Many jobs in one call, by real workers: what fills a call, and what becomes of its jobs when it is broken off."""

from __future__ import annotations

import pytest

from handlers import job_scheduler
from handlers.models import JobRecord
from tests.app.chunks import Tally, TallyFull, TallyShort
from tests.app.jobs import Note
from tests.faults.conftest import Start
from tests.faults.records import Notes, broken_trails, record, states, trail, wait_state

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]

WAYS = pytest.mark.parametrize("options", [(), ("--threads", "3")], ids=["main", "threads"])


def many(*jobs: Tally) -> list[int]:
    return [int(job_id) for job_id in job_scheduler.enqueue_many(jobs)]


@WAYS
def test_calls_get_full_and_the_rest_runs_when_it_is_due(
    options: tuple[str, ...], start_worker: Start, notes: Notes
) -> None:
    ids = many(*(Tally(f"{n:02}") for n in range(25)))
    start_worker("--processes", "1", *options)
    wait_state("succeeded", *ids)
    sizes = sorted(len(line.split()[1].split(",")) for line in notes.starting("tally"))
    assert sizes == [5, 10, 10]
    assert broken_trails(ids) == []


@WAYS
def test_call_of_a_size_beyond_one_claim_gets_full(options: tuple[str, ...], start_worker: Start, notes: Notes) -> None:
    ids = many(*(TallyFull(f"{n:02}") for n in range(120)))
    start_worker("--processes", "1", *options)
    wait_state("succeeded", *ids)
    assert [len(line.split(",")) for line in notes.starting("tally")] == [60, 60]


@WAYS
def test_call_that_kills_its_worker_lets_its_jobs_run_apart(
    options: tuple[str, ...], start_worker: Start, notes: Notes
) -> None:
    ids = many(Tally("a"), Tally("b", then="crash"), Tally("c"))
    start_worker("--processes", "1", *options)
    wait_state("failed", ids[1])
    wait_state("succeeded", ids[0], ids[2])
    assert record(ids[1]).crashes == 3
    assert [record(job_id).result for job_id in (ids[0], ids[2])] == ["a of 1", "c of 1"]
    assert [record(job_id).attempt for job_id in (ids[0], ids[2])] == [2, 2], "the call that was broken off counts"
    assert broken_trails(ids) == []


@WAYS
@pytest.mark.parametrize("then", ["wait", "hang"])
def test_call_that_takes_too_long_fails_all_its_jobs(
    then: str, options: tuple[str, ...], start_worker: Start, notes: Notes
) -> None:
    ids = many(*(TallyShort(name, then=then) for name in "abc"))
    start_worker("--processes", "1", *options)
    wait_state("failed", *ids)
    assert all("timeout" in record(job_id).error for job_id in ids)
    assert notes.starting("tally") == ["tally a,b,c"]


@WAYS
def test_graceful_stop_hands_back_what_waits_for_company_and_what_was_asked_to_stop(
    options: tuple[str, ...], start_worker: Start, notes: Notes
) -> None:
    running = many(*(Tally(str(n), then="wait") for n in range(10)))
    worker = start_worker("--processes", "1", *options)
    notes.wait("tally")
    waiting = many(TallyFull("x"), TallyFull("y"))
    if options:  # on threads it takes more meanwhile
        wait_state("processing", *waiting)
    worker.terminate()
    assert states([*running, *waiting]) == {"enqueued"}
    counted = JobRecord.objects.filter(pk__in=[*running, *waiting]).values_list("failures", "crashes")
    assert set(counted) == {(0, 0)}
    assert {record(job_id).attempt for job_id in waiting} == {0}
    assert all("asked to stop" in trail(job_id)[-1][2] for job_id in running)


def test_call_goes_on_when_one_of_its_jobs_is_deleted(start_worker: Start, notes: Notes) -> None:
    ids = many(TallyFull("a", then="wait"), *(TallyFull(str(n)) for n in range(59)))
    worker = start_worker("--processes", "1")
    notes.wait("tally")
    job_scheduler.delete(ids[5])
    other = int(job_scheduler.enqueue(Note("afterwards")))
    worker.terminate()
    assert record(ids[5]).state == "deleted"
    assert states([*ids[:5], *ids[6:]]) == {"enqueued"}
    assert record(other).state == "enqueued"
