"""Claims, attempts and their outcomes: one writer, guarded by state and token, however many ask at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import pytest
from django.db import OperationalError, connection, connections, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from handlers import (
    CancellationToken,
    FixedBackoff,
    GiveUp,
    Job,
    RetryAfter,
    RetryPolicy,
    execution,
    handles,
    job_scheduler,
    lifecycle,
)
from handlers.cancellation import CancelReason
from handlers.failures import clean
from handlers.lifecycle import Change, Claim, Move, NewJob
from handlers.models import AttemptError, JobCountDelta, JobHistory, JobRecord, QueueSwitch, TypeSwitch
from handlers.models.sql import database_now
from handlers.registry import registry
from handlers.states import State, is_allowed
from handlers.transport import Message
from tests.app.jobs import AsyncNote, Fail, Hostile, Note, Patient, Vanish
from tests.running import (
    LEASE,
    WORKER,
    NotingTransport,
    claim,
    expire,
    facts,
    make_due,
    message,
    moves_of,
    perform,
    record,
    run,
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("noting")]

T = TypeVar("T")
HOUR = timedelta(hours=1)


def note(text: str = "a") -> int:
    return job_scheduler.enqueue(Note(text))


def at_once(count: int, call: Callable[[], T]) -> list[T]:
    """The answers of ``call`` from ``count`` threads that start together, each on a connection of its own."""
    barrier = threading.Barrier(count)

    def one() -> T:
        try:
            connection.ensure_connection()
            barrier.wait(60)
            return call()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(count) as pool:
        return [future.result(30) for future in [pool.submit(one) for _ in range(count)]]


# --- claim ---


def test_claim_takes_the_job_under_a_lease() -> None:
    job_id = note("hello")
    before, token = timezone.now(), record(job_id).token
    (claimed,) = claim(job_id)
    assert claimed == Claim(job_id, token, "app.Note", "default", 1, 0, 0, claimed.encoded, created=claimed.created)
    assert claimed.created_at == record(job_id).created_at
    assert claimed.payload == {"text": "hello"}
    row = record(job_id)
    assert (row.state, row.token, row.attempt, row.worker) == ("processing", token, 1, WORKER)
    assert row.lease_expires_at is not None
    assert abs(row.lease_expires_at - (before + LEASE)) < timedelta(seconds=5)
    assert row.started_at is not None
    move = row.history.get()
    assert (move.from_state, move.to_state, move.attempt, move.actor) == ("enqueued", "processing", 1, WORKER)
    assert move.data
    assert move.data["worker"] == WORKER
    assert 0 <= move.data["latency_seconds"] < 60


def test_claim_keeps_the_order_of_the_messages() -> None:
    ids = [note(str(n)) for n in range(5)]
    order = [ids[3], ids[0], ids[4], ids[2], ids[1]]
    assert [claimed.job_id for claimed in claim(*order)] == order
    assert [claimed.payload for claimed in claim()] == []


def test_claim_of_a_repeated_message_is_one() -> None:
    job_id = note()
    twice = message(job_id)
    elsewhere = Message(twice.job_id, twice.token, "elsewhere")
    (claimed,) = lifecycle.claim([twice, twice, elsewhere], worker=WORKER, lease=LEASE)
    assert claimed.attempt == 1
    assert lifecycle.claim([twice], worker="other", lease=LEASE) == []
    assert facts(job_id, "attempt", "worker") == (1, WORKER)
    assert len(moves_of(job_id)) == 1


def test_claim_refuses_an_outdated_or_foreign_token() -> None:
    job_id, other = note(), note()
    old = message(job_id)
    job_scheduler.delete(job_id)
    job_scheduler.restore(job_id)
    swapped = Message(job_id, record(other).token, "default")
    unknown = Message(2**62, "0" * 16, "default")
    assert lifecycle.claim([old, swapped, unknown], worker=WORKER, lease=LEASE) == []
    assert record(job_id).state == "enqueued"
    assert len(claim(job_id)) == 1


@pytest.mark.parametrize("state", sorted(set(State) - {State.ENQUEUED}))
def test_claim_refuses_every_state_but_enqueued(state: State) -> None:
    job_id = note()
    JobRecord.objects.filter(pk=job_id).update(state=state)
    assert claim(job_id) == []
    assert facts(job_id, "state", "attempt") == (state, 0)


def test_claim_of_many_at_once_gives_the_job_to_one() -> None:
    job_id = note()
    wanted = message(job_id)
    answers = at_once(6, lambda: lifecycle.claim([wanted], worker=threading.current_thread().name, lease=LEASE))
    assert sorted(map(len, answers)) == [0, 0, 0, 0, 0, 1]
    assert record(job_id).attempt == 1
    assert moves_of(job_id) == [("enqueued", "processing")]


def test_claims_of_overlapping_batches_share_the_jobs() -> None:
    ids = [note(str(n)) for n in range(40)]
    wanted = [message(job_id) for job_id in ids]
    turn = iter(range(4))

    def batch() -> list[int]:
        start = 10 * next(turn)
        messages = wanted[start:] + wanted[:start]
        return [c.job_id for c in lifecycle.claim(messages, worker=f"w{start}", lease=LEASE)]

    answers = at_once(4, batch)
    taken = [job_id for answer in answers for job_id in answer]
    assert len(taken) == len(set(taken))
    # What a rival had locked at that moment is skipped; the rival has it.
    assert sorted(taken) == ids
    assert set(JobRecord.objects.values_list("state", "attempt")) == {("processing", 1)}


# --- paused queues ---


def test_claim_is_refused_on_a_paused_queue_until_it_is_resumed() -> None:
    mail, other = job_scheduler.enqueue(AsyncNote("a")), note()
    job_scheduler.pause_queue("mail")
    assert [claimed.job_id for claimed in claim(mail, other)] == [other]
    assert claim(mail) == []
    assert facts(mail, "state", "attempt") == ("enqueued", 0)
    job_scheduler.resume_queue("mail")
    assert len(claim(mail)) == 1


def test_claim_is_allowed_once_the_pause_is_over() -> None:
    job_id = job_scheduler.enqueue(AsyncNote("a"))
    job_scheduler.pause_queue("mail", timezone.now() + HOUR)
    assert claim(job_id) == []
    QueueSwitch.objects.update(until=timezone.now() - timedelta(seconds=1))
    assert job_scheduler.paused_queues() == {}
    assert len(claim(job_id)) == 1


def test_pause_lets_a_running_job_finish() -> None:
    job_id = note()
    (claimed,) = claim(job_id)
    job_scheduler.pause_queue("default")
    move = perform(claimed)
    assert move
    assert execution.settle([move], worker=WORKER) == {job_id}


# --- alone ---


def test_job_that_must_run_alone_is_claimed_only_without_company() -> None:
    suspect, innocent = note(), note()
    JobRecord.objects.filter(pk=suspect).update(alone=True)
    batch = [message(suspect), message(innocent)]
    assert [c.job_id for c in lifecycle.claim(batch, worker=WORKER, lease=LEASE)] == [innocent]
    assert record(suspect).state == "enqueued"
    assert lifecycle.refused(batch) == ([batch[0]._replace(enqueued_at=record(suspect).enqueued_at)], [])
    assert lifecycle.refused([batch[0]._replace(token="0" * 16)]) == ([], [])
    assert [c.job_id for c in claim(suspect)] == [suspect]
    assert lifecycle.refused(batch) == ([], [])


def test_what_was_refused_is_told_from_what_would_be_claimed_by_now() -> None:
    paused, of_type, limited, waiting = note(), note(), note(), note()
    job_scheduler.pause_queue("default")
    batch = [message(job) for job in (paused, of_type, limited, waiting)]
    assert lifecycle.claim(batch, worker=WORKER, lease=LEASE) == []
    job_scheduler.resume_queue("default")
    JobRecord.objects.filter(pk=of_type).update(job_type="app.Other")
    TypeSwitch.objects.create(name="app.Other", paused_at=timezone.now())
    JobRecord.objects.filter(pk=limited).update(limited=True)
    job_scheduler.delete(waiting)
    assert lifecycle.refused(batch) == ([], [batch[0]._replace(enqueued_at=record(paused).enqueued_at)])


# --- hand back ---


@pytest.mark.parametrize("started", [False, True])
def test_hand_back_returns_the_job_with_a_new_token(started: bool, noting: NotingTransport) -> None:
    job_id = note()
    (claimed,) = claim(job_id)
    assert execution.settle([lifecycle.handed_back(claimed, "stopping", started=started)], worker=WORKER) == {job_id}
    row = record(job_id)
    assert (row.state, row.attempt, row.failures, row.worker) == ("enqueued", int(started), 0, "")
    assert (row.lease_expires_at, row.started_at) == (None, None)
    assert row.token != claimed.token
    assert noting.published[-1] == [message(job_id)]
    (again,) = claim(job_id)
    assert again.attempt == 1 + int(started)


def test_worker_that_stops_hands_its_job_back() -> None:
    job_id = job_scheduler.enqueue(Patient())
    (claimed,) = claim(job_id)
    token = CancellationToken(job_id=job_id, attempt=1)
    token.cancel(CancelReason.STOPPING)
    move = perform(claimed, token)
    assert move
    execution.settle([move], worker=WORKER)
    assert facts(job_id, "state", "failures", "attempt") == ("enqueued", 0, 1)


def test_timeout_is_a_failed_attempt() -> None:
    job_id = job_scheduler.enqueue(Patient())
    (claimed,) = claim(job_id)
    token = CancellationToken(job_id=job_id, attempt=1)
    token.cancel(CancelReason.TIMEOUT)
    move = perform(claimed, token)
    assert move
    execution.settle([move], worker=WORKER)
    assert facts(job_id, "state", "failures") == ("scheduled", 1)
    assert record(job_id).error.startswith("JobTimeout: ran longer than its timeout of 60 s")


@pytest.mark.parametrize("reason", [CancelReason.DELETED, CancelReason.LEASE_LOST])
def test_attempt_that_is_no_longer_ours_records_nothing(reason: CancelReason) -> None:
    job_id = job_scheduler.enqueue(Patient())
    (claimed,) = claim(job_id)
    token = CancellationToken(job_id=job_id, attempt=1)
    token.cancel(reason)
    assert perform(claimed, token) is None


def test_handler_that_returns_has_succeeded_whatever_its_token_says() -> None:
    job_id = note()
    (claimed,) = claim(job_id)
    token = CancellationToken(job_id=job_id, attempt=1)
    token.cancel(CancelReason.STOPPING)
    move = perform(claimed, token)
    assert move
    assert move.change.target == "succeeded"


# --- settle ---


def test_success_is_recorded_with_its_facts() -> None:
    job_id = note()
    assert run(job_id) == {job_id}
    row = record(job_id)
    assert (row.state, row.attempt, row.failures, row.error) == ("succeeded", 1, 0, "")
    assert row.lease_expires_at is None
    assert row.finished_at is not None
    last = row.history.latest("pk")
    assert last.data
    assert (last.from_state, last.to_state, last.actor, last.data["worker"]) == (
        "processing", "succeeded", WORKER, WORKER,
    )  # fmt: skip
    assert last.data["duration_seconds"] >= 0


def test_settle_of_a_batch_records_each_outcome_with_its_own_facts(noting: NotingTransport) -> None:
    """What most of a batch share is said once: nobody may get what is another's."""
    ids = [job_scheduler.enqueue(Fail(n) if n % 3 == 1 else Note(str(n))) for n in range(12)]
    outcomes: dict[int, Move] = {}
    for n, claimed in enumerate(claim(*ids)):
        if n % 3 == 0:
            outcomes[n] = execution.succeeded(claimed, worker=WORKER, seconds=n / 8)
        elif n % 3 == 1:
            outcomes[n] = execution.failed(claimed, ValueError(f"no {n}"), worker=WORKER, seconds=n / 8)
        else:
            outcomes[n] = lifecycle.handed_back(claimed, f"reason {n % 2}", started=n % 2 == 0)
    tokens = {job_id: record(job_id).token for job_id in ids}
    assert execution.settle(list(outcomes.values())[::-1], worker=WORKER) == set(ids)
    for n, job_id in enumerate(ids):
        row = record(job_id)
        first, *more = row.history.order_by("pk").filter(from_state__in=["processing", "failed"])
        assert first.actor == WORKER
        if n % 3 == 0:
            assert (row.state, row.attempt, row.token, row.error, more) == ("succeeded", 1, tokens[job_id], "", [])
            assert (first.reason, first.data) == ("", {"worker": WORKER, "duration_seconds": n / 8})
        elif n % 3 == 1:
            (second,) = more
            assert (row.state, row.attempt, row.failures, row.error) == ("scheduled", 1, 1, f"ValueError: no {n}")
            assert row.token != tokens[job_id]
            assert first.data == {"worker": WORKER, "exception": "ValueError", "duration_seconds": n / 8}
            assert (first.to_state, second.to_state, list(second.data or {})) == (
                "failed", "scheduled", ["delay_seconds"],
            )  # fmt: skip
            assert [error.message for error in row.errors.all()] == [f"no {n}"]
        else:
            assert (row.state, row.attempt) == ("enqueued", 1 if n % 2 == 0 else 0)
            assert row.token != tokens[job_id]
            assert (first.reason, first.data, more) == (f"reason {n % 2}", None, [])


