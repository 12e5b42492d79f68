"""Jobs with a priority on a real server: in which order they are taken, and that none is lost or left behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from redis import Redis
from rq import Queue, SimpleWorker
from rq.job import Job
from rq.serializers import JSONSerializer

from handlers.rq_transport.intake import TAKEN, Intake, taken_last
from handlers.rq_transport.messages import RQTransport, rq_job_id
from handlers.rq_transport.names import queue_key
from handlers.rq_transport.ranks import PASSED, RANKS, STEPS
from handlers.transport import Message
from tests.processes import wait_for

pytestmark = [pytest.mark.redis, pytest.mark.once]

POINT = timedelta(seconds=6)
NOW = datetime.now(UTC)


@pytest.fixture
def redis(redis_server: str) -> Iterator[Redis]:
    """A client of the test's own, beside the transport's."""
    with Redis.from_url(redis_server) as client:
        yield client


@pytest.fixture
def transport(redis_server: str) -> RQTransport:
    """The transport. The settings point it to the same server."""
    return RQTransport()


@pytest.fixture
def intake(redis_server: str) -> Intake:
    """A worker's way to the queues."""
    return Intake("w")


def message(job_id: int, priority: int = 0, *, ago: timedelta | None = None, queue: str = "default") -> Message:
    at = None if ago is None else NOW - ago
    return Message(job_id, uuid4().hex[:16], queue, priority=priority, enqueued_at=at)


def messages(*priorities: int) -> list[Message]:
    return [message(number, priority) for number, priority in enumerate(priorities, 1)]


def ids(found: list[Message] | None) -> list[int]:
    return [each.job_id for each in found or []]


def take_all(intake: Intake, most: int) -> list[int]:
    found: list[int] = []
    while taken := intake.pop({"default": most}):
        assert len(taken) <= most
        found += ids(taken)
    return found


def queued(redis: Redis) -> list[str]:
    entries: Any = redis.lrange(queue_key("default"), 0, -1)
    return [entry.decode() for entry in entries]


def left(redis: Redis) -> set[str]:
    """The keys that are there, without the note of what was taken last."""
    keys: Any = redis.keys()
    return {key.decode() for key in keys} - {f"{TAKEN}w", "rq:queues"}


# --- the order


@pytest.mark.parametrize("most", [1, 2, 3, 100])
def test_the_highest_come_first_the_lowest_last_and_equal_ones_in_their_order(
    transport: RQTransport, intake: Intake, redis: Redis, most: int
) -> None:
    transport.publish(messages(0, -5, 5, 0, 5, -5, 100, 0, -100))
    assert take_all(intake, most) == [7, 3, 5, 1, 4, 8, 2, 6, 9]
    assert left(redis) == set()


@pytest.mark.parametrize("most", [1, 100])
def test_each_point_is_worth_so_many_seconds_of_waiting_and_no_more(
    transport: RQTransport, intake: Intake, most: int
) -> None:
    sent = [
        message(1, ago=timedelta(seconds=700)),  # too long for the next to pass it
        message(2, 100, ago=timedelta(seconds=50)),
        message(3, ago=timedelta(seconds=600)),
        message(4, -100, ago=timedelta(hours=1)),
        message(5, -1, ago=timedelta(seconds=600)),
    ]
    transport.publish(sent)
    # They rank -700, -650, -600, -3000, -594. Those without a priority stay in the order of the list.
    assert take_all(intake, most) == [4, 1, 2, 3, 5]


def test_a_low_one_that_waits_comes_before_all_that_come_later(
    transport: RQTransport, intake: Intake, settings: Any
) -> None:
    settings.JOBS = settings.JOBS | {"PRIORITY_SECONDS": 1e-6}
    transport.publish([message(1, -100)])
    for number in range(2, 12):
        transport.publish([message(number, 100)])
    assert take_all(intake, 1)[0] == 1


