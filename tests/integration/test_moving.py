"""Jobs go to another queue: what waits, in its state and at the end of the new one; what failed, for its next retry."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, connections, transaction
from django.utils import timezone

from handlers import InvalidJob, job_scheduler, lifecycle
from handlers.bulk import run_chunk
from handlers.lifecycle import NewJob, verbs
from handlers.models import AuditEntry, BulkOperation, JobHistory, JobPayload, JobRecord
from handlers.queues import known_queues, left_over, served
from handlers.selection import Selection
from handlers.states import State
from handlers.transport import Message
from tests.app.jobs import Note
from tests.console.factories import make_job, one_of_each
from tests.running import LEASE, WORKER, NotingTransport, claim, facts, message, record, run

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("noting")]

OLD = "gone-queue"  # that no code names
HOUR = timedelta(hours=1)


def queues_of(job_id: int) -> tuple[str, str]:
    """The job's queue, and the one that searches find it by."""
    return record(job_id).queue, JobPayload.objects.get(pk=job_id).queue


def new_on(queue: str) -> int:
    """A job that another release enqueued there."""
    (made,) = lifecycle.create([NewJob("app.Note", b'{"text": "hello"}', queue)])
    return made.job_id


# --- one job


def test_move_puts_an_enqueued_job_at_the_end_of_another_queue_and_makes_its_message_void(
    noting: NotingTransport,
) -> None:
    job_id = job_scheduler.enqueue(Note("a"))
    before = record(job_id)
    old = message(job_id)
    noting.published.clear()
    assert job_scheduler.move(job_id, "mail", by=User.objects.create(username="olga"), reason="no worker")
    after = record(job_id)
    assert queues_of(job_id) == ("mail", "mail")
    assert (after.state, after.attempt, after.created_at) == ("enqueued", 0, before.created_at)
    assert after.token != before.token
    assert before.enqueued_at is not None
    assert after.enqueued_at is not None
    assert after.enqueued_at > before.enqueued_at
    assert noting.published == [[Message(job_id, after.token, "mail")]]
    assert noting.withdrawn == [[Message(job_id, before.token, "default")]]
    assert not lifecycle.claim([old], worker=WORKER, lease=LEASE)
    step = JobHistory.objects.get(job=job_id)
    assert (step.from_state, step.to_state, step.actor) == ("enqueued", "enqueued", "user:olga")
    assert step.reason == "moved from queue default to mail: no worker"
    assert step.data == {"old_queue": "default"}
    assert run(job_id)
    assert record(job_id).state == "succeeded"


def test_move_keeps_when_a_scheduled_job_is_due(noting: NotingTransport) -> None:
    job_id = job_scheduler.schedule(Note("a"), timezone.now() + HOUR)
    run_at, token = facts(job_id, "run_at", "token")
    noting.delayed.clear()
    assert job_scheduler.move(job_id, "mail")
    assert facts(job_id, "state", "run_at", "enqueued_at") == ("scheduled", run_at, None)
    assert noting.delayed == [[Message(job_id, record(job_id).token, "mail", run_at)]]
    assert noting.withdrawn == [[Message(job_id, token, "default")]]


def test_move_keeps_the_round_of_a_job_that_waits_for_its_retry() -> None:
    job = make_job(State.SCHEDULED, retrying=True)
    assert job_scheduler.move(job.pk, "mail")
    after = record(job.pk)
    assert after.is_retrying
    assert (after.failures, after.attempt, after.run_at, after.error) == (1, 1, job.run_at, job.error)


def test_failed_job_moves_for_its_next_retry(noting: NotingTransport) -> None:
    job = make_job(State.FAILED, queue=OLD)
    assert job_scheduler.move(job.pk, "mail")
    after = record(job.pk)
    assert (after.state, after.queue, after.finished_at, after.worker) == (
        "failed", "mail", job.finished_at, job.worker,
    )  # fmt: skip
    assert noting.published == noting.delayed == noting.withdrawn == []
    assert job_scheduler.retry(job.pk)
    assert noting.published == [[message(job.pk)]]
    assert message(job.pk).queue == "mail"