def test_settle_of_a_stale_run_changes_nothing(noting: NotingTransport) -> None:
    job_id = note()
    (stale,) = claim(job_id)
    expire(job_id)
    lifecycle.expire_leases(max_crashes=3)
    (fresh,) = claim(job_id, worker="other")
    before, calls = (facts(job_id, "state", "token", "attempt", "worker"), moves_of(job_id)), len(noting.published)
    for outcome in (
        execution.succeeded(stale, worker=WORKER, seconds=1),
        execution.failed(stale, ValueError("late"), worker=WORKER, seconds=1),
        lifecycle.handed_back(stale, "late", started=True),
    ):
        assert execution.settle([outcome], worker=WORKER) == set()
    assert (facts(job_id, "state", "token", "attempt", "worker"), moves_of(job_id)) == before
    assert (len(noting.published), AttemptError.objects.count()) == (calls, 0)
    assert execution.settle([execution.succeeded(fresh, worker="other", seconds=1)], worker="other") == {job_id}


def test_settle_after_a_delete_changes_nothing() -> None:
    job_id = note()
    (claimed,) = claim(job_id)
    job_scheduler.delete(job_id)
    assert execution.settle([execution.succeeded(claimed, worker=WORKER, seconds=1)], worker=WORKER) == set()
    assert record(job_id).state == "deleted"


