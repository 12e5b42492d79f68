"""What a handler leaves behind never reaches the next job of its worker process."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from handlers import Job, job_scheduler
from handlers.models import JobPayload, JobRecord
from tests.app.jobs import Sleep
from tests.app.leaving import RARE, WAYS, Alarm, Disturb, DisturbLater, Found, Litter, Look, OldLoop
from tests.faults.conftest import Start
from tests.faults.records import Notes, record, wait_state

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis, pytest.mark.once]

NOT_IN_THREADS = {
    "SIGTERM",
    "SIGINT",
    "SIGUSR1",
    "SIGCHLD",
    "alarm",
    "signals of a loop",
    "SIGWINCH",
    "mask of signals",
}  # where coroutines run


def run(*jobs: Job) -> list[int]:
    return [int(job_id) for job_id in job_scheduler.enqueue_many(jobs)]


def different(notes: Notes) -> dict[str, dict[str, Any]]:
    """After which job what was found to be different than at first."""
    (_, first), *others = [json.loads(line) for line in notes.lines()]
    found = {after: {key: now[key] for key in first if now[key] != first[key]} for after, now in others}
    return {after: what for after, what in found.items() if what}


@pytest.mark.usefixtures("quick")
def test_each_job_finds_what_the_first_one_found(batch: bool, start_worker: Start, notes: Notes) -> None:
    ways = [*WAYS] if batch else [*WAYS, *RARE]
    disturbing: list[tuple[str, Job]] = [(way, Disturb(way)) for way in ways]
    disturbing += [(f"failed: {way}", Disturb(way, fails=True)) for way in ways]
    ids = run(Found("nothing"), *(job for name, disturb in disturbing for job in (disturb, Found(name))))
    start_worker("--processes", "1")
    wait_state("succeeded", *ids[::2])
    assert set(JobRecord.objects.filter(pk__in=ids).values_list("attempt", flat=True)) == {1}, "all ran"
    assert len(notes.lines()) == 1 + len(disturbing)
    assert different(notes) == {}


def test_what_an_async_handler_leaves_behind_reaches_no_job_that_begins_after_it(
    start_worker: Start, notes: Notes
) -> None:
    start_worker("--processes", "1")
    wait_state("succeeded", *run(Found("nothing")))
    for way in (*WAYS, *RARE):
        if way not in NOT_IN_THREADS:
            wait_state("succeeded", *run(DisturbLater(way)))
            wait_state("succeeded", *run(Found(way)))
    assert different(notes) == {}


def test_each_batch_finds_what_the_first_one_found_too(start_worker: Start, notes: Notes) -> None:
    start_worker("--processes", "1")
    for job in (Found("nothing"), *(job for way in RARE for job in (Disturb(way), Found(way)))):
        wait_state("succeeded", *run(job))
    assert different(notes) == {}


def test_alarm_that_a_job_left_does_not_end_the_next_one(start_worker: Start, notes: Notes) -> None:
    start_worker("--processes", "1")
    wait_state("succeeded", *run(Sleep(0, "before"), Alarm()))
    (job_id,) = run(Sleep(1.5, "after"))
    wait_state("succeeded", job_id)
    assert (record(job_id).attempt, record(job_id).crashes) == (1, 0)
    before, after = notes.starting("start")
    assert before.split()[-1] == after.split()[-1], "another process"


AT_ONCE = {"threads": 4, "async": 4}  # one on each thread, for the next ones to run on


def test_a_job_finds_nothing_of_those_before_it_on_any_thread_in_any_way(
    way: str, start_worker: Start, notes: Notes
) -> None:
    start_worker("--processes", "1")

    def run_together(make: Callable[[str], Job], name: str) -> list[int]:
        ids = run(*[make(name)] * AT_ONCE.get(way, 1))
        notes.wait(f"start {name}", times=len(ids))
        notes.let_go(name)
        wait_state("succeeded", *ids)
        return ids

    looked = run_together(Look, "first")
    for act in ("atomic", "manual", "begin", "closed"):
        run_together(partial(Litter, act), act)
        looked += run_together(Look, f"after {act}")
    wait_state("succeeded", *JobRecord.objects.values_list("pk", flat=True))
    found = notes.starting("found")
    assert (len(found), len(set(found))) == (len(looked), 1)
    children = JobPayload.objects.filter(job__job_type="app.Note").values_list("parent_id", "data__text")
    assert dict(children) == {job_id: f"child of {job_id}" for job_id in looked}, "what was written was committed"
    assert set(JobRecord.objects.values_list("attempt", "failures", "crashes")) == {(1, 0, 0)}


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="there asyncio makes no event loop unasked")
def test_thread_s_event_loop_is_there_whatever_became_of_the_last_one(start_worker: Start, notes: Notes) -> None:
    ids = run(OldLoop(), OldLoop(), Disturb("signals of a loop"), OldLoop(), Disturb("policy"), OldLoop())
    start_worker("--processes", "1")
    wait_state("succeeded", *ids)
    assert len(notes.starting("loop")) == 4