def test_only_what_waits_or_failed_moves() -> None:
    jobs = one_of_each()
    moved = {job.state for job in jobs if job_scheduler.move(job.pk, "mail")}
    assert moved == {"failed", "scheduled", "enqueued", "awaiting", "waiting"}
    stayed = {job.state for job in jobs if record(job.pk).queue == "default"}
    assert stayed == {"processing", "succeeded", "deleted"}


@pytest.mark.parametrize("job_id", [2**62, "nonsense", -1])
def test_move_of_a_job_that_does_not_exist_moves_nothing(job_id: Any) -> None:
    assert not job_scheduler.move(job_id, "mail")


def test_job_that_is_there_already_does_not_move() -> None:
    job_id = job_scheduler.enqueue(Note("a"))
    token = record(job_id).token
    assert not job_scheduler.move(job_id, "default")
    assert record(job_id).token == token
    assert not JobHistory.objects.exists()


def test_the_engines_own_job_does_not_move() -> None:
    chunk = make_job(State.ENQUEUED, job_type="jobs.RunBulk", queue="system")
    assert not job_scheduler.move(chunk.pk, "mail")
    assert record(chunk.pk).queue == "system"


@pytest.mark.parametrize(
    ("queue", "says"), [(OLD, "is not known"), ("system", "serves the engine"), ("A b", "no queue name")]
)
def test_move_refuses_a_queue_that_no_code_names(queue: str, says: str) -> None:
    job_id = job_scheduler.enqueue(Note("a"))
    with pytest.raises(InvalidJob, match=says) as raised:
        job_scheduler.move(job_id, queue)
    assert raised.value.field == "queue"
    assert record(job_id).queue == "default"


def test_move_leaves_alone_what_moved_on_since_the_page() -> None:
    job_id = job_scheduler.enqueue(Note("a"))
    seen = record(job_id).token
    assert job_scheduler.move(job_id, "mail", expect=seen)
    assert not job_scheduler.move(job_id, "flaky", expect=seen)
    assert record(job_id).queue == "mail"


def test_job_that_is_claimed_between_look_and_move_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = job_scheduler.enqueue(Note("a"))
    look = verbs.locked_rows

    def late(*asked: Any) -> Any:
        rows = look(*asked)
        assert claim(job_id)
        return rows

    monkeypatch.setattr(verbs, "locked_rows", late)
    assert not job_scheduler.move(job_id, "mail")
    assert queues_of(job_id) == ("default", "default")
    assert record(job_id).state == "processing"
    assert not JobHistory.objects.filter(reason__startswith="moved").exists()


def test_move_belongs_to_the_callers_transaction(noting: NotingTransport) -> None:
    job_id = job_scheduler.enqueue(Note("a"))
    noting.published.clear()

    with transaction.atomic():
        assert job_scheduler.move(job_id, "mail", by="ops")
        assert noting.published == []
        transaction.set_rollback(True)
    assert queues_of(job_id) == ("default", "default")
    assert noting.published == noting.withdrawn == []
    assert not AuditEntry.objects.exists()


# --- many jobs


def test_move_many_answers_and_audits_how_many_moved(noting: NotingTransport) -> None:
    here = [int(job_id) for job_id in job_scheduler.enqueue_many([Note("a"), Note("b")])]
    there, ended = job_scheduler.enqueue(Note("c"), queue="mail"), make_job(State.SUCCEEDED)
    noting.published.clear()
    assert job_scheduler.move_many([*here, there, ended.pk], "mail", by="ops", reason="old is gone") == 2
    assert noting.ids == [here]
    entry = AuditEntry.objects.get()
    assert (entry.verb, entry.username, entry.target, entry.count, entry.reason) == (
        "move", "ops", "4 jobs", 2, "old is gone",
    )  # fmt: skip
    assert entry.data == {
        "asked": 4, "job_ids": here, "from": {"enqueued": 2}, "to_queue": "mail", "from_queues": {"default": 2},
    }  # fmt: skip


def test_many_move_in_few_statements(django_assert_max_num_queries: Any) -> None:
    ids = [int(job_id) for job_id in job_scheduler.enqueue_many([Note("a")] * 1_500)]
    with django_assert_max_num_queries(20):
        assert job_scheduler.move_many(ids, "mail") == 1_500
    assert JobRecord.objects.filter(queue="mail").count() == 1_500


def finish(operation: BulkOperation) -> BulkOperation:
    while run_chunk(operation.pk, BulkOperation.objects.get(pk=operation.pk).step):
        pass
    return BulkOperation.objects.get(pk=operation.pk)