def test_settle_records_an_outcome_once_however_often_it_is_told() -> None:
    job_id = note()
    (claimed,) = claim(job_id)
    move = execution.succeeded(claimed, worker=WORKER, seconds=1)
    answers = at_once(4, lambda: execution.settle([move], worker=WORKER))
    assert sorted(map(len, answers)) == [0, 0, 0, 1]
    assert execution.settle([move], worker=WORKER) == set()
    assert moves_of(job_id) == [("enqueued", "processing"), ("processing", "succeeded")]


def test_settle_of_a_batch_leaves_out_only_the_stale() -> None:
    ids = [note(str(n)) for n in range(3)]
    moves = [execution.succeeded(claimed, worker=WORKER, seconds=1) for claimed in claim(*ids)]
    job_scheduler.delete(ids[1])
    assert execution.settle(moves, worker=WORKER) == {ids[0], ids[2]}


def test_settle_of_a_batch_that_cannot_be_recorded_goes_one_by_one() -> None:
    ids = [note(str(n)) for n in range(3)]
    one, two, three = (execution.succeeded(claimed, worker=WORKER, seconds=1) for claimed in claim(*ids))
    # An attempt below zero is what neither database stores.
    poison = two._replace(change=two.change._replace(attempt_by=-9))
    assert execution.settle([one, poison, three], worker=WORKER) == {ids[0], ids[2]}
    assert [record(job_id).state for job_id in ids] == ["succeeded", "processing", "succeeded"]


