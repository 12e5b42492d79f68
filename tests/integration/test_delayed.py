"""The scheduler against a real server and database: exact, never early, never twice, and hard to stop.

Recovery is off here, because it would hide a promotion that did not push. Its own tests are elsewhere.
"""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from django.conf import settings
from django.db import OperationalError, connection, connections
from django.test import override_settings
from redis import Redis
from rq.job import Job

from handlers import execution, lifecycle
from handlers.conf import jobs_settings
from handlers.exceptions import TransportUnavailable
from handlers.lifecycle import NewJob
from handlers.models import JobRecord, WorkerProcess
from handlers.recovery import Duty, Recovery
from handlers.rq_transport import delayed, embedded
from handlers.rq_transport.delayed import DelayedScheduler
from handlers.rq_transport.messages import DELAYED_KEY, WAKE_CHANNEL, RQTransport, rq_job_id
from handlers.rq_transport.names import queue_key
from handlers.transport import Message
from tests import servers
from tests.processes import PATIENCE_SECONDS, unhurried

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]

FOREVER = {"IDLE_SECONDS": 600.0, "REGISTER_SECONDS": 600.0, "SWEEP_SECONDS": 600.0}


@pytest.fixture
def redis(redis_server: str) -> Iterator[Redis]:
    """A client of the test's own, beside the scheduler's."""
    with client(redis_server) as connected:
        yield connected


@pytest.fixture(autouse=True)
def _no_recovery(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Recovery, "tick", lambda self, agenda, each: 0)


def client(url: str) -> Redis:
    return Redis.from_url(url, socket_timeout=2 * PATIENCE_SECONDS)


@contextmanager
def running(*schedulers: DelayedScheduler) -> Iterator[None]:
    """The schedulers at work, each in a thread."""

    def work(scheduler: DelayedScheduler) -> None:
        try:
            scheduler.run()
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work, args=[scheduler]) for scheduler in schedulers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for scheduler in schedulers:
            scheduler.stop()
        for thread in threads:
            thread.join(PATIENCE_SECONDS)
        assert not any(thread.is_alive() for thread in threads)


