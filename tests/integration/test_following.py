"""What follows when watched jobs have moved: at once after the commit, or by a scheduler where that was cut off."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

import pytest
from django.db import OperationalError, connection, transaction
from django.db.models import F

from handlers import following, job_scheduler, lifecycle
from handlers.lifecycle import NewJob
from handlers.models import WatchedMove
from handlers.recovery import Recovery
from handlers.registry import registry
from tests.app.jobs import Note
from tests.running import run

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("noting")]

PLANS = ("hashjoin", "mergejoin", "hashagg", "sort", "material")


class Follower:
    def __init__(self) -> None:
        self.told: list[list[int]] = []
        self.refuses: set[int] = set()
        self.error: type[Exception] = RuntimeError
        self.asked = 0

    def __call__(self, ids: Sequence[int], using: str) -> None:
        self.asked += 1
        if self.refuses & set(ids):
            raise self.error
        self.told.append(list(ids))


@pytest.fixture
def follower() -> Iterator[Follower]:
    follower = Follower()
    following.add(follower)
    yield follower
    following.remove(follower)


def watched(count: int = 1, *, is_watched: bool = True) -> list[int]:
    new = [
        NewJob(registry.for_object(Note("x")).name, b'{"text": "x"}', "default", watched=is_watched)
        for _ in range(count)
    ]
    return [message.job_id for message in lifecycle.create(new)]


def test_those_who_follow_hear_of_every_move_of_a_watched_job_and_of_no_other(follower: Follower) -> None:
    jobs, others = watched(3), watched(2, is_watched=False)
    run(*jobs, *others)
    assert follower.told == [jobs]
    job_scheduler.requeue(jobs[0])
    job_scheduler.delete(jobs[0])
    assert follower.told[1:] == [jobs[:1], jobs[:1]]
    assert not WatchedMove.objects.exists()


def test_they_hear_after_the_commit_and_not_of_what_was_rolled_back(follower: Follower) -> None:
    (first, second) = watched(2)
    with transaction.atomic():
        job_scheduler.delete(first)
        with transaction.atomic():
            job_scheduler.delete(second)
            transaction.set_rollback(True)
        assert not follower.told
    assert follower.told == [[first]]


def test_what_was_cut_off_a_scheduler_does(follower: Follower) -> None:
    (job,) = watched()
    follower.refuses = {job}
    job_scheduler.delete(job)
    follower.refuses = set()
    Recovery().tick()
    assert not follower.told  # its maker may be at it
    WatchedMove.objects.update(at=F("at") - timedelta(seconds=10))
    Recovery().tick()
    assert follower.told == [[job]]
    assert not WatchedMove.objects.exists()


def test_one_that_cannot_be_followed_does_not_hold_the_others(follower: Follower) -> None:
    jobs = watched(3)
    follower.refuses = set(jobs)
    for job in jobs:
        job_scheduler.delete(job)
    follower.refuses = {jobs[0]}
    following.follow()
    assert follower.told == [jobs[1:2], jobs[2:]]
    assert WatchedMove.objects.get().jobs == jobs[:1]


@pytest.mark.postgresql
def test_one_by_one_is_one_by_one_whatever_the_plan(follower: Follower) -> None:
    with connection.cursor() as cursor:
        for plan in PLANS:
            cursor.execute(f"SET enable_{plan} = off")
    try:
        test_one_that_cannot_be_followed_does_not_hold_the_others(follower)
    finally:
        connection.close()


def test_however_many_cannot_be_followed_they_do_not_hold_the_others(
    follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "MOVES", 3)
    jobs = watched(8)
    follower.refuses = set(jobs[:7])
    for job in jobs:
        job_scheduler.delete(job)
    assert follower.told == [jobs[7:]]
    follower.refuses = set()
    following.follow()
    assert not WatchedMove.objects.exists()


def test_in_trouble_of_the_database_nobody_waits_for_each_of_many(follower: Follower) -> None:
    jobs = watched(8)
    follower.refuses, follower.error = set(jobs), OperationalError
    for job in jobs[:7]:
        job_scheduler.delete(job)
    follower.asked = 0
    assert job_scheduler.delete(jobs[7])
    assert follower.asked == 2
    WatchedMove.objects.update(at=F("at") - timedelta(seconds=10))
    follower.refuses = set(jobs[:7])
    Recovery().tick()
    assert follower.told == [jobs[7:]]