def test_settle_waits_while_the_database_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = note()
    (claimed,) = claim(job_id)
    move = execution.succeeded(claimed, worker=WORKER, seconds=1)
    apply, calls = lifecycle.apply, [0]

    def flaky(moves: Any, *, actor: str) -> Any:
        calls[0] += 1
        if calls[0] < 3:
            raise OperationalError("server closed the connection")
        return apply(moves, actor=actor)

    monkeypatch.setattr(lifecycle, "apply", flaky)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    assert execution.settle([move], worker=WORKER) == {job_id}
    assert calls == [3]
    monkeypatch.setattr(lifecycle, "apply", lambda *_, **__: (_ for _ in ()).throw(OperationalError("away")))
    with pytest.raises(OperationalError, match="away"):
        execution.settle([move], worker=WORKER, keep_trying=lambda: False)


def test_move_that_no_state_allows_is_a_bug() -> None:
    job_id = note()
    step = lifecycle.Step(State.SUCCEEDED)
    move = Move(job_id, record(job_id).token, Change(State.ENQUEUED, (step,)))
    with pytest.raises(AssertionError, match="can move from enqueued to succeeded"):
        lifecycle.apply([move], actor="test")
    assert record(job_id).state == "enqueued"


# --- retries ---


def test_failed_attempt_is_one_update_and_two_rows() -> None:
    job_id = job_scheduler.enqueue(Fail(1, "k"))
    (claimed,) = claim(job_id)
    move = perform(claimed)
    assert move
    before = timezone.now()
    with CaptureQueriesContext(connection) as queries:
        assert execution.settle([move], worker=WORKER) == {job_id}
    # SQLite's are upserts, see its _update.
    assert sum(query["sql"].count("UPDATE jobs_jobrecord") or query["sql"].count("DO UPDATE") for query in queries) == 1
    failed, again = record(job_id).history.order_by("pk")[1:]
    assert (failed.from_state, failed.to_state, failed.reason) == (
        "processing", "failed", "ValueError: attempt 1 of k fails",
    )  # fmt: skip
    assert failed.data
    assert failed.data["exception"] == "ValueError"
    assert (again.from_state, again.to_state) == ("failed", "scheduled")
    assert again.reason == "attempt failed with ValueError; retry 1 of 2 in 0.2 s"
    assert again.data == {"delay_seconds": 0.2}
    assert (failed.attempt, again.attempt, failed.at) == (1, 1, again.at)
    row = record(job_id)
    assert (row.state, row.failures, row.attempt, row.error) == (
        "scheduled", 1, 1, "ValueError: attempt 1 of k fails",
    )  # fmt: skip
    assert row.is_retrying
    assert row.run_at is not None
    assert abs(row.run_at - (before + timedelta(seconds=0.2))) < timedelta(seconds=5)
    assert row.token != claimed.token
    error = AttemptError.objects.get()
    assert (error.attempt, error.exception, error.message) == (1, "ValueError", "attempt 1 of k fails")
    assert "in fail\n" in error.traceback


def test_retries_run_until_one_succeeds() -> None:
    job_id = job_scheduler.enqueue(Fail(2, "k"))
    run(job_id)
    make_due(job_id)
    run(job_id)
    make_due(job_id)
    run(job_id)
    assert facts(job_id, "state", "attempt", "failures") == ("succeeded", 3, 2)
    assert moves_of(job_id) == [
        *[("enqueued", "processing"), ("processing", "failed"), ("failed", "scheduled"), ("scheduled", "enqueued")] * 2,
        ("enqueued", "processing"), ("processing", "succeeded"),
    ]  # fmt: skip


def test_exhausted_job_is_failed_with_the_reason() -> None:
    job_id = job_scheduler.enqueue(Fail(9, "k"))
    for attempt in range(3):
        if attempt:
            make_due(job_id)
        run(job_id)
    assert facts(job_id, "state", "attempt", "failures", "run_at") == ("failed", 3, 3, None)
    assert "all 3 attempts are used up" in record(job_id).history.latest("pk").reason
    assert list(AttemptError.objects.order_by("pk").values_list("attempt", flat=True)) == [1, 2, 3]
    assert record(job_id).finished_at is not None


def test_exhausted_job_is_deleted_where_its_policy_says_so() -> None:
    job_id = job_scheduler.enqueue(Vanish())
    run(job_id)
    assert record(job_id).state == "deleted"
    assert moves_of(job_id)[1:] == [("processing", "failed"), ("failed", "deleted")]
    assert AttemptError.objects.get().message == "gone"