def until(condition: Callable[[], object]) -> None:
    """Wait for something that announces itself nowhere."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def schedule(*due: datetime, queue: str = "default", announce: bool = True) -> list[Message]:
    """Scheduled jobs, and what the transport is told of them."""
    messages = lifecycle.create([NewJob("tests.Nothing", b"{}", queue, at) for at in due])
    if announce:
        RQTransport().publish_delayed(messages)
    return messages


def arrivals(redis: Redis, count: int, queue: str = "default") -> list[str]:
    """The next ``count`` messages of the queue, waited for."""
    found = []
    for _ in range(count):
        entry = cast("list[bytes] | None", redis.blpop([queue_key(queue)], timeout=PATIENCE_SECONDS))
        assert entry is not None, "no message came"
        found.append(entry[1].decode())
    return found


def ids(messages: Sequence[Message]) -> list[str]:
    return [rq_job_id(message) for message in messages]


def soon(seconds: float = 0.0) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


# --- due ---


def test_scheduler_moves_each_job_when_due_and_never_early(redis: Redis) -> None:
    lateness: list[float] = []
    with running(DelayedScheduler()):
        messages = schedule(*(soon(0.05 + n * 0.037) for n in range(20)))
        due = {rq_job_id(message): message.run_at for message in messages}
        for _ in messages:
            [arrived] = arrivals(redis, 1)
            at = due.pop(arrived)
            assert at is not None
            lateness.append((datetime.now(UTC) - at).total_seconds())
    assert min(lateness) >= 0
    assert sorted(lateness)[len(lateness) // 2] < unhurried(0.2)
    assert redis.zcard(DELAYED_KEY) == 0


def test_scheduler_leaves_a_job_that_only_redis_thinks_is_due(redis: Redis) -> None:
    [message] = schedule(soon(3600))
    redis.zadd(DELAYED_KEY, {rq_job_id(message): 1.0})
    assert DelayedScheduler().enqueue_jobs() == []
    assert redis.llen(queue_key("default")) == 0
    assert JobRecord.objects.get(pk=message.job_id).state == "scheduled"


def test_scheduler_moves_what_redis_forgot(redis: Redis) -> None:
    messages = schedule(soon(0.3), soon(0.4))
    redis.flushall()
    with running(DelayedScheduler()):
        assert arrivals(redis, 2) == ids(messages)
        assert [Job.exists(name, redis) for name in ids(messages)] == [True, True]


def test_scheduler_wakes_for_a_sooner_job(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in FOREVER.items():
        monkeypatch.setattr(delayed, name, seconds)
    waiting = threading.Event()
    agenda = lifecycle.agenda

    def spy() -> lifecycle.Agenda:
        found = agenda()
        if found.due_in is not None and found.due_in > 60:
            waiting.set()
        return found

    monkeypatch.setattr(lifecycle, "agenda", spy)
    with override_settings(JOBS=settings.JOBS | {"RECOVERY_SECONDS": 600.0}), running(DelayedScheduler()):
        schedule(soon(3600))
        assert waiting.wait(PATIENCE_SECONDS)
        sooner = schedule(soon(0.2))
        assert arrivals(redis, 1) == ids(sooner)


def test_two_schedulers_move_many_jobs_once_each(redis: Redis) -> None:
    messages = schedule(*[soon(-1)] * 3_000)
    with running(DelayedScheduler(), DelayedScheduler()):
        arrived = arrivals(redis, len(messages))
        until(lambda: lifecycle.agenda().due_in is None)
    assert sorted(arrived) == sorted(ids(messages))
    assert redis.llen(queue_key("default")) == redis.zcard(DELAYED_KEY) == 0


def test_run_with_burst_ends_when_nothing_is_due(redis: Redis) -> None:
    messages = schedule(*[soon(-1)] * 1_100, soon(3600))
    DelayedScheduler().run(burst=True)
    assert redis.llen(queue_key("default")) == len(messages) - 1
    assert redis.zcard(DELAYED_KEY) == 1


# --- other programs, stale members, poison ---


def test_scheduler_asked_to_stop_in_its_first_promotion_stops(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    scheduler, publish = DelayedScheduler(), RQTransport.publish

    def stop(transport: RQTransport, messages: Sequence[Message]) -> None:
        publish(transport, messages)
        if messages:
            scheduler.stop()

    messages = schedule(soon(-1))
    monkeypatch.setattr(RQTransport, "publish", stop)
    scheduler.run()
    assert arrivals(redis, 1) == ids(messages)


def test_scheduler_erases_chunk_after_chunk_what_is_past_its_retention(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunks = [True, True, False]
    done = threading.Event()

    def age_out() -> bool:
        more = chunks.pop(0)
        if not chunks:
            done.set()
        return more

    monkeypatch.setattr("handlers.recovery.age_out", age_out)
    with running(DelayedScheduler()):  # which looks once a minute when there is nothing
        assert done.wait(PATIENCE_SECONDS)


def test_sweep_drops_only_what_is_stale_and_ours(redis: Redis) -> None:
    scheduled, gone = schedule(soon(3600), soon(3600))
    JobRecord.objects.filter(pk=gone.job_id).delete()
    outdated = scheduled._replace(token="0" * 16)
    RQTransport().publish_delayed([outdated])
    redis.zadd(DELAYED_KEY, dict.fromkeys([*ids([scheduled, gone, outdated]), "another-program"], 1.0))
    assert DelayedScheduler().sweep() == 2
    assert set(cast("list[bytes]", redis.zrange(DELAYED_KEY, 0, -1))) == {
        b"another-program",
        rq_job_id(scheduled).encode(),
    }
    assert [Job.exists(name, redis) for name in ids([scheduled, gone, outdated])] == [True, False, False]


def test_sweep_gets_past_many_members_of_other_programs(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delayed, "SWEEP_CHUNK", 10)
    redis.zadd(DELAYED_KEY, {f"another-program-{n}": 1.0 for n in range(25)})
    redis.zadd(DELAYED_KEY, {"17-0123456789abcdef": 2.0})
    scheduler = DelayedScheduler()
    assert sum(scheduler.sweep() for _ in range(3)) == 1
    assert redis.zcard(DELAYED_KEY) == 25


def test_scheduler_goes_on_past_a_job_that_cannot_be_pushed(redis: Redis, caplog: pytest.LogCaptureFixture) -> None:
    at = soon(-1)
    poison = schedule(at, queue="No Queue!", announce=False)
    wrong_type = schedule(at, queue="broken")
    good = schedule(at, at)
    redis.set(queue_key("broken"), "not a list")
    with running(DelayedScheduler()):
        assert arrivals(redis, 2) == ids(good)
        assert arrivals(redis, 1) if schedule(soon(0.1)) else None
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(said) == 2
    for [message] in (poison, wrong_type):
        assert any(f"job {message.job_id} " in line for line in said)


def test_scheduler_goes_on_when_recovery_breaks(
    redis: Redis, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> int:
        raise ZeroDivisionError("a mistake")

    monkeypatch.setattr(Recovery, "tick", lambda self, agenda, each: each(Duty("recovery", broken)))
    with override_settings(JOBS=settings.JOBS | {"RECOVERY_SECONDS": 0.01}), running(DelayedScheduler()):
        assert arrivals(redis, 2) if schedule(soon(0.1), soon(0.2)) else None
    assert [r.getMessage() for r in caplog.records if "recovery" in r.getMessage()] == [
        "recovery: a mistake; trying again"
    ]


# --- outages ---


def test_scheduler_without_the_table_of_recurring_jobs_says_so_and_does_the_rest(redis: Redis) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE jobs_recurringjob RENAME TO aside")
    try:
        with running(DelayedScheduler()):
            until(lambda: "recurring jobs to come" in {each["what"] for each in troubles()})
            [message] = schedule(soon())
            assert arrivals(redis, 1) == ids([message])
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE aside RENAME TO jobs_recurringjob")


def troubles() -> list[dict[str, str]]:
    """What schedulers say that does not work."""
    return [trouble for row in WorkerProcess.objects.values_list("troubles", flat=True) for trouble in row or ()]


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[str], int]:
    """How many lines of the scheduler's log contain a text."""
    caplog.set_level(logging.INFO, delayed.__name__)
    return lambda text: sum(text in record.getMessage() for record in caplog.records)


