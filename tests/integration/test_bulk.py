"""Bulk operations: a verb over all that match, in chunks that are done once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction

from handlers import InvalidJob, job_scheduler, recovery
from handlers.bulk import STALLED_AFTER, chunks, control, pause_stalled, receipt, run_chunk
from handlers.limits import time_limit
from handlers.models import AuditEntry, BulkItem, BulkOperation, JobPayload, JobRecord
from handlers.selection import Selection
from handlers.states import State
from tests.console.factories import make_job
from tests.running import NotingTransport, run

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("noting")]

FAILED = Selection(states=("failed",))


def failed_jobs(count: int) -> list[int]:
    return [make_job(State.FAILED).pk for _ in range(count)]


def fresh(operation: BulkOperation) -> BulkOperation:
    return BulkOperation.objects.get(pk=operation.pk)


def step(operation: BulkOperation) -> bool:
    """Do the chunk that is next."""
    return run_chunk(operation.pk, fresh(operation).step)


def states(ids: list[int]) -> list[str]:
    return list(JobRecord.objects.filter(pk__in=ids).order_by("pk").values_list("state", flat=True))


def chunk_delays(operation: BulkOperation) -> list[timedelta | None]:
    """How long after its creation each chunk job is due."""
    ids = JobPayload.objects.filter(correlation=f"bulk-{operation.pk}").values("job_id")
    rows = JobRecord.objects.filter(pk__in=ids).order_by("pk")
    return [row.run_at - row.created_at if row.run_at else None for row in rows]


def test_run_moves_all_that_match_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK", 2)
    user = User.objects.create(username="olga")
    ids, other = failed_jobs(5), make_job(State.SUCCEEDED)
    operation = job_scheduler.start_bulk("retry", FAILED, by=user, reason="fixed")
    late = failed_jobs(1)
    while step(operation):
        pass
    made = fresh(operation)
    assert (made.state, made.count, made.moved, made.moved_on, made.step) == ("done", 5, 5, 0, 3)
    assert set(states(ids)) == {"enqueued"}
    assert states(late) == ["failed"]
    assert states([other.pk]) == ["succeeded"]
    move = JobRecord.objects.get(pk=ids[0]).history.order_by("-pk")[0]
    assert (move.actor, move.reason) == ("user:olga", f"bulk operation {made.pk}: fixed")
    assert list(AuditEntry.objects.order_by("pk").values_list("verb", "count")) == [
        ("start_bulk", 5),
        ("finish_bulk", 5),
    ]
    assert receipt(made).waiting == 5


def test_chunk_that_is_repeated_does_nothing() -> None:
    failed_jobs(2)
    operation = job_scheduler.start_bulk("delete", FAILED)
    assert run_chunk(operation.pk, 0)
    before = BulkItem.objects.count()
    assert not run_chunk(operation.pk, 0)
    assert BulkItem.objects.count() == before == 2


def test_chunk_job_runs_as_a_job_of_the_engine() -> None:
    ids = failed_jobs(1)
    operation = job_scheduler.start_bulk("delete", FAILED)
    chunk = JobRecord.objects.get(job_type="jobs.RunBulk")
    assert chunk.queue == "system"
    run(chunk.pk)
    assert states(ids) == ["deleted"]
    assert fresh(operation).state == "done"


@pytest.mark.parametrize("selection", [FAILED, Selection(types=("jobs.RunBulk",)), Selection(queues=("system",))])
def test_run_neither_counts_nor_moves_the_engines_own_jobs(selection: Selection) -> None:
    ids, chunk = failed_jobs(1), make_job(State.FAILED, job_type="jobs.RunBulk", queue="system")
    fitting = control.narrowed("retry", selection)
    assert [job.pk for job in fitting.page(10)] == (ids if selection == FAILED else [])
    if selection == FAILED:
        operation = job_scheduler.start_bulk("retry", selection)
        assert operation.count == 1
        assert step(operation)
        assert fresh(operation).moved == 1
    else:
        with pytest.raises(InvalidJob, match="no job matches"):
            job_scheduler.start_bulk("retry", selection)
    assert states([chunk.pk]) == ["failed"]


def test_job_that_moved_on_is_left_alone() -> None:
    ids = failed_jobs(2)
    operation = job_scheduler.start_bulk("retry", Selection(ids=tuple(ids)))
    job_scheduler.delete(ids[0])
    step(operation)
    assert (fresh(operation).moved, states(ids)) == (1, ["deleted", "enqueued"])


def test_paused_run_ends_its_chunk_and_resumes() -> None:
    ids = failed_jobs(1)
    operation = job_scheduler.start_bulk("retry", FAILED)
    assert job_scheduler.pause_bulk(operation.pk, by="ops")
    assert not job_scheduler.pause_bulk(operation.pk)
    assert not step(operation)
    assert fresh(operation).note == "Paused by ops."
    assert job_scheduler.resume_bulk(operation.pk)
    assert not run_chunk(operation.pk, 0)  # of before the pause
    assert step(operation)
    assert states(ids) == ["enqueued"]


def test_stopped_run_stays_stopped() -> None:
    ids = failed_jobs(1)
    operation = job_scheduler.start_bulk("retry", FAILED)
    assert job_scheduler.stop_bulk(operation.pk)
    assert not step(operation)
    assert not job_scheduler.resume_bulk(operation.pk)
    assert states(ids) == ["failed"]


def test_rate_is_held_by_size_and_delay() -> None:
    failed_jobs(5)
    operation = job_scheduler.start_bulk("retry", FAILED, rate_per_second=2.5)
    while step(operation):
        pass
    assert fresh(operation).moved == 5
    assert chunk_delays(operation) == [None, timedelta(seconds=0.8), timedelta(seconds=0.8)]


def test_canary_that_succeeds_lets_the_rest_follow() -> None:
    ids = failed_jobs(4)
    operation = job_scheduler.start_bulk("retry", FAILED, canary=2)
    step(operation)
    assert states(ids) == ["enqueued", "enqueued", "failed", "failed"]
    step(operation)
    assert fresh(operation).state == "canary"
    assert chunk_delays(operation)[-1] == timedelta(seconds=2)
    run(*ids[:2])
    step(operation)
    assert fresh(operation).state == "done"
    assert fresh(operation).moved == 4


def test_canary_that_fails_pauses_and_resume_goes_on() -> None:
    ids = [make_job(State.FAILED, payload={"no": "note"}).pk for _ in range(3)]
    operation = job_scheduler.start_bulk("retry", FAILED, canary=2)
    step(operation)
    run(*ids[:2])
    step(operation)
    paused = fresh(operation)
    assert (paused.state, paused.moved) == ("paused", 2)
    assert paused.note == "2 of 2 canary jobs failed again."
    assert job_scheduler.resume_bulk(operation.pk)
    step(operation)
    assert states(ids[2:]) == ["enqueued"]


def test_more_are_tried_after_a_canary_that_failed_and_judged_by_themselves() -> None:
    bad = [make_job(State.FAILED, payload={"no": "note"}).pk for _ in range(2)]
    good = failed_jobs(3)
    operation = job_scheduler.start_bulk("retry", FAILED, canary=2)
    step(operation)
    run(*bad)
    step(operation)
    assert fresh(operation).held
    assert job_scheduler.try_bulk(operation.pk, 2, by="ops", reason="mended")
    assert not job_scheduler.try_bulk(operation.pk)  # it goes on
    tried = fresh(operation)
    assert (tried.state, tried.held, tried.note) == ("canary", False, "")
    step(operation)
    step(operation)
    assert states(good) == ["enqueued", "enqueued", "failed"]
    run(*good[:2])
    step(operation)
    assert (fresh(operation).state, fresh(operation).moved) == ("done", 5)
    entry = AuditEntry.objects.get(verb="try_bulk")
    assert (entry.username, entry.reason, entry.data) == ("ops", "mended", {"jobs": 2})


def test_more_that_are_tried_than_there_are_left_are_all() -> None:
    ids = [make_job(State.FAILED, payload={"no": "note"}).pk for _ in range(2)]
    operation = job_scheduler.start_bulk("retry", FAILED, canary=1)
    step(operation)
    run(ids[0])
    step(operation)
    assert job_scheduler.try_bulk(operation.pk, 5)
    step(operation)
    run(ids[1])
    step(operation)
    paused = fresh(operation)
    assert (paused.state, paused.held, paused.note) == ("paused", True, "1 of 1 canary job failed again.")
    assert job_scheduler.resume_bulk(operation.pk)
    step(operation)
    assert (fresh(operation).state, fresh(operation).held) == ("done", False)


def test_pause_of_a_person_holds_nothing_and_more_may_be_tried() -> None:
    ids = failed_jobs(3)
    operation = job_scheduler.start_bulk("retry", FAILED)
    assert not job_scheduler.try_bulk(operation.pk)
    job_scheduler.pause_bulk(operation.pk)
    assert not fresh(operation).held
    assert job_scheduler.try_bulk(operation.pk, 1)
    step(operation)
    assert states(ids) == ["enqueued", "failed", "failed"]


@pytest.mark.parametrize("jobs", [0, 1_001, True, "5"])
def test_wrong_number_to_try_is_named(jobs: Any) -> None:
    failed_jobs(1)
    operation = job_scheduler.start_bulk("retry", FAILED)
    job_scheduler.pause_bulk(operation.pk)
    with pytest.raises(InvalidJob, match="jobs: must be a whole number from 1 to 1,000"):
        job_scheduler.try_bulk(operation.pk, jobs)


def test_what_does_not_run_cannot_be_tried() -> None:
    failed_jobs(1)
    operation = job_scheduler.start_bulk("delete", FAILED)
    job_scheduler.pause_bulk(operation.pk)
    with pytest.raises(InvalidJob, match="nothing to try"):
        job_scheduler.try_bulk(operation.pk)
    assert fresh(operation).state == "paused"


def test_canary_that_does_not_end_pauses_after_five_minutes() -> None:
    ids = failed_jobs(2)
    operation = job_scheduler.start_bulk("retry", FAILED, canary=1)
    step(operation)
    BulkOperation.objects.update(progressed_at=operation.created_at - timedelta(minutes=6))
    step(operation)
    assert fresh(operation).note == "Nothing happened for 5 minutes: 1 of 1 canary job did not end."
    assert states(ids) == ["enqueued", "failed"]


def test_share_of_failures_pauses_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK", 20)
    ids = [make_job(State.FAILED, payload={"no": "note"}).pk for _ in range(21)]
    operation = job_scheduler.start_bulk("retry", FAILED, max_failed_share=0.5)
    step(operation)
    run(*ids[:20])
    step(operation)
    assert fresh(operation).note == "20 of the last 20 first attempts failed again, more than 50 %."
    job_scheduler.resume_bulk(operation.pk)
    assert step(operation)  # those that failed before the resumption no longer count
    assert (fresh(operation).moved, fresh(operation).max_failed_share) == (21, 0.5)


def test_everything_asks_for_the_exact_number() -> None:
    failed_jobs(2)
    with pytest.raises(InvalidJob, match="exact number, 2"):
        job_scheduler.start_bulk("delete", Selection())
    assert job_scheduler.start_bulk("delete", Selection(), confirm_count=2).count == 2


@pytest.mark.parametrize(
    ("verb", "options", "field"),
    [
        ("explode", {}, "verb"),
        ("requeue", {}, "verb"),
        ("retry", {"rate_per_second": 0.01}, "rate_per_second"),
        ("retry", {"rate_per_second": float("nan")}, "rate_per_second"),
        ("retry", {"canary": 1_001}, "canary"),
        ("retry", {"max_failed_share": 1.1}, "max_failed_share"),
        ("delete", {"canary": 1}, "canary"),
    ],
)
def test_wrong_option_is_named(verb: str, options: dict[str, Any], field: str) -> None:
    failed_jobs(1)
    with pytest.raises(InvalidJob) as caught:
        job_scheduler.start_bulk(verb, FAILED, **options)
    assert caught.value.field == field
    assert not BulkOperation.objects.exists()


def test_chunk_is_published_after_the_commit(noting: NotingTransport) -> None:
    ids = failed_jobs(1)
    operation = job_scheduler.start_bulk("retry", FAILED)
    assert len(noting.ids) == 1
    step(operation)
    assert noting.ids[1] == ids


def during_a_chunk(operation: BulkOperation, act: Callable[[], bool]) -> bool:
    """What ``act`` answers that is asked, over a connection of its own, while a chunk is not committed yet."""

    def apart() -> bool:
        try:
            return act()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            assert step(operation)
            asked = pool.submit(apart)
            wait([asked], timeout=0.2)
            assert not asked.done()
        return asked.result(10)


@pytest.fixture
def one_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of one job."""
    monkeypatch.setattr(chunks, "CHUNK", 1)