@dataclass(frozen=True)
class Raise(Job):
    """Raise what the test wants."""


def raising(error: BaseException, policy: RetryPolicy) -> int:
    """A job whose attempt raises ``error``, run once."""

    @handles(Raise, retry=policy, name="tests.Raise")
    def raise_it(job: Raise) -> None:
        raise error

    job_id = job_scheduler.enqueue(Raise())
    run(job_id)
    return job_id


def test_retry_after_names_its_own_delay() -> None:
    with registry.isolated():
        before = timezone.now()
        job_id = raising(RetryAfter(HOUR), RetryPolicy(max_delay=timedelta(seconds=1)))
    row = record(job_id)
    assert (row.state, row.failures) == ("scheduled", 1)
    assert row.run_at is not None
    assert abs(row.run_at - (before + HOUR)) < timedelta(seconds=5)
    assert "asked to be retried: retry 1 of 9 in 1 h" in row.history.latest("pk").reason


def test_retry_after_does_not_outlive_the_attempts() -> None:
    with registry.isolated():
        job_id = raising(RetryAfter(HOUR), RetryPolicy(max_attempts=1))
    assert record(job_id).state == "failed"


def test_give_up_ends_the_retries() -> None:
    with registry.isolated():
        job_id = raising(GiveUp("card stolen"), RetryPolicy(on_exhausted="delete"))
    assert facts(job_id, "state", "failures") == ("failed", 1)
    assert record(job_id).history.latest("pk").reason == "gave up: card stolen"


def test_excluded_error_is_not_retried() -> None:
    with registry.isolated():
        job_id = raising(KeyError("k"), RetryPolicy(give_up_on=(LookupError,)))
    assert record(job_id).state == "failed"


class BrokenBackoff(FixedBackoff):
    """Cannot say how long."""

    def after(self, failures: int) -> timedelta:
        raise ZeroDivisionError("in the policy")


def test_policy_that_raises_does_not_lose_the_outcome() -> None:
    with registry.isolated():
        job_id = raising(ValueError("mine"), RetryPolicy(backoff=BrokenBackoff(timedelta(0))))
    assert record(job_id).state == "failed"
    assert record(job_id).error == "ValueError: mine"
    assert "the retry policy raised ZeroDivisionError" in record(job_id).history.latest("pk").reason


# --- due ---


def test_promotion_takes_due_jobs_earliest_first_and_keeps_their_tokens() -> None:
    ids = [job_scheduler.schedule(Note("a"), timezone.now() + n * HOUR) for n in (3, -1, 1, -2)]
    due = [message(ids[3]), message(ids[1])]
    counted = JobCountDelta.objects.count()
    assert lifecycle.promote_due() == due
    assert JobCountDelta.objects.count() == counted  # the schedules were, when they were made
    assert [record(job_id).state for job_id in ids] == ["scheduled", "enqueued", "scheduled", "enqueued"]
    assert [message(ids[3]), message(ids[1])] == due
    assert lifecycle.promote_due() == []
    seconds = lifecycle.agenda().due_in
    assert seconds is not None
    assert 3_590 < seconds <= 3_600


def test_promotion_by_many_schedulers_moves_each_job_once() -> None:
    ids = [job_scheduler.schedule(Note("a"), timezone.now() - HOUR) for _ in range(20)]
    answers = at_once(4, lifecycle.promote_due)
    assert sorted(m.job_id for answer in answers for m in answer) == ids
    assert JobHistory.objects.count() == 20


def test_promotion_publishes_what_it_moved_while_people_delete_and_retry() -> None:
    ids = [job_scheduler.schedule(Note("a"), timezone.now() - HOUR) for _ in range(200)]
    promoted: list[Message] = []

    def promote() -> None:
        promoted.extend(lifecycle.promote_due(limit=20))

    def delete() -> None:
        job_scheduler.delete_many(ids[::-7])

    def retry() -> None:
        for job_id in ids[::-5]:
            job_scheduler.retry(job_id)

    turns = iter([promote, promote, delete, retry])

    def one() -> None:
        turn = next(turns)
        for _ in range(8):
            turn()

    at_once(4, one)
    left = JobHistory.objects.filter(from_state="scheduled")
    assert sorted(m.job_id for m in promoted) == sorted(left.filter(reason="due").values_list("job_id", flat=True))
    assert left.count() == len(set(left.values_list("job_id", flat=True)))  # each left "scheduled" once
    tokens = dict(JobRecord.objects.filter(state="enqueued").values_list("pk", "token"))
    untouched = set(ids) - set(ids[::-7]) - set(ids[::-5])
    assert all(tokens[m.job_id] == m.token for m in promoted if m.job_id in untouched)
    assert {m.job_id for m in lifecycle.promote_due()} | set(left.values_list("job_id", flat=True)) == set(ids)


def test_agenda_says_what_there_is_to_look_after() -> None:
    before = database_now(connection)
    found = lifecycle.agenda()
    assert (found.due_in, found.lapsed, found.waiting) == (None, False, False)
    assert before <= found.now <= database_now(connection)
    job_scheduler.schedule(Note("a"), timezone.now() - HOUR)
    found = lifecycle.agenda()
    assert (found.due_in, found.lapsed, found.waiting) == (0.0, False, False)
    assert [lifecycle.agenda().waiting for _ in lifecycle.promote_due()] == [True]
    job_id = note()
    lifecycle.claim([message(job_id)], worker="w", lease=-HOUR)
    assert lifecycle.agenda().lapsed


