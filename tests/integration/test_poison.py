"""What must not stop a worker or recovery: damaged messages, damaged rows, other programs' jobs, lost answers."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import DataError, OperationalError, connection
from django.test import override_settings

from handlers import entry, execution, job_scheduler, lifecycle, recovery
from handlers.cancellation import CancellationToken
from handlers.models import JobRecord
from handlers.recovery import Recovery
from handlers.rq_transport.connections import redis_connection
from handlers.rq_transport.intake import Intake
from handlers.rq_transport.marks import Marks
from handlers.rq_transport.messages import RQTransport, parse_rq_job_id
from handlers.rq_transport.names import queue_key
from handlers.rq_transport.worker import BatchWorker
from handlers.states import State
from handlers.transport import LastWords, Message, get_transport
from tests.app.jobs import Hostile, Nothing
from tests.running import facts, message, moves_of, record

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]

OTHERS = ["20241124-1", "12-ff", "uuid-x", "0-00000000000000aa", f"7-{'A' * 16}"]


def worker(marks: Marks | None = None) -> BatchWorker:
    """A worker in this process, not yet at work."""
    made = BatchWorker(["default"], name="host.1.poison", marks=marks or Marks(8), weights=None)
    made.register_birth()
    return made


@pytest.mark.parametrize("foreign", OTHERS)
def test_pop_leaves_a_foreign_job_and_takes_ours_behind_it(foreign: str) -> None:
    ours = Message(7, "0123456789abcdef", "default")
    redis_connection().rpush(queue_key("default"), foreign)
    RQTransport().publish([ours])
    [popped] = Intake("w").pop({"default": 1})
    assert popped._replace(enqueued_at=None) == ours  # behind others' it has its place by when it was published
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
    assert facts(job_id, "state", "attempt") == (State.ENQUEUED, 0), "not an orphan in processing, and nothing ran"
    busy.execute_job([message(job_id)], None)
    assert facts(job_id, "state", "attempt") == (State.SUCCEEDED, 1)


def test_claim_of_a_stock_worker_whose_answer_is_lost_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(messages: Any, **options: Any) -> Any:
        claim(messages, **options)
        raise OperationalError("connection lost")

    job_id = int(job_scheduler.enqueue(Nothing()))
    claim, sent = lifecycle.claim, message(job_id)
    monkeypatch.setattr(lifecycle, "claim", lost)
    with pytest.raises(OperationalError):
        entry.run(sent.job_id, sent.token)
    assert facts(job_id, "state", "attempt", "crashes") == (State.ENQUEUED, 0, 0)
    assert message(job_id) != sent


def test_run_whose_error_cannot_be_described_is_the_one_that_runs_until_its_worker_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def describe(*_: Any, **__: Any) -> Any:
        raise MemoryError

    good, bad, behind = (int(job_scheduler.enqueue(job)) for job in (Nothing(), Hostile("base"), Nothing()))
    monkeypatch.setattr(execution, "describe", describe)
    busy = worker(marks := Marks(8))
    with pytest.raises(MemoryError):
        busy.execute_job([message(job_id) for job_id in (good, bad, behind)], None)
    [running] = marks.running()
    assert (running.job_id, marks.holding, marks.started()) == (bad, True, frozenset({good, bad}))
    assert facts(good, "state", "attempt") == (State.SUCCEEDED, 1)


def test_run_whose_outcome_breaks_its_worker_is_the_one_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def apply(*_: Any, **__: Any) -> Any:
        raise MemoryError

    job_id = int(job_scheduler.enqueue(Nothing()))
    monkeypatch.setattr(lifecycle, "apply", apply)
    busy = worker(marks := Marks(8))
    with pytest.raises(MemoryError):
        busy.execute_job([message(job_id)], None)
    [running] = marks.running()
    assert (running.job_id, marks.holding) == (job_id, True)


def test_run_that_ended_stays_marked_as_such_when_the_database_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    def apply(*_: Any, **__: Any) -> Any:
        marks.stop()  # as a supervisor asks; a signal would have this very process end with the grace
        raise OperationalError("away")

    job_id = int(job_scheduler.enqueue(Nothing()))
    monkeypatch.setattr(lifecycle, "apply", apply)
    busy = worker(marks := Marks(8))
    with override_settings(JOBS=settings.JOBS | {"SHUTDOWN_GRACE_SECONDS": 0.1}), pytest.raises(OperationalError):
        busy.execute_job([message(job_id)], None)
    assert (marks.running(), marks.holding, marks.started()) == ([], True, frozenset({job_id}))


def test_run_whose_outcome_the_database_refuses_altogether_is_given_back_as_an_attempt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(moves: Any, **options: Any) -> Any:
        if moves and moves[0].change.target == State.SUCCEEDED:
            raise DataError("no")
        return apply(moves, **options)

    job_id, apply = int(job_scheduler.enqueue(Nothing())), lifecycle.apply
    monkeypatch.setattr(lifecycle, "apply", refuse)
    worker(marks := Marks(8)).execute_job([message(job_id)], None)
    assert (marks.holding, facts(job_id, "state", "attempt", "failures", "crashes")) == (False, ("enqueued", 1, 0, 0))
    assert record(job_id).history.filter(reason="its outcome could not be recorded").exists()


def test_worker_in_doubt_keeps_what_it_holds_until_the_database_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(messages: Any, **options: Any) -> Any:
        claim(messages, **options)
        raise OperationalError("connection lost")

    def away(worker: str) -> Any:
        raise OperationalError("away")

    job_id = int(job_scheduler.enqueue(Nothing()))
    claim, first = lifecycle.claim, message(job_id)
    busy = worker(marks := Marks(8))
    with monkeypatch.context() as patch:
        patch.setattr(lifecycle, "claim", lost)
        patch.setattr(lifecycle, "claims_of", away)
        busy.execute_job([first], None)
        assert (marks.holding, record(job_id).state) == (True, "processing"), "so its lease is renewed"
    redis_connection().flushall()  # an idle worker asks, too
    [again], _ = busy.dequeue_job_and_maintain_ttl(None)
    assert (marks.holding, again) == (False, message(job_id))
    assert facts(job_id, "state", "attempt") == (State.ENQUEUED, 0)


def test_what_a_supervisor_could_not_record_is_told_to_recovery() -> None:
    def lapsed(*, crashed: bool, started: bool) -> int:
        job_id = int(job_scheduler.enqueue(Nothing()))
        name = f"host.1.{job_id}"
        lifecycle.claim([message(job_id)], worker=name, lease=timedelta(seconds=-1))
        words = LastWords(frozenset({job_id} if crashed else ()), frozenset({job_id} if started else ()))
        get_transport().leave_last_words(name, words)
        return job_id

    ran, unstarted, crashed = (
        lapsed(crashed=crashed, started=started) for crashed, started in ((False, True), (False, False), (True, True))
    )
    assert recovery.bring_back() == 3
    assert facts(ran, "state", "attempt", "crashes") == (State.ENQUEUED, 1, 0)
    assert facts(unstarted, "state", "attempt", "crashes") == (State.ENQUEUED, 0, 0)
    assert facts(crashed, "state", "attempt", "crashes") == (State.ENQUEUED, 1, 1)


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
    assert Intake("w").pop({"default": 10}) == [expected]