def test_all_that_match_move_in_the_background(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handlers.bulk.chunks.CHUNK", 2)
    mine = [make_job(state, queue=OLD) for state in (State.ENQUEUED, State.FAILED, State.SCHEDULED, State.SUCCEEDED)]
    other = make_job(State.ENQUEUED)
    operation = finish(job_scheduler.start_bulk("move", Selection(queues=(OLD,)), queue="mail", by="ops"))
    assert (operation.state, operation.count, operation.moved, operation.queue) == ("done", 3, 3, "mail")
    assert [record(job.pk).queue for job in mine] == ["mail", "mail", "mail", OLD]
    assert [record(job.pk).state for job in mine] == [job.state for job in mine]
    assert record(other.pk).queue == "default"
    reason = JobHistory.objects.filter(job=mine[0].pk).latest("pk").reason
    assert reason == f"moved from queue {OLD} to mail: bulk operation {operation.pk}"
    assert AuditEntry.objects.filter(verb="start_bulk", data__to_queue="mail").exists()
    assert [job.pk for job in Selection(queues=("mail",)).page(10)] == [job.pk for job in mine[2::-1]]


@pytest.mark.parametrize(
    ("verb", "options", "field"),
    [
        ("move", {}, "queue"),
        ("move", {"queue": OLD}, "queue"),
        ("move", {"queue": "system"}, "queue"),
        ("retry", {"queue": "mail"}, "queue"),
        ("move", {"queue": "mail", "canary": 1}, "canary"),
    ],
)
def test_bulk_move_refuses_what_does_not_fit(verb: str, options: dict[str, Any], field: str) -> None:
    make_job(State.FAILED)
    with pytest.raises(InvalidJob) as raised:
        job_scheduler.start_bulk(verb, Selection(states=("failed",)), **options)
    assert raised.value.field == field
    assert not BulkOperation.objects.exists()


# --- queues that only jobs name


def test_worker_serves_what_the_code_names_and_what_still_holds_jobs() -> None:
    assert served(None) == (sorted(known_queues()), [])
    assert served(["mail", "default"]) == (["mail", "default", "system"], [])
    new_on(OLD)
    assert left_over() == [OLD]
    assert served([OLD, "mail"]) == ([OLD, "mail", "system"], [OLD])
    assert served(None) == ([*sorted(known_queues()), OLD], [OLD])


@pytest.mark.parametrize(
    ("state", "holds"),
    [(state, state not in (State.SUCCEEDED, State.DELETED)) for state in State],
)
def test_queue_holds_what_runs_may_run_or_may_be_retried(state: State, holds: bool) -> None:
    make_job(state, queue=OLD)
    assert left_over() == ([OLD] if holds else [])
    if not holds:
        with pytest.raises(InvalidJob, match=f"unknown {OLD}, which holds no jobs either; known are .*default"):
            served([OLD])


def test_queue_that_only_jobs_name_can_be_paused_and_resumed() -> None:
    with pytest.raises(InvalidJob, match="is not known"):
        job_scheduler.pause_queue(OLD)
    job_id = new_on(OLD)
    job_scheduler.pause_queue(OLD)
    assert not claim(job_id)
    job_scheduler.resume_queue(OLD)
    assert claim(job_id)


@pytest.mark.postgresql
def test_move_and_claim_at_once_give_the_job_to_one_of_them() -> None:
    barrier = threading.Barrier(2)

    def one(act: Callable[..., Any], *args: Any, **options: Any) -> bool:
        try:
            connection.ensure_connection()
            barrier.wait(60)
            return bool(act(*args, **options))
        finally:
            connections.close_all()

    with ThreadPoolExecutor(2) as pool:
        for _ in range(30):
            job_id = job_scheduler.enqueue(Note("a"))
            old = message(job_id)
            moving = pool.submit(one, job_scheduler.move, job_id, "mail")
            claiming = pool.submit(one, lifecycle.claim, [old], worker=WORKER, lease=LEASE)
            moved, claimed = moving.result(30), claiming.result(30)
            assert moved + claimed <= 1, "a claim passes over a row that is locked"
            assert facts(job_id, "state", "queue") == (
                ("processing", "default") if claimed else ("enqueued", "mail" if moved else "default")
            )
