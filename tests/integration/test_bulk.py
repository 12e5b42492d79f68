"""Bulk operations: a verb over all that match, in chunks that are done once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction

from handlers import InvalidJob, job_scheduler
from handlers.bulk import chunks, receipt, run_chunk
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
    ids = [make_job(State.FAILED, job_type="gone.Type").pk for _ in range(3)]
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
    ids = [make_job(State.FAILED, job_type="gone.Type").pk for _ in range(21)]
    operation = job_scheduler.start_bulk("retry", FAILED, max_failed_share=0.5)
    step(operation)
    run(*ids[:20])
    step(operation)
    assert fresh(operation).note == "20 of the last 20 first attempts failed again, more than 50 %."
    job_scheduler.resume_bulk(operation.pk)
    assert fresh(operation).max_failed_share is None


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


def test_pause_waits_for_the_chunk_that_runs_and_holds_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    if connection.vendor != "postgresql":
        return  # SQLite has one writer at a time
    monkeypatch.setattr(chunks, "CHUNK", 1)
    ids = failed_jobs(2)
    operation = job_scheduler.start_bulk("retry", FAILED)

    def pause() -> bool:
        try:
            return job_scheduler.pause_bulk(operation.pk)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            step(operation)
            paused = pool.submit(pause)
            wait([paused], timeout=0.2)
            assert not paused.done()
        assert paused.result(10)
    assert (fresh(operation).state, fresh(operation).moved) == ("paused", 1)
    assert not step(operation)
    assert states(ids) == ["enqueued", "failed"]
