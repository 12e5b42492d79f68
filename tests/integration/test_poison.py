"""What must not stop a worker or recovery: damaged messages, damaged rows, other programs' jobs, lost answers."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection

from handlers import execution, job_scheduler, lifecycle
from handlers.cancellation import CancellationToken
from handlers.models import JobRecord
from handlers.recovery import Recovery
from handlers.rq_transport.connections import redis_connection
from handlers.rq_transport.intake import Intake
from handlers.rq_transport.marks import Marks
from handlers.rq_transport.messages import RQTransport, parse_rq_job_id, queue_key
from handlers.rq_transport.worker import BatchWorker
from handlers.states import State
from handlers.transport import Message
from tests.app.jobs import Hostile, Nothing
from tests.running import message, moves_of

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]

OTHERS = ["20241124-1", "12-ff", "uuid-x", "0-00000000000000aa", f"7-{'A' * 16}"]


def worker() -> BatchWorker:
    """A worker in this process, not yet at work."""
    made = BatchWorker(["default"], name="host.1.poison", marks=Marks(8), in_order=True)
    made.register_birth()
    return made


@pytest.mark.parametrize("foreign", OTHERS)
def test_pop_leaves_a_foreign_job_and_takes_ours_behind_it(foreign: str) -> None:
    ours = Message(7, "0123456789abcdef", "default")
    redis_connection().rpush(queue_key("default"), foreign)
    RQTransport().publish([ours])
    assert Intake().pop(["default"], 1) == [ours]
    assert redis_connection().lrange(queue_key("default"), 0, -1) == [foreign.encode()]


def test_id_beyond_the_database_is_not_one_of_ours() -> None:
    assert parse_rq_job_id(f"{2**63}-0123456789abcdef") is None
    assert parse_rq_job_id(f"{2**63 - 1}-0123456789abcdef") == (2**63 - 1, "0123456789abcdef")


@pytest.mark.parametrize("bad_comes", ["first", "last"])
def test_claim_that_fails_for_one_message_serves_the_others(monkeypatch: pytest.MonkeyPatch, bad_comes: str) -> None:
    good, bad = job_scheduler.enqueue(Nothing()), job_scheduler.enqueue(Nothing())
    order = [bad, good] if bad_comes == "first" else [good, bad]
    claim = lifecycle.claim

    def claim_or_fail(messages: Any, **options: Any) -> Any:
        if any(found.job_id == bad for found in messages):
            with connection.cursor() as cursor:
                cursor.execute("SELECT no_such_column")
        return claim(messages, **options)

    monkeypatch.setattr(lifecycle, "claim", claim_or_fail)
    worker().execute_job([message(job_id) for job_id in order], None)
    assert moves_of(good) == [("enqueued", "processing"), ("processing", "succeeded")], "run once"
    assert JobRecord.objects.get(pk=bad).state == State.ENQUEUED


def test_claim_whose_answer_is_lost_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = job_scheduler.enqueue(Nothing())
    claim, failures = lifecycle.claim, iter([OperationalError("connection lost")])

    def claim_and_lose(messages: Any, **options: Any) -> Any:
        claims = claim(messages, **options)
        for failure in failures:
            raise failure
        return claims

    monkeypatch.setattr(lifecycle, "claim", claim_and_lose)
    busy = worker()
    busy.execute_job([message(job_id)], None)
    assert JobRecord.objects.get(pk=job_id).state == State.ENQUEUED, "not an orphan in processing"
    busy.execute_job([message(job_id)], None)
    assert JobRecord.objects.get(pk=job_id).state == State.SUCCEEDED


def test_outcome_is_recorded_after_a_handler_left_a_raw_transaction_open() -> None:
    job_id = job_scheduler.enqueue(Hostile("begin"))
    (claim,) = lifecycle.claim([message(job_id)], worker="w", lease=timedelta(seconds=15))
    move = execution.run(claim, CancellationToken(job_id=job_id, attempt=1), worker="w")
    assert move is not None
    assert execution.settle([move], worker="w") == {job_id}
    assert JobRecord.objects.get(pk=job_id).state == State.SUCCEEDED


def test_outcome_that_the_database_refuses_is_recorded_without_its_text() -> None:
    job_id = job_scheduler.enqueue(Nothing())
    (claim,) = lifecycle.claim([message(job_id)], worker="w", lease=timedelta(seconds=15))
    step = lifecycle.Step(State.SUCCEEDED, "", {"worker": float("nan")})  # JSON has no NaN: PostgreSQL refuses it
    move = lifecycle.Move(job_id, claim.token, lifecycle.Change(State.PROCESSING, (step,)))
    assert execution.settle([move], worker="w") == {job_id}
    assert JobRecord.objects.get(pk=job_id).state == State.SUCCEEDED


def test_recovery_publishes_the_good_jobs_beside_a_damaged_row(monkeypatch: pytest.MonkeyPatch) -> None:
    good, bad = job_scheduler.enqueue(Nothing()), job_scheduler.enqueue(Nothing())
    JobRecord.objects.filter(pk=bad).update(queue="Bad Queue")
    redis_connection().flushall()
    monkeypatch.setattr("handlers.recovery.PATIENCE_SECONDS", 0.0)
    Recovery().tick()
    expected = message(good)
    assert Intake().pop(["default"], 10) == [expected]