# --- leases ---


def test_renewal_extends_what_the_worker_holds_and_names_it() -> None:
    mine, other = note(), note()
    claim(mine)
    claim(other, worker="other")
    expire(mine, other)
    assert lifecycle.renew([WORKER], lease=LEASE) == {mine: WORKER}
    assert lifecycle.held_by([WORKER]) == {mine: WORKER}
    assert lifecycle.expire_leases(max_crashes=3).moved == {other}, "a late renewal holds"


def test_leases_that_would_last_longer_than_one_are_bounded_and_others_stay() -> None:
    ordinary, ahead, over = note(), note(), note()
    claim(ordinary, ahead, over)
    now = database_now(connection)
    JobRecord.objects.filter(pk=ahead).update(lease_expires_at=now + HOUR)  # taken before the clock was set back
    expire(over)
    before = {job_id: record(job_id).lease_expires_at for job_id in (ordinary, over)}
    assert lifecycle.bound_leases(LEASE) == 1
    bounded = record(ahead).lease_expires_at
    assert bounded is not None
    assert now + LEASE <= bounded <= database_now(connection) + LEASE
    assert {job_id: record(job_id).lease_expires_at for job_id in (ordinary, over)} == before


@pytest.mark.parametrize("step", [HOUR, -HOUR])
@pytest.mark.usefixtures("usual_times")
def test_expiry_does_nothing_when_the_clock_was_set_since_it_was_read(step: timedelta) -> None:
    job_id = note()
    claim(job_id)
    expire(job_id)
    now = database_now(connection)
    JobRecord.objects.filter(pk=job_id).update(lease_expires_at=now - 2 * HOUR)
    assert lifecycle.expire_leases(max_crashes=3, before=now + step).moved == set()
    assert lifecycle.expire_leases(max_crashes=3, before=now).moved == {job_id}


def test_renewal_does_not_bring_back_a_job_that_moved_on() -> None:
    job_id = note()
    claim(job_id)
    job_scheduler.delete(job_id)
    assert lifecycle.renew([WORKER], lease=LEASE) == {}
    assert record(job_id).lease_expires_at is None


# --- hostile outcomes ---

HOSTILE: dict[str, tuple[str, str]] = {  # how -> state, beginning of the error
    "nul": ("failed", "ValueError: a\ufffdb"),
    "surrogate": ("failed", "ValueError: a\ufffdb"),
    "nan": ("failed", "InvalidJob: app.Hostile: result: NaN and infinity cannot be stored"),
    "huge": ("failed", "ValueError: xxxx"),
    "str": ("failed", "Nasty: (its __str__ raised RuntimeError)"),
    "exit": ("failed", "SystemExit: 3"),
    "base": ("failed", "BaseException: base"),
    "keyboard": ("failed", "KeyboardInterrupt"),
    "atomic": ("succeeded", ""),
    "manual": ("succeeded", ""),
    "closed": ("succeeded", ""),
    "giveup": ("failed", "GiveUp: never works"),
    "later": ("failed", "RetryAfter: "),
    "unasked": ("failed", "JobCancelled: nobody asked"),
}


@pytest.mark.parametrize("how", HOSTILE)
def test_hostile_outcome_is_recorded_and_the_next_job_runs(how: str) -> None:
    state, error = HOSTILE[how]
    job_id, next_id = job_scheduler.enqueue(Hostile(how)), note("next")
    assert run(job_id, next_id) == {job_id, next_id}
    assert not connection.in_atomic_block
    assert connection.get_autocommit()
    row = record(job_id)
    assert (row.state, record(next_id).state) == (state, "succeeded")
    assert row.error.startswith(error)
    assert len(row.error) <= 200
    if state == "failed":
        stored = AttemptError.objects.get()
        assert len(stored.message) <= 64 * 1024
        assert len(stored.traceback) <= 64 * 1024
        assert "in hostile" in stored.traceback or how == "nan"  # which is returned, and refused then
    again = note("and another")
    assert run(again) == {again}


@pytest.mark.parametrize("how", ["atomic", "manual", "closed"])
def test_connection_that_a_handler_spoilt_is_sound_before_the_outcome_is_recorded(how: str) -> None:
    (claimed,) = claim(job_scheduler.enqueue(Hostile(how)))
    assert perform(claimed)
    assert JobRecord.objects.count() == 1, "the very next query works"
    assert not connection.in_atomic_block
    assert connection.get_autocommit()


@pytest.mark.parametrize("limit", [1, 20, 150, 500])
def test_clean_text_never_exceeds_its_limit(limit: int) -> None:
    for length in (limit, limit + 1, 10 * limit):
        cleaned = clean("x" * (length - 1) + "y", limit)
        assert len(cleaned) <= limit
        assert cleaned[0] in "xy"
    both_ends = clean("b" + "x" * 999 + "e", limit)
    assert both_ends.startswith("b")
    assert both_ends.endswith("e") or limit < 150, "the end of a traceback says what happened"


