"""Short jobs beside long ones: on other queues, on the same one, taken in turn or in order."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import pairwise

import pytest
from django.db import connections

from handlers import Job, job_scheduler
from handlers.models import JobHistory, JobRecord
from handlers.rq_transport import slow_types
from handlers.rq_transport.marks import Marks
from handlers.rq_transport.shares import MOST_SECONDS
from handlers.rq_transport.worker import BatchWorker
from tests.app.jobs import Note, Nothing, Sleep, Steady
from tests.app.many import Hold
from tests.faults.conftest import Start
from tests.faults.records import Notes, broken_trails, record, states, trail, wait_state
from tests.processes import wait_for
from tests.running import message

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis, pytest.mark.once]

BEHIND = ("the job before it took long", "the job before it takes long")  # why what was claimed went back


def claims(ids: list[int]) -> list[tuple[int, datetime]]:
    """Which of the jobs was claimed when, in order."""
    rows = JobHistory.objects.filter(job__in=ids, to_state="processing").order_by("pk")
    return list(rows.values_list("job_id", "at"))


def claimed(ids: list[int]) -> list[int]:
    """The jobs by when they were claimed first."""
    return list(dict.fromkeys(job_id for job_id, _ in claims(ids)))


def many(*jobs: Job, queue: str | None = None) -> list[int]:
    return [int(job_id) for job_id in job_scheduler.enqueue_many(jobs, queue=queue)]


@pytest.mark.usefixtures("batch")
def test_short_jobs_do_not_wait_for_long_ones_of_another_queue_one_by_one(start_worker: Start) -> None:
    long = many(*[Sleep(0.25)] * 40, queue="mail")
    short = many(*[Nothing()] * 200)
    start_worker("--processes", "1")
    wait_state("succeeded", *short, *long)
    order = claimed([*short, *long])
    before = order[: max(map(order.index, short))]
    assert 0 < len({*before} & {*long}) < 40, "each short one would wait for one long one, and those run out first"
    assert broken_trails([*short, *long]) == []


@pytest.mark.parametrize("first", ["mail", "default"])
def test_queues_in_order_are_served_in_that_order_whatever_their_jobs_take(start_worker: Start, first: str) -> None:
    long = many(*[Sleep(0.1)] * 8, queue="mail")
    short = many(*[Nothing()] * 80)
    start_worker("--processes", "1", "--queues", "mail,default" if first == "mail" else "default,mail")
    wait_state("succeeded", *short, *long)
    before = long if first == "mail" else short
    assert set(claimed([*short, *long])[: len(before)]) == set(before)


def test_queues_with_weights_share_the_time_by_them(start_worker: Start) -> None:
    light = many(*[Sleep(0.05)] * 40)
    heavy = many(*[Sleep(0.05)] * 40, queue="mail")
    start_worker("--processes", "1", "--queues", "default,mail*4")
    wait_state("succeeded", *light, *heavy)
    order = claims([*light, *heavy])[:41]  # while there are some of both
    assert len({*heavy} & {job_id for job_id, _ in order}) < 40
    took = [(job_id, min((then - at).total_seconds(), MOST_SECONDS)) for (job_id, at), (_, then) in pairwise(order)]
    lighter, heavier = (sum(seconds for job_id, seconds in took if job_id in ids) for ids in (light, heavy))
    assert abs(heavier / 4 - lighter) < 2 * max(seconds for _, seconds in took), "four fifths, but for a job"


def test_long_jobs_of_a_queue_that_was_empty_are_claimed_one_by_one(start_worker: Start) -> None:
    start_worker("--processes", "2")
    wait_state("succeeded", *many(*[Nothing()] * 600))  # now the workers claim many of these at once
    long = many(*[Sleep(0.5)] * 4, queue="mail")
    wait_state("succeeded", *long)
    assert [len(trail(job_id)) for job_id in long] == [2] * 4, "none was claimed and given back"


def test_mix_of_short_and_long_jobs_on_one_queue_runs_each_once(start_worker: Start, notes: Notes) -> None:
    jobs = [job for n in range(30) for job in (*[Note(f"{n}")] * 6, Sleep(0.06, f"{n}"), Steady(0.06, f"{n}"))]
    ids = many(*jobs)
    start_worker("--processes", "2")
    wait_state("succeeded", *ids)
    assert broken_trails(ids) == []
    assert set(JobRecord.objects.filter(pk__in=ids).values_list("attempt", "crashes")) == {(1, 0)}
    assert len(notes.lines()) == 30 * (6 + 2 + 2)


@pytest.mark.usefixtures("usual_times")
def test_what_was_claimed_behind_a_job_that_takes_long_after_all_goes_back(
    monkeypatch: pytest.MonkeyPatch, notes: Notes
) -> None:
    monkeypatch.setenv("TEST_NOTES", str(notes.path))
    long, *behind = many(Hold("long"), Note("1"), Note("2"))
    worker = BatchWorker(["default"], name="host.1.behind", marks=Marks(8), weights=None)
    worker.register_birth()
    worker._runs.begin()

    def let_go_of_long() -> None:
        try:
            wait_for("those behind it are back", lambda: states(behind) == {"enqueued"} and trail(behind[1])[1:])
        finally:
            notes.let_go()
            connections.close_all()

    with ThreadPoolExecutor(1) as other:
        has_let_go = other.submit(let_go_of_long)
        worker.execute_job([message(job_id) for job_id in (long, *behind)], None)
        has_let_go.result()
    assert states([long]) == {"succeeded"}
    for job_id in behind:
        assert trail(job_id)[1:] == [("processing", "enqueued", BEHIND[0])]
        assert record(job_id).attempt == 0


def test_nothing_that_was_claimed_waits_behind_a_type_that_is_known_to_take_long(
    monkeypatch: pytest.MonkeyPatch, notes: Notes
) -> None:
    monkeypatch.setenv("TEST_NOTES", str(notes.path))
    monkeypatch.setattr(slow_types, "SLOW_SECONDS", 0.5)  # so that no pause of the machine looks like a slow job
    worker = BatchWorker(["default"], name="host.1.shares", marks=Marks(8), weights=None)
    worker.register_birth()

    def execute(*jobs: Job) -> list[int]:
        ids = many(*jobs)
        worker.execute_job([message(job_id) for job_id in ids], None)
        return ids

    execute(Sleep(0.6, "A"))
    execute(Steady(0.6, "B"))
    notes.path.unlink()
    first, *short, second = execute(Sleep(0.6, "C"), Note("1"), Note("2"), Steady(0.6, "D"))
    assert [line.split()[:2] for line in notes.lines()] == [["1"], ["2"], ["start", "C"], ["end", "C"]]
    assert states([first, *short]) == {"succeeded"}
    assert trail(second)[1:] == [("processing", "enqueued", BEHIND[1])]
    gone_back = JobHistory.objects.get(job=second, to_state="enqueued").at
    assert gone_back <= JobHistory.objects.get(job=first, to_state="succeeded").at
    assert record(second).attempt == 0
    execute(Sleep(0))
    notes.path.unlink()
    execute(Sleep(0, "E"), Note("3"))
    assert [line.split()[0] for line in notes.lines()] == ["start", "end", "3"], "it is quick by now"
