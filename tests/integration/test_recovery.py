"""What comes back by itself, and that in the ordinary path there is nothing to bring back."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import OperationalError, ProgrammingError, transaction
from django.test import override_settings
from django.utils import timezone
from redis import Redis

from handlers import execution, job_scheduler, lifecycle, recovery
from handlers.exceptions import InvalidJob, TransportUnavailable
from handlers.lifecycle import NewJob
from handlers.models import AttemptError, JobHistory, JobPayload, JobRecord
from handlers.recovery import PATIENCE_SECONDS, REPUBLISHED_SECONDS, Duty, Recovery
from handlers.rq_transport.intake import Intake, taken_last
from handlers.rq_transport.messages import RQTransport, rq_job_id
from handlers.rq_transport.names import queue_key
from handlers.states import State
from handlers.vigil import Vigil
from tests.app.jobs import AsyncNote, Fail, Note
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
    record,
    run,
)

pytestmark = pytest.mark.django_db(transaction=True)


class Clock:
    """The monotonic clock that recovery goes by, wound by the test; the database's goes with it until it is set."""

    def __init__(self) -> None:
        self.now = 10_000.0
        self._set_by = timedelta(0)

    def monotonic(self) -> float:
        return self.now

    def set_database(self, by: timedelta) -> None:
        """Set the database's clock: what it wrote before is that much older now."""
        self._set_by += by
        for row in JobRecord.objects.filter(state="processing"):
            assert row.lease_expires_at is not None
            JobRecord.objects.filter(pk=row.pk).update(lease_expires_at=row.lease_expires_at - by)

    def databases(self) -> datetime:
        """What the database's clock shows, as far as recovery is told."""
        return datetime.fromtimestamp(self.now, UTC) + self._set_by


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(recovery, "time", clock)
    look = Vigil.look
    monkeypatch.setattr(Vigil, "look", lambda vigil, _, *ours: look(vigil, clock.databases(), *ours))
    return clock


@pytest.fixture
def rescue(clock: Clock) -> Recovery:
    """A recovery that has seen nothing yet, but has been there for a while."""
    rescue = Recovery()
    for _ in range(2):
        clock.now += 5
        rescue.look()
    return rescue


@pytest.fixture
def redis(redis_server: str) -> Iterator[Redis]:
    with Redis.from_url(redis_server) as client:
        yield client


def queued(redis: Redis, queue: str = "default") -> list[str]:
    entries: Any = redis.lrange(queue_key(queue), 0, -1)
    return [entry.decode() for entry in entries]


def note(text: str = "a") -> int:
    return job_scheduler.enqueue(Note(text))


# --- the ordinary path ---


def test_recovery_has_nothing_to_do_in_the_ordinary_path(rescue: Recovery, clock: Clock, redis: Redis) -> None:
    ids = [note("a"), job_scheduler.enqueue(AsyncNote("b")), job_scheduler.enqueue(Fail(1, "k"))]
    later = job_scheduler.enqueue(Note("c"), delay=timedelta(hours=1))
    claim(note("runs"))
    run(ids[2])
    for _ in range(3):
        assert rescue.tick() == 0
        clock.now += PATIENCE_SECONDS + 1
    assert queued(redis)[0] == rq_job_id(message(ids[0]))
    assert len(queued(redis, "mail")) == 1
    assert record(later).state == "scheduled"


# --- expired leases ---


def test_expired_lease_brings_the_job_back_and_counts_the_crash(
    rescue: Recovery, noting: NotingTransport, caplog: pytest.LogCaptureFixture
) -> None:
    job_id = note()
    (claimed,) = claim(job_id)
    assert rescue.tick() == 0, "a lease that holds is left alone"
    expire(job_id)
    assert rescue.tick() == 1
    row = record(job_id)
    assert (row.state, row.crashes, row.failures, row.attempt, row.alone) == ("enqueued", 1, 0, 1, True)
    assert (row.worker, row.lease_expires_at) == ("", None)
    assert row.token != claimed.token
    assert noting.published[-1] == [message(job_id)]
    last = row.history.latest("pk")
    assert (last.from_state, last.to_state, last.actor) == ("processing", "enqueued", "recovery")
    assert last.reason == "worker lost while running it (1 of 3)"
    assert last.data == {"worker": WORKER, "crashes": 1}
    assert "recovered 1 jobs" in caplog.text
    assert rescue.tick() == 0
    assert run(job_id) == {job_id}
    assert facts(job_id, "state", "attempt", "crashes") == ("succeeded", 2, 1)