@pytest.mark.postgresql
@pytest.mark.usefixtures("one_a_chunk")
def test_pause_waits_for_the_chunk_that_runs_and_holds_the_next() -> None:
    ids = failed_jobs(2)
    operation = job_scheduler.start_bulk("retry", FAILED)
    assert during_a_chunk(operation, lambda: job_scheduler.pause_bulk(operation.pk))
    assert (fresh(operation).state, fresh(operation).moved) == ("paused", 1)
    assert not step(operation)
    assert states(ids) == ["enqueued", "failed"]


@pytest.mark.postgresql
@pytest.mark.usefixtures("one_a_chunk")
def test_stop_waits_for_the_chunk_that_runs_and_keeps_what_it_moved() -> None:
    ids = failed_jobs(2)
    operation = job_scheduler.start_bulk("retry", FAILED)
    assert during_a_chunk(operation, lambda: job_scheduler.stop_bulk(operation.pk))
    assert (fresh(operation).state, fresh(operation).moved) == ("stopped", 1)
    assert not step(operation)
    assert states(ids) == ["enqueued", "failed"]


@pytest.mark.postgresql
@pytest.mark.usefixtures("one_a_chunk")
def test_resume_beside_a_running_chunk_makes_its_successor_do_nothing() -> None:
    ids = failed_jobs(3)
    operation = job_scheduler.start_bulk("retry", FAILED)
    assert during_a_chunk(operation, lambda: job_scheduler.resume_bulk(operation.pk))
    assert not run_chunk(operation.pk, 1)  # the one that the chunk enqueued: the resumption's goes on instead
    while step(operation):
        pass
    assert (fresh(operation).state, fresh(operation).moved) == ("done", 3)
    assert set(states(ids)) == {"enqueued"}
    assert BulkItem.objects.filter(operation_id=operation.pk).count() == 3