def test_scheduler_waits_for_redis_and_survives_its_restart(said: Callable[[str], int], tmp_path: Path) -> None:
    folder = Path(settings.DATA) / tmp_path.name  # a socket's path must be short
    url = embedded.find_url(folder)

    def said_times(text: str, times: int) -> bool:
        return said(text) == times

    with override_settings(JOBS=settings.JOBS | {"REDIS_URL": url}), running(DelayedScheduler()):
        until(lambda: said("queue server: Redis is away"))
        for restart in (1, 2):
            messages = schedule(soon(-1), announce=False)
            with servers.valkey(folder), client(url) as restarted:
                assert arrivals(restarted, 1) == ids(messages)
                until(partial(said_times, "queue server: works again", restart))
            until(partial(said_times, "queue server: Redis is away", restart + 1))
        assert JobRecord.objects.filter(state="enqueued").count() == 2


def test_scheduler_pushes_what_it_promoted_just_before_redis_went(
    redis: Redis, monkeypatch: pytest.MonkeyPatch, said: Callable[[str], int]
) -> None:
    publish, failures = RQTransport.publish, [TransportUnavailable("gone"), TransportUnavailable("gone")]

    def flaky(self: RQTransport, messages: Sequence[Message]) -> None:
        if messages and failures:
            raise failures.pop()
        publish(self, messages)

    messages = schedule(soon(-1), soon(-1))
    monkeypatch.setattr(RQTransport, "publish", flaky)
    with running(DelayedScheduler()):
        assert arrivals(redis, 2) == ids(messages)
        until(lambda: said("queue server: works again"))
    assert said("queue server: gone") == 1


