"""Many jobs at once in a worker process, on its event loop or on threads: what happens to one happens to no other."""

from __future__ import annotations

import json
from typing import NamedTuple

import pytest

from handlers import Job, job_scheduler
from handlers.models import AttemptError, AttemptLog, JobPayload, JobRecord
from tests.app.jobs import Note
from tests.app.many import (
    BlockLong,
    Hold,
    HoldBriefly,
    Perish,
    PerishOnThread,
    Settle,
    SettleOnThread,
    Stay,
    StayBriefly,
)
from tests.faults.conftest import Start
from tests.faults.records import Notes, broken_trails, moves, record, states, trail, wait_state
from tests.processes import wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]

APART = "its worker was lost while it had several jobs in hand"


class Way(NamedTuple):
    """How many run at once, by which jobs, and with what options."""

    stay: type[Stay | Hold]
    briefly: type[StayBriefly | HoldBriefly]
    perish: type[Perish | PerishOnThread]
    settle: type[Settle | SettleOnThread]
    options: tuple[str, ...]


ASYNC = Way(Stay, StayBriefly, Perish, Settle, ())
THREADS = Way(Hold, HoldBriefly, PerishOnThread, SettleOnThread, ("--threads", "30"))
BESIDE = Way(Stay, HoldBriefly, PerishOnThread, Settle, ())  # in the main thread, beside async ones
both = pytest.mark.parametrize("way", [pytest.param(ASYNC, id="async"), pytest.param(THREADS, id="threads")])
all_three = pytest.mark.parametrize("way", [ASYNC, THREADS, BESIDE], ids=["async", "threads", "beside async"])


def many(*jobs: Job) -> list[int]:
    return [int(job_id) for job_id in job_scheduler.enqueue_many(jobs)]


def counts(ids: list[int]) -> set[tuple[int, int, int]]:
    return set(JobRecord.objects.filter(pk__in=ids).values_list("attempt", "failures", "crashes"))


@all_three
def test_one_that_kills_its_process_is_found_and_the_others_run_once_more_each_by_itself(
    way: Way, start_worker: Start, notes: Notes
) -> None:
    *ids, culprit = many(*(way.stay(str(n)) for n in range(20)), way.perish())
    worker = start_worker("--processes", "1", *way.options)
    notes.wait("start", times=20)
    notes.wait("perish")
    (child,) = worker.children()
    notes.let_go("perish")
    child.wait(90)
    notes.let_go()
    wait_state("succeeded", *ids)
    wait_state("failed", culprit)
    row = record(culprit)
    assert (row.crashes, row.failures, row.attempt) == (3, 0, 4)
    assert [why for *_, why in trail(culprit)].count(APART) == 1
    assert counts(ids) == {(2, 0, 0)}
    assert broken_trails([*ids, culprit]) == []
    wait_state("succeeded", *many(Note("afterwards")))
    assert worker.process.poll() is None


@both
def test_all_that_a_killed_process_ran_run_again_at_once_uncounted_with_nothing_beside(
    way: Way, start_worker: Start, notes: Notes
) -> None:
    ids = many(*(way.stay(str(n)) for n in range(25)))
    worker = start_worker("--processes", "1", *way.options)
    notes.wait("start", times=25)
    (child,) = worker.children()
    child.kill()
    child.wait()
    notes.let_go()
    wait_state("succeeded", *ids)
    assert counts(ids) == {(2, 0, 0)}
    for job_id in ids:  # on a busy machine one may have waited for its turn until it went back, before all that
        assert moves(job_id)[-4:] == ["processing", "enqueued", "processing", "succeeded"], trail(job_id)
        assert trail(job_id)[-3][2] == APART
    again = [line.split()[:2] for line in notes.lines()[25:]]
    assert [what for what, _ in again] == ["start", "end"] * 25, "nothing ran beside any"
    assert [name for _, name in again[::2]] == [name for _, name in again[1::2]]


@pytest.mark.once
@all_three
def test_one_that_ignores_its_timeout_costs_others_nothing(
    way: Way, start_worker: Start, notes: Notes, child_env: dict[str, str]
) -> None:
    child_env["TEST_JOBS"] = '{"TIMEOUT_GRACE_SECONDS": 0.5, "SHUTDOWN_GRACE_SECONDS": 100}'  # for those beside it
    *ids, culprit = many(*(way.stay(str(n)) for n in range(20)), way.briefly("culprit", swallow=True))
    worker = start_worker("--processes", "1", *way.options)
    notes.wait("start", times=21)
    wait_for("another process is there", lambda: len(worker.children()) == 2)
    later = many(way.stay("later"))
    notes.wait("start later")
    notes.let_go()
    wait_state("succeeded", *ids, *later)
    wait_state("failed", culprit)
    assert AttemptError.objects.get(job=culprit).exception.endswith("JobTimeout")
    assert counts([*ids, *later]) == {(1, 0, 0)}
    assert counts([culprit]) == {(1, 1, 0)}
    assert notes.lines().count("cancelled culprit timeout") >= 1
    first, second = {line.split()[-1] for line in notes.starting("start")}
    wait_for("the first process has ended", lambda: [str(c.pid) for c in worker.children()] in ([first], [second]))
    assert not [line for line in notes.starting("cancelled") if "culprit" not in line]