@pytest.mark.parametrize("text", ["2024-02-29", "2026-01-01", "2026-02-28", "2026-03-01", "2027-12-31", "2100-03-01"])
def test_the_rank_of_the_lists_head_is_the_time_that_its_rq_job_tells(
    transport: RQTransport, intake: Intake, text: str
) -> None:
    at = datetime.fromisoformat(f"{text}T23:59:58.123456+00:00")
    for early in (True, False):
        since = at + POINT + timedelta(microseconds=-2 if early else 2)
        transport.publish([message(1)._replace(enqueued_at=at), message(2, 1)._replace(enqueued_at=since)])
        assert take_all(intake, 1) == ([2, 1] if early else [1, 2])


def test_equal_ones_keep_their_order_however_many(transport: RQTransport, intake: Intake) -> None:
    transport.publish([message(number, 7) for number in range(1, 2_101)])
    assert take_all(intake, 100) == list(range(1, 2_101))


def test_a_later_publish_with_more_priority_passes_what_is_there(transport: RQTransport, intake: Intake) -> None:
    transport.publish(messages(0, 0, 0, 1))
    assert ids(intake.pop({"default": 1})) == [4]
    transport.publish([message(5, 2), message(6, -2)])
    assert take_all(intake, 1) == [5, 1, 2, 3, 6]


def test_queues_keep_their_order_whatever_is_on_them(transport: RQTransport, intake: Intake) -> None:
    transport.publish([message(1, -100, queue="mail"), message(2, 100)])
    assert ids(intake.pop({"mail": 5, "default": 5})) == [1]
    assert ids(intake.pop({"mail": 5, "default": 5})) == [2]


def test_thousands_that_are_passed_over_hold_nobody_up(transport: RQTransport, intake: Intake) -> None:
    transport.publish([message(number, -1) for number in range(1, 2 * STEPS + 100)])
    transport.publish([message(10**6)])
    assert ids(intake.pop({"default": 1})) == [10**6]
    assert ids(intake.pop({"default": 2})) == [1, 2]


def test_thousands_that_were_taken_out_of_turn_hold_nobody_up(
    transport: RQTransport, intake: Intake, redis: Redis
) -> None:
    count = 2 * STEPS + 100
    transport.publish([message(10**6), *(message(number, 1) for number in range(1, count)), message(10**7)])
    for _ in range(1, count):
        intake.pop({"default": 1})
    assert redis.llen(queue_key("default")) == count + 1
    assert ids(intake.pop({"default": 1})) == [10**6]
    assert ids(intake.pop({"default": 1})) == [10**7]
    assert left(redis) == set()


# --- who waits


def test_who_waits_gets_the_first_of_what_comes_at_once(transport: RQTransport, intake: Intake, redis: Redis) -> None:
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(intake.wait, ["mail", "default"], 20)
        wait_for("it waits", lambda: redis.info("clients")["blocked_clients"] == 1)
        transport.publish(messages(-1, 0, 1))
        assert ids(waiting.result(10)) == [3]
        assert pool.submit(take_all, intake, 1).result(10) == [2, 1]
    assert left(redis) == set()


@pytest.mark.parametrize("priority", [-100, 0, 100])
def test_who_waits_gets_a_single_one_whatever_its_priority(
    transport: RQTransport, intake: Intake, redis: Redis, priority: int
) -> None:
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(intake.wait, ["default"], 20)
        wait_for("it waits", lambda: redis.info("clients")["blocked_clients"] == 1)
        transport.publish(messages(priority))
        assert ids(waiting.result(10)) == [1]
        pool.submit(intake.forget).result(10)
    assert left(redis) == set()


def test_two_that_wait_share_what_comes(transport: RQTransport, redis: Redis) -> None:
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(Intake(name).wait, ["default"], 20) for name in ("a", "b")]
        wait_for("both wait", lambda: redis.info("clients")["blocked_clients"] == 2)
        transport.publish(messages(-1, 0))
        assert sorted(number for each in waiting for number in ids(each.result(10))) == [1, 2]