def test_expired_leases_of_one_worker_blame_none_and_let_each_run_alone(
    rescue: Recovery, noting: NotingTransport
) -> None:
    ids = [note(str(n)) for n in range(3)]
    claim(*ids)
    other = note("of another worker")
    claim(other, worker="other")
    expire(*ids, other)
    assert rescue.tick() == 4
    assert {facts(job_id, "state", "crashes", "alone") for job_id in ids} == {("enqueued", 0, True)}
    assert facts(other, "crashes", "alone") == (1, True)
    assert claim(*ids, other) == []
    assert [claimed.job_id for claimed in claim(ids[0])] == [ids[0]]


def test_expired_leases_blame_none_when_the_worker_claimed_at_several_times(
    rescue: Recovery, noting: NotingTransport
) -> None:
    first, second = note(), note()
    claim(first)
    claim(second)  # after the last renewal, so that its lease ends later
    expire(first)
    assert rescue.tick() == 0, "the rest of what the lost worker held is not yet free"
    expire(second)
    assert rescue.tick() == 2
    assert {facts(job_id, "state", "crashes", "alone") for job_id in (first, second)} == {("enqueued", 0, True)}


def test_expired_leases_blame_none_when_there_are_many_at_once(noting: NotingTransport) -> None:
    ids = [note(str(n)) for n in range(4)]
    claim(*ids[:2])
    claim(*ids[2:], worker="other")
    expire(*ids)
    first = lifecycle.expire_leases(max_crashes=3, limit=1).moved
    assert first in ({*ids[:2]}, {*ids[2:]}), "all of one worker, or none"
    assert lifecycle.expire_leases(max_crashes=3, limit=1).moved == {*ids} - first
    assert {record(job_id).crashes for job_id in ids} == {0}


def test_third_crash_ends_the_job_failed_with_the_reason(rescue: Recovery, noting: NotingTransport) -> None:
    job_id = note()
    for crashes in (1, 2):
        claim(job_id)
        expire(job_id)
        assert rescue.tick() == 1
        assert facts(job_id, "state", "crashes") == ("enqueued", crashes)
    claim(job_id)
    expire(job_id)
    published = len(noting.published)
    assert rescue.tick() == 1
    assert facts(job_id, "state", "crashes", "failures", "attempt") == ("failed", 3, 0, 3)
    assert record(job_id).error.startswith("WorkerLost: worker lost 3 times while running it. The last worker was")
    assert "worker lost 3 times" in record(job_id).history.latest("pk").reason
    assert AttemptError.objects.get().exception == "handlers.WorkerLost"
    assert len(noting.published) == published
    assert job_scheduler.retry(job_id)
    assert facts(job_id, "crashes", "alone") == (0, False)


def test_number_of_crashes_allowed_is_a_setting(rescue: Recovery, noting: NotingTransport) -> None:
    job_id = note()
    claim(job_id)
    expire(job_id)
    with override_settings(JOBS={"MAX_CRASHES": 1}):
        assert rescue.tick() == 1
    assert record(job_id).state == "failed"


def test_late_outcome_of_a_lost_worker_does_not_count(rescue: Recovery, noting: NotingTransport) -> None:
    job_id = note()
    (claimed,) = claim(job_id)
    expire(job_id)
    late = execution.succeeded(claimed, worker=WORKER, seconds=1)
    assert rescue.tick() == 1
    assert execution.settle([late], worker=WORKER) == set()
    assert record(job_id).state == "enqueued"


def test_outcome_counts_though_the_lease_ran_out_when_nobody_took_the_job(noting: NotingTransport) -> None:
    job_id = note()
    (claimed,) = claim(job_id)
    expire(job_id)
    assert execution.settle([execution.succeeded(claimed, worker=WORKER, seconds=1)], worker=WORKER) == {job_id}