@pytest.mark.once
def test_one_that_blocks_the_event_loop_beyond_its_timeout_costs_others_no_failure(
    start_worker: Start, notes: Notes, child_env: dict[str, str]
) -> None:
    child_env["TEST_JOBS"] = '{"TIMEOUT_GRACE_SECONDS": 0.5, "SHUTDOWN_GRACE_SECONDS": 1}'
    *ids, culprit = many(*(Stay(str(n)) for n in range(20)), BlockLong())
    start_worker("--processes", "1")
    notes.wait("start block")
    wait_state("failed", culprit)
    notes.let_go()
    wait_state("succeeded", *ids)
    assert AttemptError.objects.get(job=culprit).exception.endswith("JobTimeout")
    assert counts([culprit]) == {(1, 1, 0)}
    assert counts(ids) <= {(1, 0, 0), (2, 0, 0)}
    assert broken_trails([*ids, culprit]) == []


@both
def test_what_ends_one_of_many_reaches_no_other(way: Way, start_worker: Start, notes: Notes) -> None:
    *ids, deleted, lost, kept, late, stubborn = many(
        *(way.stay(str(n)) for n in range(10)),
        way.stay("deleted"), way.stay("lost"), way.stay("kept", swallow=True), way.briefly("late"),
        way.briefly("go", swallow=True),
    )  # fmt: skip
    worker = start_worker("--processes", "1", *way.options)
    notes.wait("start", times=15)
    assert job_scheduler.delete(deleted)
    assert job_scheduler.delete(kept)
    JobRecord.objects.filter(pk=lost).update(worker="somebody.else")
    notes.wait("cancelled deleted deleted")
    notes.wait("cancelled lost lease_lost")
    notes.wait("cancelled late timeout")
    notes.wait("cancelled kept deleted")
    notes.wait("cancelled go timeout")
    wait_state("failed", late)
    notes.let_go("kept")
    notes.let_go()
    wait_state("succeeded", *ids, stubborn)
    notes.wait("end kept")
    assert counts([*ids, stubborn]) == {(1, 0, 0)}
    assert AttemptError.objects.get().job_id == late
    assert (states([deleted, kept]), states([lost])) == ({"deleted"}, {"processing"})
    told = {line.split()[1] for line in notes.starting("cancelled")}
    assert told == {"deleted", "lost", "kept", "late", "go"}
    wait_state("succeeded", *many(Note("afterwards")))
    assert len(worker.children()) == 1
    assert worker.log.read_text().count("started, PID") == 1


@both
def test_those_that_are_deleted_just_as_they_end_are_either_the_one_or_the_other(
    way: Way, start_worker: Start, notes: Notes
) -> None:
    ids = many(*(way.stay(str(n)) for n in range(25)))
    start_worker("--processes", "1", *way.options)
    notes.wait("start", times=25)
    notes.let_go()
    deleted = {job_id: job_scheduler.delete(job_id) for job_id in ids}
    wait_state("succeeded", *many(Note("afterwards")))
    wait_for("all have ended", lambda: "processing" not in states(ids))
    for job_id in ids:
        assert record(job_id).state == ("deleted" if deleted[job_id] else "succeeded")
        # On a busy machine a job may wait for its turn until it goes back, unstarted: another process could have it.
        assert moves(job_id)[-2:] == ["processing", record(job_id).state]
    assert counts(ids) == {(1, 0, 0)}
    assert broken_trails(ids) == []


@pytest.mark.once
@both
def test_context_and_log_lines_belong_to_one_job(way: Way, start_worker: Start, notes: Notes) -> None:
    made = [("de", "Asia/Tokyo"), ("fr", "Europe/Paris"), ("es", "America/Lima")]
    jobs = [way.settle(*made[n % 3], n + 5) for n in range(20)]
    ids = many(*jobs)
    start_worker("--processes", "1", *way.options)
    notes.wait("arranged", times=20)
    notes.let_go()
    wait_state("succeeded", *ids)
    found = [json.loads(line.removeprefix("found ")) for line in notes.starting("found")]
    assert dict(found) == {job.precision: [job.language, job.zone, job.precision] for job in jobs}
    for job_id, job in zip(ids, jobs, strict=True):
        (log,) = AttemptLog.objects.filter(job=job_id)
        assert [line[3] for line in log.lines] == [f"begins with {job.precision}", f"ends with {job.precision}"]
    children = JobPayload.objects.filter(job__job_type="app.Note").values_list("parent_id", "data__text")
    assert dict(children) == {job_id: f"child {job.precision}" for job_id, job in zip(ids, jobs, strict=True)}
