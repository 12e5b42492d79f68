"""Queues that other programs use too: what is theirs stays, and however much it is, ours is found at once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from django.test import override_settings
from redis import Redis
from rq import SimpleWorker
from rq.job import Job
from rq.serializers import JSONSerializer

from handlers.rq_transport.connections import configure_queues
from handlers.rq_transport.intake import Intake
from handlers.rq_transport.lua import PUBLISH
from handlers.rq_transport.messages import DELAYED_KEY, QUEUES_KEY, RQTransport, rq_job_id, rq_now
from handlers.rq_transport.names import queue_key, rq_name
from handlers.rq_transport.ranks import PASSED, RANKS, SHARED
from handlers.transport import Message

pytestmark = [pytest.mark.redis, pytest.mark.once]

FOREIGN = 100_000
TRIES = 20
QUICK_SECONDS = 0.25  # on a machine that has other things to do; a look through everything takes many times that


@pytest.fixture
def redis(redis_server: str) -> Iterator[Redis]:
    with Redis.from_url(redis_server) as client:
        yield client


@pytest.fixture
def intake(redis_server: str) -> Intake:
    return Intake("w")


def messages(count: int, *, first: int = 1, priority: int = 0) -> list[Message]:
    return [Message(first + n, uuid4().hex[:16], "default", priority=priority) for n in range(count)]


def crowd(redis: Redis, *, name: str = "theirs", count: int = FOREIGN) -> list[bytes]:
    """Other programs' jobs on the queue; their ids."""
    ids = [f"{name}-{n}" for n in range(count)]
    for start in range(0, count, 10_000):
        redis.rpush(queue_key("default"), *ids[start : start + 10_000])
    return [each.encode() for each in ids]


def take_all(intake: Intake, most: int) -> list[int]:
    found: list[int] = []
    while taken := intake.pop({"default": most}):
        found += [each.job_id for each in taken]
    return found


def listed(redis: Redis) -> list[bytes]:
    entries: list[bytes] = redis.lrange(queue_key("default"), 0, -1)  # type: ignore[assignment]
    return entries


def seconds(act: Any) -> float:
    """How long it takes at best: a busy machine may hold up some tries, and never makes one faster."""
    best = float("inf")
    for _ in range(TRIES):
        began = time.perf_counter()
        act()
        best = min(best, time.perf_counter() - began)
    return best


@pytest.mark.parametrize("most", [1, 7, 128])
def test_ours_are_taken_in_their_order_from_behind_any_number_of_others(
    redis: Redis, intake: Intake, most: int
) -> None:
    before, crowded, after = messages(3), crowd(redis), messages(300, first=4)
    RQTransport().publish(before, front=True)
    RQTransport().publish(after)
    assert take_all(intake, most) == list(range(1, 304))
    RQTransport().publish(messages(2, first=304))
    assert take_all(intake, most) == [304, 305]
    assert listed(redis) == crowded, "what is theirs is where it was, and nothing of ours stays behind it"


def test_neither_taking_nor_recovery_reads_what_others_have_there(redis: Redis, intake: Intake) -> None:
    crowd(redis)
    ours = messages(50)
    RQTransport().publish(ours)
    assert seconds(lambda: intake.pop({"default": 1})) < QUICK_SECONDS / 10
    assert seconds(lambda: RQTransport().missing("default", ours[TRIES:])) < QUICK_SECONDS
    assert RQTransport().missing("default", ours[TRIES:]) == []
    take_all(intake, 10)
    assert seconds(lambda: intake.pop({"default": 1})) < QUICK_SECONDS / 10


def test_those_with_a_priority_go_before_the_rest(redis: Redis, intake: Intake) -> None:
    crowd(redis, count=2_000)
    RQTransport().publish(messages(3))
    RQTransport().publish(messages(1, first=9, priority=50))
    assert take_all(intake, 1) == [9, 1, 2, 3]


def test_what_was_taken_behind_others_can_be_put_back(redis: Redis, intake: Intake) -> None:
    crowded = crowd(redis, count=2_000)
    RQTransport().publish(messages(5))
    intake.put_back(intake.pop({"default": 2}))
    assert take_all(intake, 2) == [1, 2, 3, 4, 5]
    assert listed(redis) == crowded


def test_recovery_finds_what_an_earlier_release_put_far_behind_others(redis: Redis, intake: Intake) -> None:
    ours = messages(20)
    PUBLISH(
        redis,
        [QUEUES_KEY, DELAYED_KEY, queue_key("default")],
        [rq_now(), "RPUSH", "default", 20, *map(rq_job_id, ours)],
    )
    entries = listed(redis)
    redis.delete(queue_key("default"))
    crowd(redis, count=5_000)
    redis.rpush(queue_key("default"), *entries)
    assert intake.pop({"default": 20}) == []
    assert RQTransport().missing("default", ours) == ours
    RQTransport().publish(ours)
    assert RQTransport().missing("default", ours) == []
    assert take_all(intake, 3) == list(range(1, 21))


def test_a_queue_is_as_before_once_the_others_have_gone(redis: Redis, intake: Intake) -> None:
    crowd(redis, count=50)
    RQTransport().publish(messages(5))
    assert redis.exists(SHARED + "default")
    redis.ltrim(queue_key("default"), 50, -1)  # a worker of theirs took its own
    assert take_all(intake, 2) == [1, 2, 3, 4, 5]
    RQTransport().publish(messages(5))
    assert not redis.exists(SHARED + "default", RANKS + "default", PASSED + "default")
    assert take_all(intake, 2) == [1, 2, 3, 4, 5]


def test_a_stock_worker_of_json_takes_ours_from_behind_its_own(redis: Redis, intake: Intake) -> None:
    crowd(redis, count=3)  # without RQ jobs: it passes over them
    RQTransport().publish(messages(4))
    worker = SimpleWorker(["default"], connection=redis, serializer=JSONSerializer)
    job, queue = worker.queues[0].dequeue_any(worker.queues, None, connection=redis, serializer=JSONSerializer) or (
        0,
        0,
    )
    assert isinstance(job, Job)
    assert queue
    assert job.args[0] == 1
    job.set_status("started")  # type: ignore[arg-type]
    assert take_all(intake, 2) == [2, 3, 4]


def test_a_queue_of_pickles_keeps_its_name_and_ours_stands_beside_it(redis: Redis, intake: Intake) -> None:
    place = settings.RQ_QUEUES["default"]
    theirs = {key: value for key, value in place.items() if key != "SERIALIZER"}
    with override_settings(RQ_QUEUES={"default": theirs}):
        configure_queues()
        assert (settings.RQ_QUEUES["default"], settings.RQ_QUEUES["jobs:default"]) == (theirs, place)
        assert (rq_name("default"), rq_name("mail")) == ("jobs:default", "mail")
        RQTransport().publish(messages(2))
        RQTransport().publish(messages(2, first=3, priority=9))
        delayed = Message(5, uuid4().hex[:16], "default", run_at=rq_time_of_now())
        RQTransport().publish_delayed([delayed])
        assert redis.exists("rq:queue:default", RANKS + "default") == 0
        assert redis.hget(Job.key_for(rq_job_id(delayed)), "origin") == b"jobs:default"
        assert redis.llen("rq:queue:jobs:default") == 4
        assert take_all(intake, 1) == [3, 4, 1, 2]


def rq_time_of_now() -> Any:
    from django.utils import timezone

    return timezone.now() + timedelta(hours=1)
