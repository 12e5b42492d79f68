"""The RQ transport against a real server: what RQ reads, what it keeps, what it misses."""

from __future__ import annotations

import gc
import os
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import Mock
from uuid import uuid4

import pytest
from django.conf import settings
from django.test import override_settings
from django_rq import get_queue
from redis import Redis
from redis.exceptions import ReadOnlyError
from redis.exceptions import TimeoutError as RedisTimeoutError
from rq import Queue, SimpleWorker
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer

from handlers import job_scheduler
from handlers.conf import SYSTEM_QUEUE
from handlers.exceptions import InvalidJob, TransportUnavailable
from handlers.models import JobRecord
from handlers.rq_transport import availability, connections, lua, own_connection
from handlers.rq_transport.messages import (
    CHUNK,
    DELAYED_KEY,
    LAST_WORDS,
    WAKE_CHANNEL,
    RQTransport,
    parse_rq_job_id,
    rq_job_id,
)
from handlers.rq_transport.names import queue_key
from handlers.states import State
from handlers.transport import Message, Transport
from tests.app.jobs import Note

DUE = datetime(2031, 1, 1, tzinfo=UTC)


@pytest.fixture
def redis(redis_server: str) -> Iterator[Redis]:
    """A client of the test's own, beside the transport's."""
    with Redis.from_url(redis_server) as client:
        yield client


@pytest.fixture
def transport(redis_server: str) -> RQTransport:
    """The transport. The settings point it to the same server."""
    return RQTransport()


def message(job_id: int, queue: str = "default", run_at: datetime | None = None) -> Message:
    return Message(job_id, uuid4().hex[:16], queue, run_at)


def messages(count: int, queue: str = "default") -> list[Message]:
    return [message(job_id, queue) for job_id in range(1, count + 1)]


def queued(redis: Redis, queue: str = "default") -> list[str]:
    entries: Any = redis.lrange(queue_key(queue), 0, -1)
    return [entry.decode() for entry in entries]


def test_rq_transport_is_a_transport() -> None:
    assert isinstance(RQTransport(), Transport)


# --- ids ---


def test_rq_job_id_reads_back() -> None:
    assert parse_rq_job_id(rq_job_id(Message(17, "0123456789abcdef", "mail"))) == (17, "0123456789abcdef")


@pytest.mark.parametrize(
    "text",
    ["", "17", "17-", "-0123456789abcdef", "0-0123456789abcdef", "17-0123456789ABCDEF", "17-0123456789abcde",
     "17-0123456789abcdef\n", "x17-0123456789abcdef", "\u0661-0123456789abcdef", str(uuid4())],
)  # fmt: skip
def test_parse_rq_job_id_refuses_what_is_not_ours(text: str) -> None:
    assert parse_rq_job_id(text) is None


# --- publish ---


def test_publish_writes_the_job_that_rq_would_write(transport: RQTransport, redis: Redis) -> None:
    ours = message(17, "mail")
    transport.publish([ours])

    theirs = Queue("mail", connection=redis, serializer=JSONSerializer).enqueue(
        lua.RUN_JOB, 17, ours.token,
        job_id="by-rq", description="Job 17", job_timeout=-1, result_ttl=0, failure_ttl=lua.FAILURE_TTL_SECONDS,
    )  # fmt: skip
    read = Job.fetch(rq_job_id(ours), connection=redis, serializer=JSONSerializer)
    expected = Job.fetch(theirs.id, connection=redis, serializer=JSONSerializer)

    assert read.enqueued_at
    assert read.created_at == read.enqueued_at
    assert abs(read.enqueued_at - datetime.now(UTC)) < timedelta(minutes=1)
    read.created_at, read.enqueued_at = expected.created_at, expected.enqueued_at
    # The call is the same, in JSON without blanks.
    assert {**read.to_dict(), "data": ""} == {**expected.to_dict(), "data": ""}
    assert (read.func_name, read.args, read.kwargs) == (lua.RUN_JOB, [17, ours.token], {})
    assert read.get_status() is JobStatus.QUEUED
    assert read.key == theirs.key.replace(theirs.id, read.id)