@pytest.mark.postgresql
@pytest.mark.usefixtures("one_a_chunk")
def test_chunk_that_runs_twice_at_once_is_done_once() -> None:
    failed_jobs(2)
    operation = job_scheduler.start_bulk("retry", FAILED)
    assert not during_a_chunk(operation, lambda: run_chunk(operation.pk, 0))
    assert (fresh(operation).moved, BulkItem.objects.count()) == (1, 1)


def test_canary_that_is_deleted_pauses_and_resume_goes_on() -> None:
    ids = failed_jobs(3)
    operation = job_scheduler.start_bulk("retry", FAILED, canary=2)
    step(operation)
    job_scheduler.delete(ids[0])
    step(operation)  # the other one has not ended
    assert fresh(operation).state == "canary"
    run(ids[1])
    step(operation)
    assert fresh(operation).note == "1 of 2 canary jobs were deleted before they ran."
    assert states(ids[2:]) == ["failed"]
    job_scheduler.resume_bulk(operation.pk)
    step(operation)
    assert states(ids[2:]) == ["enqueued"]


def test_run_whose_chunk_job_is_lost_is_paused_and_resumes() -> None:
    ids = failed_jobs(1)
    operation = job_scheduler.start_bulk("retry", FAILED)
    JobRecord.objects.filter(job_type="jobs.RunBulk").delete()
    assert pause_stalled() == 0
    BulkOperation.objects.update(progressed_at=operation.created_at - STALLED_AFTER - timedelta(minutes=1))
    recovery.Recovery()._watch_bulk()
    stalled = fresh(operation)
    assert (stalled.state, stalled.note) == ("paused", "Nothing happened for 5 minutes: its chunk job is gone.")
    assert AuditEntry.objects.get(verb="pause_bulk").target == f"bulk operation {operation.pk}"
    assert pause_stalled() == 0
    job_scheduler.resume_bulk(operation.pk)
    assert step(operation)
    assert states(ids) == ["enqueued"]


