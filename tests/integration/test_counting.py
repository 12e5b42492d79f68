"""Counts and failure groups agree with what really happened, whatever happens, whoever folds."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from unittest.mock import Mock

import pytest
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from handlers import execution, folding, job_scheduler, lifecycle
from handlers.models import AttemptError, FailureGroup, JobCount, JobCountDelta, JobHistory, JobRecord
from handlers.models.count import BUCKET_FIELDS, Outcome
from handlers.recovery import Recovery
from handlers.states import State
from tests.app.jobs import Fail, Note, Vanish
from tests.running import claim, expire, make_due, run

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("noting")]


def total(outcome: str, **where: Any) -> int:
    """The count of an outcome over all types, by whole days."""
    rows = JobCount.objects.filter(period="day", queue="", job_type="", fingerprint="", outcome=outcome, **where)
    return sum(rows.values_list("count", flat=True))


def happened() -> Counter[str]:  # noqa: C901 - one case for each outcome
    """What the history says that there is to count."""
    found = Counter({Outcome.CREATED.value: JobRecord.objects.count()})
    lost = JobHistory.objects.filter(actor="recovery", from_state=State.PROCESSING)
    found[Outcome.LEASE_LOST] = lost.count()
    for source, target, reason in JobHistory.objects.values_list("from_state", "to_state", "reason"):
        match (source, target):
            case (State.ENQUEUED, State.PROCESSING):
                found[Outcome.STARTED] += 1
            case (State.PROCESSING, State.SUCCEEDED):
                found[Outcome.SUCCEEDED] += 1
            case (State.PROCESSING, State.FAILED):
                found[Outcome.FAILED] += 1
            case (State.PROCESSING, State.ENQUEUED):
                found[Outcome.HANDED_BACK] += 1
            case (State.PROCESSING, State.SCHEDULED):
                found[Outcome.SNOOZED] += 1
            case (State.PROCESSING, State.DELETED):
                found[Outcome.DROPPED] += 1
            case (State.FAILED, State.SCHEDULED):
                found[Outcome.RETRIED] += 1
                found[Outcome.FAILED] -= 1
            case (_, State.DELETED) if reason != "its retry policy deletes what is exhausted":
                found[Outcome.DELETED] += 1
            case (State.FAILED | State.SUCCEEDED | State.DELETED, _) if target != State.DELETED:
                found[Outcome.REVIVED] += 1
            case (State.SCHEDULED, State.ENQUEUED) if reason != "due":
                found[Outcome.REVIVED] += 1
    return found


def act_at_random(draw: random.Random) -> None:
    """One thing that people, programs, workers or recovery do, to jobs that may or may not allow it."""
    ids = list(JobRecord.objects.values_list("pk", flat=True))
    some = draw.sample(ids, min(len(ids), 3))
    enqueued = list(JobRecord.objects.filter(state=State.ENQUEUED).values_list("pk", flat=True)[:3])
    held = list(JobRecord.objects.filter(state=State.PROCESSING).values_list("pk", flat=True))
    scheduled = list(JobRecord.objects.filter(state=State.SCHEDULED).values_list("pk", flat=True))

    def hand_back() -> None:
        moves = [lifecycle.handed_back(one, "stopping", started=draw.random() < 0.5) for one in claim(*enqueued)]
        execution.settle(moves, worker="w")

    def crash() -> None:
        expire(*held)
        lifecycle.expire_leases(max_crashes=2)

    acts: list[Callable[[], Any]] = [
        lambda: job_scheduler.enqueue(draw.choice([Note("x"), Fail(9, "y"), Vanish()])),
        lambda: job_scheduler.schedule(Note("later"), timezone.now() + timedelta(hours=1)),
        lambda: job_scheduler.enqueue_many([Note("a"), Fail(1, "b"), Note("c")]),
        lambda: run(*enqueued),
        lambda: run(*enqueued),
        lambda: claim(*enqueued[:1]),
        hand_back,
        crash,
        lambda: [make_due(job_id) for job_id in scheduled[:2]],
        lambda: job_scheduler.delete_many(some),
        lambda: job_scheduler.retry_many(some),
        lambda: job_scheduler.requeue_many(some),
        lambda: job_scheduler.restore_many(some),
    ]
    draw.choice(acts)()


@pytest.mark.parametrize("seed", range(4))
def test_counts_agree_with_the_history_after_a_random_life(seed: int) -> None:
    draw = random.Random(seed)  # noqa: S311 - the same life each time
    for turn in range(80):
        act_at_random(draw)
        if turn % 20 == 0:
            folding.fold(limit=7)  # in the middle, and not all of it
    folding.fold_all()
    assert not JobCountDelta.objects.exists()
    expected = happened()
    for period in ("minute", "hour", "day", "total"):
        for shown in ({"queue": "", "job_type": ""}, None)[period == "total" :]:
            rows = JobCount.objects.filter(period=period, fingerprint="")
            rows = rows.filter(**shown) if shown else rows.exclude(queue="")
            found: Counter[str] = Counter()
            for outcome, count in rows.values_list("outcome", "count"):
                found[outcome] += count
            assert found == +expected
    groups = dict(FailureGroup.objects.values_list("fingerprint", "count"))
    assert groups == Counter(AttemptError.objects.values_list("fingerprint", flat=True))


def test_durations_fall_into_buckets_of_the_outcome() -> None:
    run(job_scheduler.enqueue(Note("x")))
    folding.fold()
    for outcome in (Outcome.STARTED, Outcome.SUCCEEDED):
        row = JobCount.objects.get(period="hour", queue="default", job_type="app.Note", outcome=outcome)
        assert sum(getattr(row, name) for name in BUCKET_FIELDS) == 1
        assert row.seconds >= 0


def test_group_tells_of_the_newest_failure() -> None:
    first = job_scheduler.enqueue(Fail(9, "one"))
    run(first)
    folding.fold()
    second = job_scheduler.enqueue(Fail(9, "one"))
    run(second)
    folding.fold()
    group = FailureGroup.objects.get()
    newest = AttemptError.objects.order_by("pk").last()
    assert newest is not None
    assert (group.count, group.last_job_id, group.last_at) == (2, second, newest.at)
    assert (group.exception, group.frame) == (newest.exception, newest.frame)
    rows = JobCount.objects.filter(fingerprint=group.pk, period="day")
    assert sum(rows.values_list("count", flat=True)) == 2
    assert set(rows.values_list("job_type", flat=True)) == {"app.Fail"}


def test_fold_that_dies_in_the_middle_loses_and_doubles_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    job_scheduler.enqueue_many([Note("x")] * 5)
    with monkeypatch.context() as patched:
        patched.setattr(folding, "_group", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            folding.fold()
    assert total(Outcome.CREATED) == 0
    folding.fold()
    assert total(Outcome.CREATED) == 5
    assert folding.fold() == 0


def test_many_folders_at_once_count_each_thing_once() -> None:
    for _ in range(40):
        job_scheduler.enqueue(Note("x"))

    def folder() -> None:
        try:
            for _ in range(15):
                folding.fold(limit=3)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(3) as pool:
        for future in [pool.submit(folder) for _ in range(3)]:
            future.result(60)
    folding.fold_all()
    assert total(Outcome.CREATED) == 40


def test_long_backlog_is_folded_in_turns_with_a_schedulers_other_duties(monkeypatch: pytest.MonkeyPatch) -> None:
    def fold(limit: int) -> int:
        clock.monotonic.return_value += folding.FOLD_SECONDS * 0.6
        return limit

    run(job_scheduler.enqueue(Note("x")))
    clock = Mock(**{"monotonic.return_value": 100.0})
    monkeypatch.setattr(folding, "time", clock)
    monkeypatch.setattr(folding, "fold", fold)
    assert folding.fold_all() == 20_000


def test_recovery_folds_and_brings_nothing_back() -> None:
    run(job_scheduler.enqueue(Note("x")))
    assert Recovery().tick() == 0
    assert total(Outcome.SUCCEEDED) == 1


def test_counts_wait_while_nobody_folds() -> None:
    run(job_scheduler.enqueue(Note("x")))
    assert JobCountDelta.objects.count() == 3  # created, started, succeeded
    assert not JobCount.objects.exists()


def test_rollback_takes_its_counts_along() -> None:
    with transaction.atomic():
        job_scheduler.enqueue(Note("x"))
        transaction.set_rollback(True)
    assert not JobCountDelta.objects.exists()


def test_prune_erases_only_what_is_past_its_time() -> None:
    now = timezone.now()
    ages = {"minute": timedelta(hours=27), "hour": timedelta(days=10), "day": timedelta(days=401)}
    for period, age in ages.items():
        JobCount.objects.create(period=period, at=now - age, outcome="created", count=1)
        JobCount.objects.create(period=period, at=now - age + timedelta(days=2), outcome="created", count=1)
    while folding.prune(limit=1):
        pass
    assert JobCount.objects.count() == 3
    assert set(JobCount.objects.values_list("period", flat=True)) == set(ages)


def test_batch_counts_in_one_statement_more() -> None:
    ids = job_scheduler.enqueue_many([Note("x")] * 20)
    with CaptureQueriesContext(connection) as queries:
        run(*ids)
    assert sum("jobs_jobcountdelta" in query["sql"] for query in queries) == 2  # one claim, one settlement