def test_publish_keeps_the_job_in_the_small_form_that_redis_has(transport: RQTransport, redis: Redis) -> None:
    ours = message(10**12 - 1, "mail")
    transport.publish([ours])
    assert redis.object("ENCODING", Job.key_for(rq_job_id(ours))) == b"listpack"


def test_publish_keeps_the_order_within_each_queue(transport: RQTransport, redis: Redis) -> None:
    sent = [message(n, "mail" if n % 3 else "default") for n in range(1, 2 * CHUNK + 51)]
    transport.publish(sent)
    for name in ("mail", "default"):
        assert queued(redis, name) == [rq_job_id(m) for m in sent if m.queue == name]
    assert {queue.name for queue in Queue.all(connection=redis)} == {"mail", "default"}


def test_publish_at_the_front_keeps_the_order_too(
    transport: RQTransport, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("handlers.rq_transport.messages.CHUNK", 2)
    waits = Message(9, f"{9:016x}", "mail")
    first = [Message(n, f"{n:016x}", "mail", priority=5 * (n == 2), enqueued_at=DUE) for n in (1, 2, 3, 4, 5)]
    transport.publish([waits])
    transport.publish(first, front=True)
    assert redis.lrange(queue_key("mail"), 0, -1) == [rq_job_id(m).encode() for m in (*first, waits)]


def test_publish_survives_a_forgotten_script(transport: RQTransport, redis: Redis) -> None:
    transport.publish([message(1)])
    redis.script_flush()
    transport.publish([message(2)])
    assert len(queued(redis)) == 2


def test_publish_ends_being_delayed(transport: RQTransport, redis: Redis) -> None:
    delayed = message(17, run_at=DUE)
    transport.publish_delayed([delayed])
    transport.publish([delayed])
    assert redis.zcard(DELAYED_KEY) == 0
    assert queued(redis) == [rq_job_id(delayed)]
    assert Job.fetch(rq_job_id(delayed), connection=redis).get_status() is JobStatus.QUEUED


def test_publish_and_others_do_nothing_without_messages(transport: RQTransport, redis: Redis) -> None:
    transport.publish([])
    transport.publish_delayed([])
    transport.withdraw([])
    assert transport.missing("default", []) == []
    assert redis.dbsize() == 0


@pytest.mark.parametrize(
    "bad",
    [Message(17, "0123456789abcde", "mail"), Message(17, "0123456789abcde'", "mail"), Message(0, "0" * 16, "mail"),
     *(Message(17, "0" * 16, queue) for queue in ("", "Mail", "a:b", "a" * 65))],
)  # fmt: skip
def test_publish_refuses_a_message_that_cannot_be_ours(transport: RQTransport, redis: Redis, bad: Message) -> None:
    with pytest.raises(InvalidJob):
        transport.publish([message(1), bad])
    assert redis.dbsize() == 0


def test_a_stock_worker_passes_over_withdrawn_messages(transport: RQTransport, redis: Redis) -> None:
    sent = messages(3)
    transport.publish(sent)
    transport.withdraw(sent)
    queue = Queue("default", connection=redis, serializer=JSONSerializer)
    worker = SimpleWorker([queue], connection=redis, serializer=JSONSerializer)
    worker.work(burst=True, logging_level="WARNING")
    worker.refresh()  # RQ counts in Redis only
    assert (worker.successful_job_count, worker.failed_job_count) == (0, 0)
    assert queue.count == 0


@pytest.mark.django_db(transaction=True)
def test_a_stock_worker_runs_a_message_and_leaves_nothing_in_redis(
    redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_NOTES", str(tmp_path / "notes"))
    job_id = job_scheduler.enqueue(Note("from a stock worker"))
    worker = SimpleWorker([get_queue("default")], connection=redis, serializer="json")
    worker.work(burst=True, logging_level="WARNING")
    worker.refresh()
    assert (tmp_path / "notes").read_text() == "from a stock worker\n"
    assert JobRecord.objects.get(pk=job_id).state == State.SUCCEEDED
    assert (worker.successful_job_count, worker.failed_job_count) == (1, 0)
    assert list(redis.scan_iter(Job.key_for("*"))) == []


# --- publish_delayed ---


def test_publish_delayed_keeps_fractions_of_a_second(transport: RQTransport, redis: Redis) -> None:
    delayed = message(17, "mail", DUE + timedelta(microseconds=123_457))
    transport.publish_delayed([delayed])
    assert redis.zscore(DELAYED_KEY, rq_job_id(delayed)) == pytest.approx(DUE.timestamp() + 0.123457, abs=1e-6)
    job = Job.fetch(rq_job_id(delayed), connection=redis, serializer=JSONSerializer)
    assert (job.get_status(), job.origin, job.enqueued_at) == (JobStatus.SCHEDULED, "mail", None)


def test_publish_delayed_wakes_only_for_what_comes_first(transport: RQTransport, redis: Redis) -> None:
    redis.zadd(DELAYED_KEY, {"another-program": 1.0})  # overdue, and not ours to move
    heard = redis.pubsub(ignore_subscribe_messages=True)
    heard.subscribe(WAKE_CHANNEL)
    heard.get_message(timeout=1)

    def wakes(*due: datetime) -> bool:
        transport.publish_delayed([message(n + 1, run_at=at) for n, at in enumerate(due)])
        return heard.get_message(timeout=1 if due[0] < DUE else 0.1) is not None

    hour = timedelta(hours=1)
    try:
        transport.publish_delayed([message(1, run_at=DUE)])
        assert heard.get_message(timeout=1)
        assert not wakes(DUE + hour, DUE + 2 * hour)
        assert wakes(DUE - hour)
        assert not wakes(DUE)
        assert wakes(DUE - 2 * hour, DUE - 3 * hour)
    finally:
        heard.close()


@pytest.mark.parametrize("run_at", [None, datetime(2031, 1, 1)])  # noqa: DTZ001
def test_publish_delayed_refuses_a_job_without_an_aware_time(
    transport: RQTransport, redis: Redis, run_at: datetime | None
) -> None:
    with pytest.raises(InvalidJob, match="run_at"):
        transport.publish_delayed([message(1, run_at=run_at)])
    assert redis.dbsize() == 0


# --- withdraw ---


def test_withdraw_takes_back_delayed_and_queued(transport: RQTransport, redis: Redis) -> None:
    delayed, now, kept = message(1, run_at=DUE), message(2), message(3)
    transport.publish_delayed([delayed])
    transport.publish([now, kept])
    transport.withdraw([delayed, now])
    assert redis.zcard(DELAYED_KEY) == 0
    assert [Job.exists(rq_job_id(m), redis) for m in (delayed, now, kept)] == [False, False, True]


# --- missing ---


def test_missing_finds_all_after_a_flush(transport: RQTransport, redis: Redis) -> None:
    sent = messages(1_200)
    transport.publish(sent)
    assert transport.missing("default", sent) == []
    redis.flushall()
    assert transport.missing("default", sent) == sent


def test_missing_finds_the_one_that_was_lost(transport: RQTransport, redis: Redis) -> None:
    sent = messages(500)
    transport.publish(sent)
    redis.lrem(queue_key("default"), 1, rq_job_id(sent[123]))
    assert transport.missing("default", sent) == [sent[123]]


def test_missing_looks_behind_the_head_of_a_long_queue(transport: RQTransport, redis: Redis) -> None:
    old, lost = messages(2), message(3)
    transport.publish(messages(5_000))
    transport.publish(old)  # published again, so at the end now
    assert transport.missing("default", [*old, lost]) == [lost]


def test_missing_knows_the_lost_by_their_rq_jobs_without_reading_a_long_queue(
    transport: RQTransport, redis: Redis
) -> None:
    sent, lost = messages(1_000), messages(50)
    transport.publish(sent)
    redis.config_resetstat()
    assert transport.missing("default", lost) == lost
    stats: Any = redis.info("commandstats")
    assert stats["cmdstat_lrange"]["calls"] == 1  # the head


def test_missing_reads_a_long_queue_where_redis_evicts_rq_jobs(transport: RQTransport, redis: Redis) -> None:
    sent, lost = messages(1_000), message(2_000)
    transport.publish(sent)
    redis.unlink(*(Job.key_for(rq_job_id(one)) for one in sent))
    assert transport.missing("default", [*sent[600:650], lost]) == [lost]


def test_missing_looks_through_the_whole_of_a_long_queue_in_steps(
    transport: RQTransport, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("handlers.rq_transport.messages.STEP", 700)
    sent, lost = messages(5_000), messages(50)
    transport.publish(sent)
    asked = [*sent[2_400:2_600], *lost, *sent[-3:]]
    assert transport.missing("default", asked) == lost


# --- a queue that is shared ---


def test_foreign_jobs_on_a_shared_queue_stay(transport: RQTransport, redis: Redis) -> None:
    queue = Queue("default", connection=redis)
    first = queue.enqueue("os.getpid")
    sent = messages(2)
    transport.publish(sent)
    last = queue.enqueue("os.getpid")
    assert transport.missing("default", sent) == []
    transport.withdraw(sent)
    assert queued(redis) == [first.id, *map(rq_job_id, sent), last.id]
    assert first.get_status() is last.get_status() is JobStatus.QUEUED


# --- connections ---


def test_configure_queues_gives_django_rq_each_queue(redis_server: str) -> None:
    own = {"mail": {"URL": "redis://elsewhere/3", "ASYNC": False}}
    jobs = settings.JOBS | {"REDIS_URL": redis_server, "QUEUES": ["default", "mail", "slow"]}
    with override_settings(JOBS=jobs, RQ_QUEUES=own):
        connections.configure_queues()
        assert settings.RQ_QUEUES["mail"] == {"URL": "redis://elsewhere/3", "ASYNC": False}
        assert {"default", "slow", SYSTEM_QUEUE} <= set(settings.RQ_QUEUES)
        queue = get_queue("slow")
        assert queue.serializer is JSONSerializer
        with queue.connection as client:
            assert client.ping()


def test_configure_queues_takes_sentinel_from_the_default_queue() -> None:
    sentinel = {"SENTINELS": [("s1", 26379)], "MASTER_NAME": "jobs", "DB": 2, "SOCKET_TIMEOUT": 3}
    own = {"default": {**sentinel, "DEFAULT_TIMEOUT": 7}}
    with override_settings(JOBS={"QUEUES": ["default", "slow"]}, RQ_QUEUES=own):
        connections.configure_queues()
        assert settings.RQ_QUEUES["slow"] == {**sentinel, "SERIALIZER": "json"}
        client = connections.redis_connection()
        assert client.connection_pool.connection_kwargs["socket_timeout"] == 3


def test_redis_connection_is_one_per_process(transport: RQTransport) -> None:
    first = connections.redis_connection()
    assert connections.redis_connection() is first
    first.ping()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            ours = connections.redis_connection()
            os.write(writer, b"new" if ours is not first and ours.ping() else b"same")
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 10) == b"new"
    os.close(reader)
    os.close(writer)
    assert first.ping()
    connections.reset_connections()
    assert connections.redis_connection() is not first


def test_own_connection_from_before_an_outage_is_not_used_again(transport: RQTransport) -> None:
    def number() -> Any:
        return own_connection.own_connection().client_id()

    before = number()
    assert number() == before
    availability.note(RedisTimeoutError("as another thread met it"))
    assert number() != before, "it may lead to a server that is frozen, or no longer the master"


def test_own_connection_is_one_per_thread_and_goes_back_to_the_pool(transport: RQTransport) -> None:
    first = own_connection.own_connection()
    assert own_connection.own_connection() is first
    with ThreadPoolExecutor(1) as pool:
        number = pool.submit(lambda: own_connection.own_connection().client_id()).result()
    assert number != first.client_id()
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: own_connection.own_connection().client_id()).result() == number
    connections.reset_connections()
    assert own_connection.own_connection() is not first


def test_own_connections_leave_half_of_the_pool_to_the_others(
    transport: RQTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = connections.redis_connection()
    first = own_connection.own_connection()
    monkeypatch.setattr(shared.connection_pool, "max_connections", 2)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(own_connection.own_connection).result() is shared
    assert own_connection.own_connection() is first
    assert shared.ping()


def test_own_connection_is_made_anew_when_the_server_closed_it(transport: RQTransport, redis: Redis) -> None:
    sent = message(1)
    transport.publish([message(2)])
    redis.client_kill_filter(_id=str(own_connection.own_connection().client_id()))
    transport.publish([sent])
    assert transport.missing("default", [sent]) == []


def test_own_connection_leaves_no_answer_behind_when_it_is_interrupted(
    transport: RQTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = own_connection.own_connection()
    with monkeypatch.context() as patch:
        patch.setattr(type(own), "parse_response", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            own.echo("first")
    assert own.echo("second") == b"second"


# --- without waiting ---


@pytest.fixture
def alive(transport: RQTransport, monkeypatch: pytest.MonkeyPatch) -> own_connection.OwnRedis:
    """This thread's own connection, over which Redis has just answered, however slow the test."""
    monkeypatch.setattr(own_connection, "ALIVE_SECONDS", 60.0)
    transport.publish([message(1_000, queue="other")])
    client = own_connection.own_connection()
    assert isinstance(client, own_connection.OwnRedis)
    return client


def answers_read(client: own_connection.OwnRedis, monkeypatch: pytest.MonkeyPatch) -> Mock:
    """A spy on the reading of answers."""
    spy = Mock(side_effect=client.parse_response)
    monkeypatch.setattr(client, "parse_response", spy)
    return spy


def test_publish_without_waiting_reads_each_answer_before_the_next(
    transport: RQTransport, alive: own_connection.OwnRedis, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = answers_read(alive, monkeypatch)
    for number, one in enumerate(sent := messages(3)):
        transport.publish([one], wait=False)
        assert read.call_count == number
    assert alive.echo("x") == b"x"  # its own answer, and every one before it has been read
    assert queued(redis) == [rq_job_id(one) for one in sent]


def test_publish_without_waiting_waits_after_a_pause(
    transport: RQTransport, alive: own_connection.OwnRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_connection, "ALIVE_SECONDS", 0.0)
    read = answers_read(alive, monkeypatch)
    transport.publish([message(1)], wait=False)
    assert read.call_count == 1


def test_publish_without_waiting_survives_a_connection_that_the_server_closes(
    transport: RQTransport, alive: own_connection.OwnRedis, redis: Redis
) -> None:
    first, second = messages(2)
    redis.client_kill_filter(_id=str(alive.client_id()))
    transport.publish([first], wait=False)  # into nowhere, perhaps
    transport.publish([second], wait=False)
    assert transport.missing("default", [first, second]) == []


def test_publish_without_waiting_survives_that_redis_forgets_its_scripts(
    transport: RQTransport, alive: own_connection.OwnRedis, redis: Redis
) -> None:
    first, second = messages(2)
    redis.script_flush()
    transport.publish([first], wait=False)
    transport.publish([second])
    assert queued(redis) == [rq_job_id(first), rq_job_id(second)]


def test_publish_without_waiting_tells_of_one_that_redis_refuses_and_sends_the_next(
    transport: RQTransport, alive: own_connection.OwnRedis, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    redis.set(queue_key("mail"), "not a list")
    transport.publish([message(1, "mail")], wait=False)
    transport.publish([message(2)], wait=False)
    assert alive.ping()
    assert len(queued(redis)) == 1
    assert "did not arrive" in caplog.text


def test_publish_without_waiting_says_unavailable_with_the_next_call(
    transport: RQTransport, alive: own_connection.OwnRedis, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    redis.replicaof("127.0.0.1", "1")
    try:
        transport.publish([message(1)], wait=False)
        with pytest.raises(TransportUnavailable):
            transport.publish([message(2)], wait=False)
        with pytest.raises(TransportUnavailable) as known:
            transport.publish([message(2)], wait=False)
        assert not known.value.is_news
        availability.forget()
        transport.publish([message(3)], wait=False)
        with pytest.raises(ReadOnlyError):  # one of redis-py's, as whoever uses the client itself expects
            alive.ping()
    finally:
        redis.replicaof("NO", "ONE")
    assert caplog.text.count("did not arrive") == 2


def test_own_connection_ends_with_its_thread_though_an_answer_is_owed(
    transport: RQTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_connection, "ALIVE_SECONDS", 60.0)
    gc.disable()  # nothing but the last reference may be needed
    try:
        with ThreadPoolExecutor(1) as pool:
            for one in messages(2):
                pool.submit(transport.publish, [one], wait=False).result()
            client = weakref.ref(pool.submit(own_connection.own_connection).result())
        assert client() is None
    finally:
        gc.enable()


def test_publish_without_waiting_leaves_no_answer_behind_when_it_is_interrupted(
    transport: RQTransport, alive: own_connection.OwnRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection: Any = alive.connection
    send = connection.send_command

    def interrupted(*args: Any) -> None:
        send(*args)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(connection, "send_command", interrupted)
        with pytest.raises(KeyboardInterrupt):
            transport.publish([message(1)], wait=False)
    assert alive.echo("mine") == b"mine"


def test_own_connection_takes_no_answer_back_to_the_pool(
    transport: RQTransport, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_connection, "ALIVE_SECONDS", 60.0)
    sent = messages(2)
    with ThreadPoolExecutor(1) as pool:
        for one in sent:
            pool.submit(transport.publish, [one], wait=False).result()
    shared = connections.redis_connection()
    assert [shared.echo(str(number)) for number in range(3)] == [b"0", b"1", b"2"]
    assert transport.missing("default", sent) == []


def test_transport_says_unavailable_when_redis_is_away(transport: RQTransport) -> None:
    with override_settings(JOBS={"REDIS_URL": "unix:///nowhere/redis.sock"}):
        for call in (
            lambda: transport.publish(messages(1)),
            lambda: transport.publish_delayed([message(1, run_at=DUE)]),
            lambda: transport.withdraw(messages(1)),
            lambda: transport.missing("default", messages(1)),
        ):
            with pytest.raises(TransportUnavailable, match="Redis is away"):
                call()
        assert "Redis is away" in availability.silence()


def test_transport_says_unavailable_without_configuration(transport: RQTransport) -> None:
    with override_settings(JOBS={}, RQ_QUEUES={}), pytest.raises(TransportUnavailable, match="REDIS_URL"):
        transport.publish(messages(1))


def test_transport_says_unavailable_on_a_read_only_replica(transport: RQTransport, redis: Redis) -> None:
    transport.publish([message(1)])
    redis.replicaof("127.0.0.1", "1")
    try:
        with pytest.raises(TransportUnavailable):
            transport.publish([message(2)])
    finally:
        redis.replicaof("NO", "ONE")


@pytest.mark.parametrize(("told", "ran"), [("[7, [6, 7]]", {7}), ("[0, [6]]", set()), ("[[7, 8], [6, 7, 8]]", {7, 8})])
def test_last_words_are_read_as_either_release_has_left_them(
    transport: RQTransport, redis: Redis, told: str, ran: set[int]
) -> None:
    redis.set(f"{LAST_WORDS}w", told)
    assert transport.last_words(["w"])["w"].running == ran