def test_run_that_no_worker_takes_is_paused_and_says_so() -> None:
    failed_jobs(1)
    operation = job_scheduler.start_bulk("retry", FAILED)
    BulkOperation.objects.update(progressed_at=operation.created_at - STALLED_AFTER - timedelta(minutes=1))
    assert pause_stalled() == 1
    assert fresh(operation).note.endswith("is enqueued, no worker took it.")


def test_receipt_tells_first_attempts_and_where_the_jobs_are() -> None:
    good = make_job(State.FAILED).pk
    bad = make_job(State.FAILED, payload={"no": "note"}).pk
    deleted, waiting = failed_jobs(2)
    operation = job_scheduler.start_bulk("retry", FAILED)
    step(operation)
    run(good, bad)
    job_scheduler.delete(deleted)
    job_scheduler.retry(bad)  # later, by someone: the run's own attempt failed all the same
    found = receipt(fresh(operation))
    assert (found.looked_at, found.first_succeeded, found.first_failed) == (4, 1, 1)
    assert (found.first_to_come, found.first_never) == (1, 1)
    assert (found.succeeded, found.failed, found.waiting, found.deleted) == (1, 0, 2, 1)
    assert states([waiting]) == ["enqueued"]


def test_count_that_takes_too_long_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    failed_jobs(1)
    monkeypatch.setattr(control, "time_limit", lambda _seconds, using: time_limit(-1, using))
    operation = job_scheduler.start_bulk("retry", FAILED)
    assert operation.count == 0
    assert step(operation)
    assert (fresh(operation).state, fresh(operation).moved) == ("done", 1)
    with pytest.raises(InvalidJob, match="takes too long"):
        job_scheduler.start_bulk("delete", Selection(), confirm_count=1)


def test_audit_does_not_repeat_what_was_searched_for_in_sensitive_arguments() -> None:
    make_job(State.FAILED, payload={"text": "4111-1111"})
    job_scheduler.start_bulk("retry", Selection(states=("failed",), text=("4111-1111",)), by="ops")
    data = AuditEntry.objects.get(verb="start_bulk").data
    assert data
    assert data["search"] == 'state:failed "••••••"'