def test_what_was_passed_over_wakes_whoever_waits_once_nothing_else_is_there(
    transport: RQTransport, intake: Intake, redis: Redis
) -> None:
    low, usual = messages(-1, 0)
    transport.publish([low, usual])
    assert ids(intake.pop({"default": 1})) == [usual.job_id]
    assert queued(redis) == [rq_job_id(low)]
    assert ids(intake.wait(["default"], 0.01)) == [low.job_id]


# --- what it costs


def test_where_no_job_has_one_a_look_asks_once(transport: RQTransport, intake: Intake, redis: Redis) -> None:
    transport.publish(messages(0, 0, 0, 0))
    redis.config_resetstat()
    for _ in range(3):
        intake.pop({"default": 1})
    stats: Any = redis.info("commandstats")
    told = {name: facts["calls"] for name, facts in stats.items() if name.startswith("cmdstat_")}
    looks = dict.fromkeys(("evalsha", "exists", "lrange", "ltrim", "unlink", "set"), 3)
    assert {name.removeprefix("cmdstat_"): calls for name, calls in told.items()} | looks == (
        {name.removeprefix("cmdstat_"): calls for name, calls in told.items()}
    )
    assert set(told) <= {f"cmdstat_{name}" for name in (*looks, "config|resetstat", "info", "eval")}


def test_once_what_was_taken_out_of_turn_is_behind_all_is_as_before(
    transport: RQTransport, intake: Intake, redis: Redis
) -> None:
    transport.publish(messages(0, 1))
    assert ids(intake.pop({"default": 1})) == [2]
    transport.publish([message(3), message(4)])
    assert redis.exists(f"{PASSED}default")
    assert [ids(intake.pop({"default": 1})) for _ in range(2)] == [[1], [3]]
    assert left(redis) == {queue_key("default"), Job.key_for(queued(redis)[0])}


# --- going back, being lost, being withdrawn


def test_what_goes_back_has_its_place_again(transport: RQTransport, intake: Intake, redis: Redis) -> None:
    transport.publish(messages(0, 5, 5, 0, 6))
    taken = intake.pop({"default": 4})
    assert ids(taken) == [5, 2, 3, 1]
    transport.publish([message(6, 5), message(7)])
    intake.put_back(taken)
    assert take_all(intake, 1) == [5, 2, 3, 6, 1, 4, 7]
    assert left(redis) == set()


def test_what_was_taken_last_is_on_record_however_it_was_taken(transport: RQTransport, intake: Intake) -> None:
    sent = messages(0, 5, -5)
    transport.publish(sent)
    intake.pop({"default": 3})
    assert taken_last("w") == [(sent[number].job_id, sent[number].token) for number in (1, 0, 2)]


def test_missing_knows_what_is_in_the_set_alone(transport: RQTransport, intake: Intake, redis: Redis) -> None:
    low, *usual = messages(-1, 0, 0)
    transport.publish([low, *usual])
    intake.pop({"default": 1})
    assert rq_job_id(low) not in queued(redis)
    assert transport.missing("default", [low, usual[1]]) == []
    # Without a worker of ours nobody would find it: then it is published again.
    redis.lpop(queue_key("default"))
    assert transport.missing("default", [low]) == [low]


def test_missing_is_what_was_taken_out_of_turn_though_it_stands_on_the_list(
    transport: RQTransport, intake: Intake, redis: Redis
) -> None:
    usual, high = messages(0, 1)
    transport.publish([usual, high])
    assert ids(intake.pop({"default": 1})) == [high.job_id]
    assert rq_job_id(high) in queued(redis)
    assert transport.missing("default", [usual, high]) == [high]
    transport.publish([high])
    assert transport.missing("default", [usual, high]) == []
    assert take_all(intake, 1) == [2, 1]


