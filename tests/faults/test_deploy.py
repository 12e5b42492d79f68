"""A rolling deploy: workers of two releases at one queue, each with jobs that only the other can run."""

from __future__ import annotations

import pytest

from handlers import event_bus, job_scheduler
from handlers.models import Delivery, DeliveryState, JobHistory, StrandedJob
from tests.app.jobs import Note
from tests.faults.conftest import Start
from tests.faults.records import Notes, record, wait_state
from tests.processes import wait_for
from tests.releases import release

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]


def refusals(ids: list[int]) -> int:
    return JobHistory.objects.filter(job__in=ids, from_state="processing", to_state="enqueued").count()


@pytest.mark.usefixtures("quick")
def test_jobs_of_either_release_wait_for_its_workers_and_cost_the_others_one_look(
    start_worker: Start, notes: Notes, child_env: dict[str, str]
) -> None:
    with release("older") as older:
        old = [int(i) for i in job_scheduler.enqueue_many([older.Parcel(n) for n in range(3)])]
    with release("newer") as newer:
        new = [int(i) for i in job_scheduler.enqueue_many([newer.Track(1), newer.Parcel(2, "NZ")])]
    child_env["JOBSITE_APPS"] = "tests.app,tests.releases.newer"
    start_worker("--processes", "1")
    wait_state("succeeded", *new)
    wait_for("the old ones wait", lambda: StrandedJob.objects.count() == len(old))
    assert {(row.state, row.attempt) for row in map(record, old)} == {("enqueued", 0)}
    child_env["JOBSITE_APPS"] = "tests.app,tests.releases.older"
    start_worker("--processes", "1")
    wait_state("succeeded", *old)
    with release("newer") as newer:  # both are at work now
        new += [int(job_scheduler.enqueue(newer.Track(n))) for n in range(10, 16)]
    wait_state("succeeded", *new)
    assert refusals(old) == len(old)
    assert refusals(new) <= len(new)
    expected = [f"older packs {n}" for n in range(3)] + ["newer packs 2 for NZ", "newer tracks 1"]
    assert sorted(notes.lines()) == sorted(expected + [f"newer tracks {n}" for n in range(10, 16)])
    assert all(record(job_id).attempt == 1 for job_id in [*old, *new])


def test_what_was_published_for_a_subscriber_that_a_deploy_takes_away_waits_for_workers_that_have_it(
    start_worker: Start, notes: Notes, child_env: dict[str, str]
) -> None:
    with release("older") as older:
        event_bus.publish_many([older.Packed(n) for n in range(4)], correlation="one")
    kept, others = (
        list(Delivery.objects.filter(subscriber=name).order_by("pk").values_list("job_id", flat=True))
        for name in ("shop.label", "shop.count")
    )
    child_env["JOBSITE_APPS"] = "tests.app,tests.releases.newer"
    worker = start_worker("--processes", "1")
    wait_state("succeeded", *others)
    wait_for("what nobody takes is said", lambda: StrandedJob.objects.filter(job_type="shop.label").exists())
    with release("newer") as newer:
        event_bus.publish(newer.Packed(9), correlation="one")
    assert Delivery.objects.filter(subscriber="shop.label").count() == len(kept), "of nobody who is gone"
    wait_state("succeeded", Delivery.objects.filter(subscriber="shop.count").latest("pk").job_id)
    assert not [line for line in notes.lines() if "labels" in line]
    assert {record(job_id).attempt for job_id in kept} == {0}
    worker.terminate()
    child_env["JOBSITE_APPS"] = "tests.app,tests.releases.older"
    start_worker("--processes", "1")
    wait_state("succeeded", *kept)
    assert [line for line in notes.lines() if "labels" in line] == [f"older labels {n}" for n in range(4)]
    assert [line for line in notes.lines() if "counts" in line] == [f"newer counts {n}" for n in (0, 1, 2, 3, 9)]
    assert set(Delivery.objects.values_list("state", flat=True)) == {DeliveryState.DONE}


def test_a_stock_rqworker_leaves_a_type_that_it_does_not_know_to_others(start: Start, start_worker: Start) -> None:
    with release("newer") as newer:
        job_id = int(job_scheduler.enqueue(newer.Track(1)))
    other = int(job_scheduler.enqueue(Note("known")))
    assert start("rqworker", "default", "--burst", "--serializer", "json").ended() == 0
    assert (record(job_id).state, record(job_id).attempt) == ("enqueued", 0)
    assert record(other).state == "succeeded"
    assert StrandedJob.objects.get().job_id == job_id