def test_work_of_an_open_transaction_is_undone() -> None:
    with registry.isolated():

        @handles(Raise, name="tests.Raise")
        def leave_open(job: Raise) -> None:
            transaction.atomic().__enter__()
            note("never committed")

        job_id = job_scheduler.enqueue(Raise())
        assert run(job_id) == {job_id}
    assert list(JobRecord.objects.values_list("pk", flat=True)) == [job_id]


@pytest.mark.parametrize("length", [199, 500, 501, 5_000, 1_000_000])
def test_reason_of_any_length_is_recorded(length: int) -> None:
    with registry.isolated():
        job_id = raising(GiveUp("r" * length), RetryPolicy())
    assert record(job_id).state == "failed"
    assert len(record(job_id).history.latest("pk").reason) <= 500


def test_error_class_of_any_name_is_recorded() -> None:
    kind = type("E" * 1_000, (Exception,), {"__module__": "m" * 1_000})
    with registry.isolated():
        job_id = raising(kind("x"), RetryPolicy(max_attempts=1))
    assert record(job_id).state == "failed"
    assert len(AttemptError.objects.get().exception) <= 200


# --- what nothing can run ---


def stored(type_name: str, payload: bytes) -> int:
    return lifecycle.create([NewJob(type_name, payload, "default")])[0].job_id


@pytest.mark.parametrize("payload", [b'{"text": 7}', b"{}", b"[]", b"null", b'"a"', b'{"text": "a", "more": 1}'])
def test_payload_of_this_release_that_does_not_fit_ends_failed_and_runs_once_mended(payload: bytes) -> None:
    job_id, other = stored("app.Note", payload), note()
    assert run(job_id, other) == {job_id, other}
    assert (record(job_id).state, record(other).state) == ("failed", "succeeded")
    assert "its arguments no longer fit its type" in record(job_id).history.latest("pk").reason
    assert job_scheduler.retry(job_id, Note("mended"))
    run(job_id)
    assert record(job_id).state == "succeeded"


def test_payload_with_a_huge_complaint_is_recorded() -> None:
    job_id = stored(
        "app.Note", b'{"text": "a", ' + b", ".join(b'"%s": 1' % (b"k%d" % n * 50) for n in range(200)) + b"}"
    )
    assert run(job_id) == {job_id}
    assert record(job_id).state == "failed"
    assert len(record(job_id).history.latest("pk").reason) <= 500


def test_handler_that_cannot_be_built_is_a_failed_attempt() -> None:
    with registry.isolated():

        @handles(Raise, name="tests.Raise", retry=RetryPolicy(max_attempts=1))
        class Unbuildable:
            def __init__(self) -> None:
                raise RuntimeError("no database password")

            def handle(self, job: Raise, token: CancellationToken) -> None:
                raise AssertionError

        job_id = job_scheduler.enqueue(Raise())
        run(job_id)
    assert record(job_id).error == "RuntimeError: no database password"


# --- a random walk ---


class Walk:
    """One job, the steps that can befall it, and what must hold after each."""

    def __init__(self) -> None:
        self.id = job_scheduler.enqueue(Fail(0, "walk"))
        self.claims: list[Claim] = []
        self.unstarted = 0
        self.initial = "enqueued"

    def outcome(self, make: Callable[[Claim], Move], *, stale: bool = False) -> set[int]:
        if not self.claims:
            return set()
        claimed = self.claims[0] if stale else self.claims[-1]
        return execution.settle([make(claimed)], worker=WORKER)

    def claim(self) -> None:
        self.claims += claim(self.id)

    def succeed(self) -> None:
        self.outcome(lambda c: execution.succeeded(c, worker=WORKER, seconds=1))

    def fail(self) -> None:
        self.outcome(lambda c: execution.failed(c, ValueError("no"), worker=WORKER, seconds=1))

    def give_up(self) -> None:
        self.outcome(lambda c: execution.failed(c, GiveUp("no"), worker=WORKER, seconds=1))

    def first_again(self) -> None:
        self.outcome(lambda c: execution.succeeded(c, worker=WORKER, seconds=1), stale=True)

    def hand_back(self) -> None:
        self.outcome(lambda c: lifecycle.handed_back(c, "stop", started=True))

    def hand_back_unstarted(self) -> None:
        self.unstarted += len(self.outcome(lambda c: lifecycle.handed_back(c, "long batch", started=False)))

    def lose_worker(self) -> None:
        expire(self.id) if record(self.id).state == "processing" else None
        lifecycle.expire_leases(max_crashes=3)

    def promote(self) -> None:
        if record(self.id).state == "scheduled":
            make_due(self.id)

    def delete(self) -> None:
        job_scheduler.delete(self.id)

    def restore(self) -> None:
        job_scheduler.restore(self.id)

    def retry(self) -> None:
        job_scheduler.retry(self.id)

    def requeue(self) -> None:
        job_scheduler.requeue(self.id)

    def check(self) -> None:
        row, moves = record(self.id), moves_of(self.id)
        assert all(is_allowed(State(source), State(target)) for source, target in moves)
        ends = [self.initial, *(target for _, target in moves)]
        assert [source for source, _ in moves] == ends[:-1], "each move starts where the last one ended"
        assert row.state == ends[-1]
        assert row.attempt == moves.count(("enqueued", "processing")) - self.unstarted
        assert row.attempt >= row.failures + row.crashes or row.state == "processing" or self.unstarted
        assert (row.lease_expires_at is not None) == (row.state == "processing")
        assert (row.finished_at is not None) == (row.state in ("succeeded", "failed", "deleted"))
        assert (row.run_at is not None) or row.state != "scheduled"
        assert row.failures <= 3
        assert row.crashes <= 3
        assert row.payload == {"times": 0, "key": "walk"}
        latest = self.claims[-1].token if self.claims else ""
        if row.state in ("enqueued", "scheduled"):
            assert row.token != latest, "what a worker held before can change nothing now"
        tokens = [claimed.token for claimed in self.claims]
        assert len(set(tokens)) == len(tokens), "no two claims share a token"