def test_what_is_published_again_after_a_flush_has_the_order_of_before(
    transport: RQTransport, intake: Intake, redis: Redis
) -> None:
    sent = [message(1, -100, ago=timedelta(hours=1)), message(2, ago=POINT * 50), message(3, 100, ago=timedelta(0))]
    transport.publish(sent)
    redis.flushall()
    assert transport.missing("default", sent) == sent
    transport.publish(sent)
    assert take_all(intake, 1) == [1, 3, 2]


@pytest.mark.parametrize("key", [RANKS, PASSED])
def test_what_redis_loses_of_the_places_loses_no_job(
    transport: RQTransport, intake: Intake, redis: Redis, key: str
) -> None:
    sent = messages(0, 1, -1, 0)
    transport.publish(sent)
    assert ids(intake.pop({"default": 1})) == [2]
    redis.delete(f"{key}default")
    found = take_all(intake, 1)
    lost = transport.missing("default", [each for each in sent if each.job_id not in {2, *found}])
    assert {*found, *ids(lost)} >= {1, 3, 4}


def test_withdrawn_ones_are_passed_over(transport: RQTransport, intake: Intake, redis: Redis) -> None:
    sent = messages(0, 1, -1, 2, 0)
    transport.publish(sent)
    transport.withdraw([sent[0], sent[2], sent[3]])
    assert redis.zcard(f"{RANKS}default") == 1
    assert take_all(intake, 10) == [2, 5]
    assert left(redis) == set()


# --- others on the same queue


def test_foreign_jobs_on_a_shared_queue_stay(transport: RQTransport, intake: Intake, redis: Redis) -> None:
    shared = Queue("default", connection=redis)
    first = shared.enqueue("os.getpid")
    transport.publish(messages(0, -1))
    second = shared.enqueue("os.getpid")
    transport.publish([message(3, 1), message(4)])
    assert take_all(intake, 1) == [3, 1, 4, 2]
    assert queued(redis) == [first.id, second.id]
    assert intake.wait(["default"], 0.01) is None


def test_rqs_own_workers_find_all_in_the_order_in_which_they_came(transport: RQTransport, redis: Redis) -> None:
    sent = messages(0, 5, -5)
    transport.publish(sent)
    queue = Queue("default", connection=redis, serializer=JSONSerializer)
    assert queue.job_ids == [rq_job_id(each) for each in sent]
    assert [job.id for job in queue.jobs] == queue.job_ids
    order: list[str] = []

    class Worker(SimpleWorker):
        def execute_job(self, job: Job, queue: Queue) -> None:
            order.append(job.id)
            job.delete()

    Worker([queue], connection=redis, serializer=JSONSerializer).work(burst=True, logging_level="WARNING")
    assert order == [rq_job_id(each) for each in sent]


def test_what_one_of_rqs_own_workers_runs_is_left_to_it(transport: RQTransport, intake: Intake, redis: Redis) -> None:
    (high,) = messages(5)
    transport.publish([high])
    redis.lpop(queue_key("default"))
    redis.hset(Job.key_for(rq_job_id(high)), "status", "started")
    assert take_all(intake, 1) == []
    assert left(redis) == {Job.key_for(rq_job_id(high))}


def test_what_rqs_own_workers_took_is_cleared_away(transport: RQTransport, intake: Intake, redis: Redis) -> None:
    for round_ in range(3):
        sent = [message(round_ * 10 + number, 5) for number in range(1, 6)]
        transport.publish(sent)
        for each in sent:
            redis.lpop(queue_key("default"))
            redis.unlink(Job.key_for(rq_job_id(each)))
    assert redis.zcard(f"{RANKS}default") == 5, "as many as the last publish brought"
    assert take_all(intake, 1) == []
    assert left(redis) == set()


# --- all of it, in any order