def test_scheduler_survives_the_database_away(
    redis: Redis, monkeypatch: pytest.MonkeyPatch, said: Callable[[str], int]
) -> None:
    promote_due, failures = lifecycle.promote_due, [OperationalError("server\nclosed")] * 4

    def flaky(limit: int = 500) -> list[Message]:
        if failures:
            raise failures.pop()
        return promote_due(limit=limit)

    monkeypatch.setattr(lifecycle, "promote_due", flaky)
    monkeypatch.setattr(execution, "database_answers", lambda: not failures)
    messages = schedule(soon(-1))
    with running(DelayedScheduler()):
        assert arrivals(redis, 1) == ids(messages)
        until(lambda: said("database: works again"))
    assert said("database: server closed; trying again") == 1


# --- what RQ's tools see ---


def test_scheduler_registers_again_after_a_flush_and_signs_off(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delayed, "REGISTER_SECONDS", 0.05)
    scheduler = DelayedScheduler()
    with running(scheduler):
        until(lambda: redis.hexists(scheduler.key, "birth"))
        redis.flushall()
        until(lambda: redis.hexists(scheduler.key, "birth"))
        assert 0 < redis.ttl(scheduler.key) <= 60
    assert redis.hexists(scheduler.key, "death")


def test_delayed_jobs_are_listed_by_rq_scheduler(redis: Redis) -> None:
    messages = schedule(soon(3600), soon(7200))
    scheduler = DelayedScheduler()
    assert [job.id for job in scheduler.get_jobs()] == ids(messages)
    assert [job.args for job in scheduler.get_jobs()] == [[m.job_id, m.token] for m in messages]
    assert rq_job_id(messages[0]) in scheduler


@pytest.mark.parametrize(
    "verb", ["enqueue_at", "enqueue_in", "schedule", "cron", "change_execution_time", "enqueue_job"]
)
def test_scheduler_refuses_jobs_without_a_record(redis: Redis, verb: str) -> None:
    with pytest.raises(NotImplementedError, match=r"job_scheduler\.schedule"):
        getattr(DelayedScheduler(), verb)(soon(), print)


# --- the command ---


@contextmanager
def command(env: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """``manage.py scheduler``, ended at the latest with the test."""
    process = subprocess.Popen(
        [sys.executable, str(Path(settings.BASE_DIR) / "manage.py"), "scheduler"],
        env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        with process:
            yield process
            process.kill()
    finally:
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_scheduler_command_stops_at_once_when_asked(redis: Redis, child_env: dict[str, str], number: int) -> None:
    with command(child_env) as process:
        until(lambda: cast("Any", redis.pubsub_numsub(WAKE_CHANNEL))[0][1] or process.poll() is not None)
        messages = schedule(soon(-1))
        assert arrivals(redis, 1) == ids(messages)
        process.send_signal(number)
        asked_at = time.monotonic()
        assert process.wait(PATIENCE_SECONDS) == 0, process.stdout and process.stdout.read()
        grace = jobs_settings().shutdown_grace_seconds
        assert time.monotonic() - asked_at < unhurried(grace / 2, below=grace), "it has nothing to wait for"
    assert any(redis.hexists(key, "death") for key in redis.scan_iter("rq:scheduler_instance:*"))


def test_scheduler_command_says_that_it_waits_and_still_stops(child_env: dict[str, str]) -> None:
    with command(child_env | {"REDIS_URL": "unix:///nowhere/redis.sock"}) as process:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        assert any("queue server: Redis is away" in line for line in lines)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) == 0