STEPS = (
    "claim", "claim", "claim", "succeed", "fail", "fail", "give_up", "first_again", "hand_back", "hand_back_unstarted",
    "lose_worker", "promote", "promote", "delete", "restore", "retry", "requeue",
)  # fmt: skip


@hypothesis_settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.sampled_from(STEPS), min_size=8, max_size=40))
def test_random_walk_keeps_the_record_true(steps: list[str]) -> None:
    walk = Walk()
    for step in steps:
        getattr(walk, step)()
        walk.check()


# --- rows of others that refer to a job ---


@pytest.mark.postgresql
def test_row_that_refers_to_a_job_and_is_not_committed_holds_up_none_of_its_moves() -> None:
    job_id = job_scheduler.schedule(Note("a"), timezone.now() - HOUR)
    other = connection.copy()
    try:
        with other.cursor() as cursor, connection.cursor() as own:
            other.set_autocommit(False)
            # As PostgreSQL checks a foreign key; the sites' tables may have such.
            cursor.execute("SELECT id FROM jobs_jobrecord WHERE id = %s FOR KEY SHARE", [job_id])
            own.execute("SET lock_timeout = '2s'")
            assert [due.job_id for due in lifecycle.promote_due()] == [job_id]
            (claimed,) = claim(job_id)
            expire(job_id)
            lifecycle.renew([WORKER], lease=LEASE)
            assert lifecycle.expire_leases(max_crashes=3).moved == set()
            move = perform(claimed)
            assert move
            assert execution.settle([move], worker=WORKER) == {job_id}
            assert job_scheduler.requeue(job_id)
            assert job_scheduler.delete(job_id)
    finally:
        with connection.cursor() as own:
            own.execute("RESET lock_timeout")
        other.close()
    assert record(job_id).state == State.DELETED


# --- statements that the database has planned ---


@pytest.mark.postgresql
def test_migration_while_jobs_run_costs_no_outcome() -> None:
    def widen(length: int) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE jobs_jobrecord ALTER queue TYPE varchar({length})")

    for _ in range(3):  # each statement is planned by now
        run(note())
    waiting, failing = note(), job_scheduler.enqueue(Fail(1, "k"))
    claimed = claim(failing)
    at_once(1, lambda: widen(100))
    try:
        assert execution.settle([m for c in claimed if (m := perform(c))], worker=WORKER) == {failing}
        assert run(waiting) == {waiting}
        assert note()
        assert lifecycle.agenda().waiting
    finally:
        widen(64)
    assert record(failing).errors.get().message == "attempt 1 of k fails"


@pytest.mark.postgresql  # SQLite's statements have cursors of their own
def test_statement_in_the_middle_of_another_takes_nothing_from_it() -> None:
    asked = message(note())
    within: list[int] = []

    def nosy(execute: Callable[..., Any], *args: Any) -> Any:
        answer = execute(*args)
        if not within:
            within.append(0)  # its own statements pass here too
            within.append(note())
        return answer

    with connection.execute_wrapper(nosy):
        (claimed,) = lifecycle.claim([asked], worker=WORKER, lease=LEASE)
    assert claimed.job_id == asked.job_id
    assert run(within[1]) == {within[1]}


@pytest.mark.postgresql
def test_job_table_is_vacuumed_long_before_a_fifth_of_it_is_dead() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT unnest(reloptions) FROM pg_class WHERE relname = 'jobs_jobrecord'")
        assert ("autovacuum_vacuum_scale_factor=0.02",) in cursor.fetchall()


@pytest.mark.once  # SQLite's planner alone
def test_statistics_of_a_small_table_do_not_make_a_batch_read_the_whole() -> None:
    note()
    with connection.cursor() as cursor, CaptureQueriesContext(connection) as queries:
        cursor.execute("ANALYZE")
        try:
            run(note(), note())
            asked = [query["sql"] for query in queries if query["sql"].lstrip().startswith(("WITH", "SELECT value"))]
            plans = [step for sql in asked for *_, step in cursor.execute(f"EXPLAIN QUERY PLAN {sql}").fetchall()]
        finally:
            cursor.execute("DELETE FROM sqlite_stat1")
            cursor.execute("ANALYZE sqlite_schema")
    read = {step.split()[1] for step in plans if step.startswith("SCAN")}
    assert read <= {"json_each", "ids", "jobs_queueswitch", "jobs_typeswitch"}
    assert "SEARCH j USING INTEGER PRIMARY KEY (rowid=?)" in plans