class Trial:
    """A queue, with an oracle of what waits there and who comes next."""

    def __init__(self, transport: RQTransport, redis: Redis) -> None:
        redis.flushdb()
        self.transport, self.redis, self.intake = transport, redis, Intake("w")
        self.sent: dict[int, Message] = {}
        self.usual: list[Message] = []  # in the order of the list
        self.ranked: list[Message] = []  # by rank
        self.withdrawn: set[int] = set()  # some are taken all the same, and refused the claim

    @property
    def all(self) -> list[Message]:
        return [*self.usual, *self.ranked]

    def publish(self, new: list[tuple[int, int]]) -> None:
        """Priority of each, and how many seconds ago it was enqueued."""
        sent = [
            # A millisecond each apart: no two rank alike.
            message(number, priority, ago=timedelta(0, ago, 0, number))._replace(token=f"{number:016x}")
            for number, (priority, ago) in enumerate(new, len(self.sent) + 1)
        ]
        self.sent |= {each.job_id: each for each in sent}
        self.transport.publish(sent)
        self._add(sent)

    def take(self, most: int) -> list[int]:
        taken = ids(self.intake.pop({"default": most}))
        found = [number for number in taken if number not in self.withdrawn]
        assert found == [self._next() for _ in found]
        assert len(taken) == most or not self.all
        return found

    def take_and_put_back(self, most: int) -> None:
        taken = [self.sent[number] for number in self.take(most)]
        self.intake.put_back(taken)
        self._add(taken, first=True)

    def withdraw(self, at: int) -> None:
        gone = self.all[at : at + 1]
        self.transport.withdraw(gone)
        self.withdrawn |= {*ids(gone)}
        self._drop(self.withdrawn)

    def stock(self, _: int) -> None:
        """One of RQ's own workers runs what the list has first."""
        entry: Any = self.redis.lpop(queue_key("default"))
        if entry and self.redis.unlink(Job.key_for(entry.decode())):
            self._drop({int(entry.decode().partition("-")[0])})

    def wait(self, _: int) -> None:
        if self.all:
            self._drop({*ids(self.intake.wait(["default"], 0.01))})

    def recover(self, _: int) -> None:
        lost = self.transport.missing("default", self.all)
        assert all(each.priority for each in lost), "only they may be in the set alone"
        self.transport.publish(lost)
        assert self.transport.missing("default", self.all) == []

    def _add(self, sent: list[Message], *, first: bool = False) -> None:
        usual = [each for each in sent if not each.priority]
        self.usual = [*usual, *self.usual] if first else [*self.usual, *usual]
        self.ranked = sorted([*self.ranked, *(each for each in sent if each.priority)], key=_rank)

    def _next(self) -> int:
        first = self.usual[:1] if self.usual and not self.ranked else self.ranked[:1]
        if self.usual and self.ranked and _rank(self.usual[0]) <= _rank(self.ranked[0]):
            first = self.usual[:1]
        self._drop({*ids(first)})
        return first[0].job_id

    def _drop(self, gone: set[int]) -> None:
        self.usual = [each for each in self.usual if each.job_id not in gone]
        self.ranked = [each for each in self.ranked if each.job_id not in gone]


def _rank(each: Message) -> datetime:
    assert each.enqueued_at is not None
    return each.enqueued_at - each.priority * POINT


NEW = st.tuples(st.sampled_from([0, 0, 0, 1, 5, 100, -1, -5, -100]), st.integers(0, 700))
ACTS = st.one_of(
    st.tuples(st.just(Trial.publish), st.lists(NEW, min_size=1, max_size=6)),
    st.tuples(st.sampled_from([Trial.take, Trial.take_and_put_back]), st.integers(1, 4)),
    st.tuples(st.sampled_from([Trial.withdraw, Trial.stock, Trial.wait, Trial.recover]), st.integers(0, 2)),
)


@hypothesis_settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ACTS, min_size=3, max_size=25))
def test_whatever_happens_each_is_taken_once_and_in_its_turn(
    transport: RQTransport, redis: Redis, acts: list[tuple[Callable[[Trial, Any], object], Any]]
) -> None:
    trial = Trial(transport, redis)
    for act, given_ in acts:
        act(trial, given_)
    while trial.all:
        trial.take(3)
    trial.take(3)
    assert left(redis) == set()