def test_expired_leases_come_back_though_the_transport_is_away(
    rescue: Recovery, noting: NotingTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = note()
    claim(job_id)
    expire(job_id)

    def away(*_: Any) -> None:
        raise TransportUnavailable("away")

    monkeypatch.setattr(noting, "publish", away)
    monkeypatch.setattr(noting, "missing", away)
    with pytest.raises(TransportUnavailable):
        rescue.tick()
    assert record(job_id).state == "enqueued"


def test_no_lease_is_expired_for_one_lease_after_the_database_was_away(
    rescue: Recovery, clock: Clock, noting: NotingTransport
) -> None:
    job_id = note()
    claim(job_id)
    expire(job_id)
    rescue.doubt()
    clock.now += 7
    assert rescue.tick() == 0
    clock.now += 7
    assert rescue.tick() == 0
    assert record(job_id).state == "processing"
    clock.now += 1.5
    assert rescue.tick() == 1


def test_no_lease_is_expired_for_one_lease_after_nobody_could_write(
    rescue: Recovery, clock: Clock, noting: NotingTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = note()
    claim(job_id)
    expire(job_id)
    with monkeypatch.context() as patch:
        patch.setattr(lifecycle, "expire_leases", lambda **_: (_ for _ in ()).throw(OperationalError("locked")))
        with pytest.raises(OperationalError):
            rescue.tick()
    for _ in range(2):
        clock.now += 7
        assert rescue.tick() == 0
    clock.now += 1.5
    assert rescue.tick() == 1


def test_a_duty_that_fails_holds_up_no_other_and_no_lease(
    rescue: Recovery, clock: Clock, noting: NotingTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> int:
        raise ProgrammingError("permission denied")

    def each(duty: Duty) -> int:
        try:
            return duty.act()
        except ProgrammingError:
            failed.append(duty.name)
            return 0

    failed: list[str] = []
    monkeypatch.setattr(Recovery, "find_lost_messages", fail)
    monkeypatch.setattr("handlers.folding.fold_all", fail)
    first, second = note(), note()
    for job_id in (first, second):
        clock.now += 5
        claim(job_id)
        expire(job_id)
        assert rescue.tick(each=each) == 1
    assert set(failed) == {"lost messages", "counts"}


def test_a_long_look_for_lost_messages_ends_and_holds_up_no_lease(
    rescue: Recovery, clock: Clock, noting: NotingTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(queue: str, messages: Any) -> Any:
        clock.now += 1
        return missing(queue, messages)

    missing = noting.missing
    monkeypatch.setattr(noting, "missing", look)
    monkeypatch.setattr(recovery, "LOOK", 1)
    jobs = [note() for _ in range(30)]
    for number, job_id in enumerate(jobs):
        JobRecord.objects.filter(pk=job_id).update(queue=f"queue-{number % 10}")
    noting.published.clear()
    rescue.tick()
    assert len(noting.asked) == 10, "one look at each queue, which took a second"
    lost = note()
    claim(lost)
    expire(lost)
    assert rescue.tick() > 0
    assert record(lost).state == "enqueued", "though the pass before took longer than half a lease"


def test_a_new_recovery_gives_the_living_time_to_renew(clock: Clock, noting: NotingTransport) -> None:
    rescue, job_id = Recovery(), note()
    claim(job_id)
    expire(job_id)
    clock.now += 5
    assert rescue.tick() == 0
    clock.now += 3
    assert rescue.tick() == 1


# --- clocks ---


@pytest.mark.parametrize("step", [timedelta(minutes=10), timedelta(hours=-1)])
def test_a_step_of_the_databases_clock_ends_no_living_workers_lease(
    rescue: Recovery, clock: Clock, noting: NotingTransport, step: timedelta
) -> None:
    ids = [note(str(n)) for n in range(3)]
    for job_id in ids:
        claim(job_id, worker=f"w{job_id}")
    assert rescue.tick() == 0
    clock.set_database(step)
    for _ in range(3):
        clock.now += 4.5
        assert rescue.tick() == 0
        lifecycle.renew([f"w{job_id}" for job_id in ids], lease=LEASE)
    clock.now += 4.5
    assert rescue.tick() == 0
    assert {facts(job_id, "state", "crashes", "attempt") for job_id in ids} == {("processing", 0, 1)}


@pytest.mark.parametrize("step", [timedelta(minutes=10), timedelta(hours=-1)])
def test_a_dead_workers_job_comes_back_two_leases_after_a_step_of_the_clock(
    rescue: Recovery, clock: Clock, noting: NotingTransport, step: timedelta
) -> None:
    job_id = note()
    claim(job_id)
    clock.set_database(step)
    assert rescue.tick() == 0
    until = record(job_id).lease_expires_at
    assert until is not None
    assert until <= timezone.now() + LEASE, "however far the clock was set back"
    expire(job_id)  # as it has, one lease later
    for _ in range(2):
        clock.now += 7
        assert rescue.tick() == 0
    clock.now += 1.5
    assert rescue.tick() == 1
    assert facts(job_id, "state", "crashes") == ("enqueued", 1)


def test_no_lease_is_expired_for_one_lease_after_the_host_was_suspended(
    rescue: Recovery, clock: Clock, noting: NotingTransport
) -> None:
    job_id = note()
    claim(job_id)
    clock.set_database(timedelta(minutes=3))  # which went on, while this process's clock stood still
    assert rescue.tick() == 0
    clock.now += 7
    assert rescue.tick() == 0
    clock.now += 7
    assert rescue.tick() == 0
    clock.now += 1.5
    assert rescue.tick() == 1, "nobody renewed it"


def test_no_lease_is_expired_for_one_lease_after_recovery_itself_stood_still(
    rescue: Recovery, clock: Clock, noting: NotingTransport
) -> None:
    job_id = note()
    claim(job_id)
    expire(job_id)
    clock.now += 8
    assert rescue.tick() == 0
    clock.now += 7
    assert rescue.tick() == 0
    clock.now += 7
    assert rescue.tick() == 0
    clock.now += 1.5
    assert rescue.tick() == 1


def test_recovery_has_nothing_to_do_after_jobs_moved_to_another_queue(
    rescue: Recovery, clock: Clock, redis: Redis
) -> None:
    ids = [note(str(n)) for n in range(4)]
    assert job_scheduler.move_many(ids[:2], "mail") == 2
    for _ in range(3):
        assert rescue.tick() == 0
        clock.now += PATIENCE_SECONDS + 1
    assert queued(redis, "mail") == [rq_job_id(message(job_id)) for job_id in ids[:2]]
    assert queued(redis)[-2:] == [rq_job_id(message(job_id)) for job_id in ids[2:]]


# --- lost messages ---


def test_lost_message_on_a_queue_that_nobody_names_is_published_again(
    rescue: Recovery, clock: Clock, redis: Redis
) -> None:
    (gone,) = lifecycle.create([NewJob("app.Note", b'{"text": "a"}', "gone-queue")])
    later = note()
    redis.flushall()
    assert rescue.tick() == 0
    clock.now += 2 * PATIENCE_SECONDS
    assert rescue.tick() == 2
    assert queued(redis, "gone-queue") == [rq_job_id(gone)]
    assert queued(redis) == [rq_job_id(message(later))]


def test_lost_message_is_published_again_once_it_was_missing_twice(
    rescue: Recovery, clock: Clock, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    ids = [note(str(n)) for n in range(3)]
    mail = job_scheduler.enqueue(AsyncNote("b"))
    redis.flushall()
    assert rescue.tick() == 0, "it may be between pop and claim"
    assert queued(redis) == []
    clock.now += PATIENCE_SECONDS * 0.3
    assert rescue.tick() == 0
    clock.now += PATIENCE_SECONDS * 0.7
    assert rescue.tick() == 4
    assert queued(redis) == [rq_job_id(message(job_id)) for job_id in ids]
    assert queued(redis, "mail") == [rq_job_id(message(mail))]
    assert "published 4 jobs again" in caplog.text
    clock.now += 2 * PATIENCE_SECONDS
    assert rescue.tick() == 0
    assert [moves_of(job_id) for job_id in ids] == [[], [], []], "publishing again is no move"


def test_messages_that_are_published_again_are_taken_in_the_order_of_before(
    rescue: Recovery, clock: Clock, redis: Redis
) -> None:
    by = (0, -100, 5, 0, 5, 100)
    ids = [job_scheduler.enqueue(Note(str(n)), priority=n) for n in by]
    JobRecord.objects.filter(pk=ids[1]).update(enqueued_at=timezone.now() - timedelta(hours=1))
    redis.flushall()
    assert rescue.tick() == 0
    clock.now += PATIENCE_SECONDS
    assert rescue.tick() == len(by)
    clock.now += 2 * PATIENCE_SECONDS
    intake = Intake("w")
    taken = intake.pop({"default": 3})
    assert [m.job_id for m in taken] == [ids[1], ids[5], ids[2]]
    intake.put_back(taken)
    assert rescue.tick() == 0
    assert [m.job_id for m in intake.pop({"default": 9})] == [ids[at] for at in (1, 5, 2, 4, 0, 3)]


def test_messages_that_a_dead_worker_had_taken_come_back_as_they_were(redis: Redis) -> None:
    ids = [job_scheduler.enqueue(Note(str(n)), priority=n) for n in (-1, 0, 1)]
    Intake("dead").pop({"default": 3})
    RQTransport().publish(lifecycle.still_enqueued(taken_last("dead")))
    assert [m.job_id for m in Intake("w").pop({"default": 3})] == ids[::-1]


def test_message_that_a_worker_has_taken_is_not_lost(rescue: Recovery, clock: Clock, redis: Redis) -> None:
    job_id = note()
    redis.flushall()  # as a pop does
    assert rescue.tick() == 0
    claim(job_id)
    clock.now += 2 * PATIENCE_SECONDS
    assert rescue.tick() == 0
    assert queued(redis) == []


def test_message_that_was_only_on_its_way_is_suspected_anew(rescue: Recovery, clock: Clock, redis: Redis) -> None:
    job_id = note()
    redis.flushall()
    assert rescue.tick() == 0
    (claimed,) = claim(job_id)
    execution.settle([lifecycle.handed_back(claimed, "stop", started=False)], worker=WORKER)
    redis.flushall()
    clock.now += 2 * PATIENCE_SECONDS
    assert rescue.tick() == 0, "another token, another message"
    clock.now += 2 * PATIENCE_SECONDS
    assert rescue.tick() == 1
    assert queued(redis) == [rq_job_id(message(job_id))]


def test_one_lost_message_among_many_is_found(rescue: Recovery, clock: Clock, redis: Redis) -> None:
    ids = job_scheduler.enqueue_many([Note(str(n)) for n in range(1_500)])
    lost = ids[700]
    redis.lrem(queue_key("default"), 1, rq_job_id(message(lost)))
    assert rescue.tick() == 0
    clock.now += 2 * PATIENCE_SECONDS
    assert rescue.tick() == 1
    assert queued(redis)[-1] == rq_job_id(message(lost))
    assert len(queued(redis)) == 1_500


def test_whole_queue_is_published_again_however_long(
    rescue: Recovery, clock: Clock, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "LOOK", 100)
    monkeypatch.setattr(recovery, "CHUNKS", 10)
    job_scheduler.enqueue_many([Note(str(n)) for n in range(2_500)])
    expected = queued(redis)
    redis.flushall()
    for published in (1_000, 1_000, 500):  # a pass looks at so many, and the next ones go on behind them
        assert rescue.tick() == 0
        clock.now += 2 * PATIENCE_SECONDS
        assert rescue.tick() == published
    assert queued(redis) == expected
    redis.lrem(queue_key("default"), 1, expected[0])
    clock.now += 2 * REPUBLISHED_SECONDS
    assert rescue.tick() == 0
    clock.now += 2 * PATIENCE_SECONDS
    assert rescue.tick() == 1, "from the head again"


def test_message_lost_twice_comes_back_twice(rescue: Recovery, clock: Clock, redis: Redis) -> None:
    job_id = note()
    for _ in range(2):
        redis.flushall()
        assert rescue.tick() == 0
        clock.now += 2 * PATIENCE_SECONDS
        assert rescue.tick() == 1
        assert queued(redis) == [rq_job_id(message(job_id))]
        clock.now += REPUBLISHED_SECONDS


def test_message_published_again_is_not_suspected_for_a_while(
    rescue: Recovery, clock: Clock, noting: NotingTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    note()
    monkeypatch.setattr(noting, "missing", lambda queue, messages: list(messages))  # as if too far down to be seen
    rescue.tick()
    clock.now += 2 * PATIENCE_SECONDS
    assert rescue.tick() == 1
    for _ in range(5):
        clock.now += 2 * PATIENCE_SECONDS
        assert rescue.tick() == 0
    assert len(noting.published) == 2


def test_promoted_job_whose_message_was_never_sent_is_published(rescue: Recovery, clock: Clock, redis: Redis) -> None:
    job_id = job_scheduler.enqueue(Note("a"), delay=timedelta(hours=1))
    make_due(job_id)  # and the scheduler died before it could push
    assert rescue.tick() == 0
    clock.now += 2 * PATIENCE_SECONDS
    assert rescue.tick() == 1
    assert queued(redis) == [rq_job_id(message(job_id))]


def test_job_whose_caller_commits_by_hand_is_published_by_recovery(
    rescue: Recovery, clock: Clock, noting: NotingTransport
) -> None:
    transaction.set_autocommit(False)
    try:
        job_id = note()
        transaction.commit()
        assert noting.published == [], "Django runs no hooks before autocommit is on again"
        assert rescue.tick() == 0
        clock.now += 2 * PATIENCE_SECONDS
        assert rescue.tick() == 1
        assert noting.ids == [[job_id]]
        transaction.commit()
    finally:
        transaction.set_autocommit(True)


def test_jobs_of_a_paused_queue_wait_for_its_resumption(rescue: Recovery, clock: Clock, redis: Redis) -> None:
    job_id, other = job_scheduler.enqueue(AsyncNote("a")), note()
    job_scheduler.pause_queue("mail")
    redis.flushall()
    rescue.tick()
    clock.now += 2 * PATIENCE_SECONDS
    assert rescue.tick() == 1
    assert queued(redis, "mail") == []
    assert queued(redis) == [rq_job_id(message(other))]
    job_scheduler.resume_queue("mail")
    rescue.tick()
    clock.now += 2 * PATIENCE_SECONDS
    assert rescue.tick() == 1
    assert queued(redis, "mail") == [rq_job_id(message(job_id))]


def test_messages_are_looked_for_only_where_jobs_wait(rescue: Recovery, noting: NotingTransport) -> None:
    run(note())
    job_scheduler.enqueue(AsyncNote("a"))
    job_scheduler.enqueue(Fail(1, "k"))
    rescue.tick()
    assert noting.asked == ["flaky", "mail"]


# --- retention ---


def ended(state: str, days: float) -> int:
    """A job that ended in ``state`` so many days ago."""
    job_id: int = job_scheduler.enqueue(Fail(9 if state == "failed" else 1, "k"))
    run(job_id)
    if state == "deleted":
        job_scheduler.delete(job_id)
    while record(job_id).state == "scheduled":
        make_due(job_id)
        run(job_id)
    assert record(job_id).state == state
    JobRecord.objects.filter(pk=job_id).update(finished_at=timezone.now() - timedelta(days=days))
    return job_id


def children(job_id: int) -> list[int]:
    return [model.objects.filter(job_id=job_id).count() for model in (JobHistory, AttemptError, JobPayload)]


def test_retention_erases_finished_jobs_with_all_that_hangs_on_them(noting: NotingTransport) -> None:
    gone = [ended("succeeded", 7.01), ended("deleted", 7.01)]
    kept = [ended("succeeded", 6.99), ended("deleted", 6.99), ended("failed", 4_000), note()]
    JobRecord.objects.filter(pk=kept[-1]).update(created_at=timezone.now() - timedelta(days=900))
    before = {job_id: children(job_id) for job_id in kept}
    assert recovery.age_out()
    assert not recovery.age_out()
    assert sorted(JobRecord.objects.values_list("pk", flat=True)) == kept
    assert [children(job_id) for job_id in gone] == [[0, 0, 0], [0, 0, 0]]
    assert {job_id: children(job_id) for job_id in kept} == before
    assert before[kept[0]][1] == 1


def test_retention_is_a_setting(noting: NotingTransport) -> None:
    kept, gone = ended("succeeded", 4_000), ended("failed", 2)
    with override_settings(JOBS={"RETENTION_DAYS": {"succeeded": None, "failed": 1}}):
        assert recovery.age_out()
    assert JobRecord.objects.filter(pk=kept).exists()
    assert not JobRecord.objects.filter(pk=gone).exists()


def test_retention_takes_a_limited_number_at_once_oldest_first(noting: NotingTransport) -> None:
    ids = [ended("succeeded", days) for days in (8, 10, 9)]
    before = timezone.now() - timedelta(days=7)
    assert lifecycle.age_out(State.SUCCEEDED, before=before, limit=2) == 2
    assert list(JobRecord.objects.values_list("pk", flat=True)) == [ids[0]]
    assert lifecycle.age_out(State.SUCCEEDED, before=before, limit=2) == 1
    assert lifecycle.age_out(State.SUCCEEDED, before=before, limit=2) == 0


@pytest.mark.parametrize("state", [State.ENQUEUED, State.PROCESSING, State.SCHEDULED, State.AWAITING])
def test_retention_refuses_jobs_that_have_not_ended(state: State) -> None:
    with pytest.raises(InvalidJob, match="only final states age out"):
        lifecycle.age_out(state, before=timezone.now())
