"""What killed workers leave in Redis goes away, and nothing else does."""

from __future__ import annotations

from typing import Any

import pytest
from redis import Redis
from rq import Queue, SimpleWorker, Worker
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.worker_registration import REDIS_WORKER_KEYS, WORKERS_BY_QUEUE_KEY, get_keys
from rq_scheduler import Scheduler

from handlers import job_scheduler, recovery
from handlers.models import JobRecord
from handlers.rq_transport import leftovers
from handlers.rq_transport.leftovers import Leftovers
from handlers.rq_transport.lua import FAILURE_TTL_SECONDS
from handlers.rq_transport.messages import RQTransport, rq_job_id
from handlers.transport import Message
from tests import running
from tests.app.jobs import Note, Sleep
from tests.faults.conftest import Start
from tests.faults.records import Notes, wait_state
from tests.processes import wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis, pytest.mark.once]

BY_QUEUE = WORKERS_BY_QUEUE_KEY % "default"


def names(redis: Redis) -> list[set[str]]:
    """The workers' keys in the set of all and in that of one queue."""
    return [get_keys(connection=redis), get_keys(Queue("default", connection=redis))]


def clear(redis: Redis) -> int:
    """One whole pass; how many chunks it took."""
    some, chunks = Leftovers(redis), 1
    while some.clear():
        chunks += 1
    return chunks


def publish(*messages: Message) -> list[str]:
    """Publish messages whatever their rows say; the keys of their RQ jobs."""
    RQTransport().publish(messages)
    return [Job.key_for(rq_job_id(message)) for message in messages]


def stale(count: int, *, queue: str = "default") -> list[Message]:
    """Messages of jobs that are no more."""
    return [Message(10**9 + number, f"{number:016x}", queue) for number in range(count)]


def test_names_and_messages_of_killed_workers_go_and_those_of_the_living_stay(
    start: Start, start_worker: Start, start_scheduler: Start, notes: Notes, redis: Redis
) -> None:
    worker = start_worker("--processes", "1")
    stock = start("rqworker", "default", "--serializer", "json")
    wait_for("both wait", lambda: [w.get_state() for w in Worker.all(connection=redis)] == ["idle"] * 2)
    stock.kill_all()
    job = int(job_scheduler.enqueue(Sleep(60, "it")))
    taken = Job.key_for(rq_job_id(running.message(job)))
    notes.wait("start it")
    worker.kill_all()
    assert redis.ttl(taken) == -1, "the RQ job of what was waited for goes with the next look at the queues only"
    everybody, at_the_queue = names(redis)
    assert len(everybody) == 2
    assert everybody == at_the_queue
    for key in everybody:
        redis.pexpire(key, 1)  # in place of eight minutes
    wait_for("RQ's records of them end", lambda: not redis.exists(*everybody))
    running.expire(job)
    recovery.bring_back()
    job_scheduler.delete(job)

    start_worker("--processes", "1")
    (living,) = wait_for("one lives", lambda: Worker.all(connection=redis))
    start_scheduler()
    wait_for("the dead are forgotten", lambda: names(redis) == [{living.key}] * 2)
    wait_for("the message is gone", lambda: not redis.exists(taken))
    wait_state("succeeded", job_scheduler.enqueue(Note("afterwards")))


def test_messages_that_are_still_good_for_something_stay(redis: Redis) -> None:
    waiting, running_job, outdated, ended = (int(job_scheduler.enqueue(Note(str(n)))) for n in range(4))
    later = int(job_scheduler.enqueue(Note("later"), delay=running.LEASE))
    keys = {job: Job.key_for(rq_job_id(running.message(job))) for job in (waiting, running_job, outdated, ended, later)}
    running.claim(running_job)
    running.run(ended)
    JobRecord.objects.filter(pk=outdated).update(token="0" * 16)
    (gone,) = publish(*stale(1))
    (fleeting,) = publish(stale(2)[1])
    redis.expire(fleeting, FAILURE_TTL_SECONDS)
    clear(redis)
    assert {job for job, key in keys.items() if redis.exists(key)} == {waiting, running_job, later}
    assert (redis.exists(gone), redis.exists(fleeting)) == (0, 1)


def test_delayed_jobs_that_earlier_releases_put_beside_those_of_rq_scheduler_leave(redis: Redis) -> None:
    redis.zadd(Scheduler.scheduled_jobs_key, {f"theirs-{n}": n for n in range(1_000)})
    redis.zadd(Scheduler.scheduled_jobs_key, {rq_job_id(each): 2.0 for each in stale(5)})
    clear(redis)
    assert redis.zcard(Scheduler.scheduled_jobs_key) == 1_000


def test_what_others_keep_in_the_same_redis_stays(redis: Redis) -> None:
    Queue("default", connection=redis, serializer=JSONSerializer).enqueue("time.sleep", 0)
    redis.zadd(Scheduler.scheduled_jobs_key, {"theirs": 1.0})
    publish(*stale(3, queue="of-another-installation"))
    worker = SimpleWorker(["default"], connection=redis)
    worker.register_birth()
    for key in ("rq:job:17-0123456789abcdeg", "rq:job:0-0123456789abcdef", "rq:jobs", "app:job:17-0123456789abcdef"):
        redis.hset(key, "theirs", 1)
    redis.sadd("app:workers", "app:worker:gone")
    before = {key: redis.dump(key) for key in redis.scan_iter()}
    clear(redis)
    assert {key: redis.dump(key) for key in redis.scan_iter()} == before


def test_a_worker_that_is_born_while_names_are_looked_through_stays(redis_server: str, redis: Redis) -> None:
    class Meanwhile(Redis):
        """A worker comes to life after each look at a set, under a name that stood in it."""

        def sscan(self, *args: Any, **options: Any) -> Any:
            found = super().sscan(*args, **options)
            if redis.exists(worker.key) == 0:
                worker.register_birth()
            return found

    worker = SimpleWorker(["default"], name="reborn", connection=redis)
    for key in (REDIS_WORKER_KEYS, BY_QUEUE):
        redis.sadd(key, worker.key, "rq:worker:gone")
    with Meanwhile.from_url(redis_server) as client:
        clear(client)
    assert names(redis) == [{worker.key}] * 2
    assert redis.exists(worker.key)


def test_a_pass_goes_through_any_number_of_keys_in_chunks(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftovers, "CHUNK", 20)
    keys = publish(*stale(200))
    kept = [Job.key_for(rq_job_id(running.message(int(i)))) for i in job_scheduler.enqueue_many([Note("")] * 50)]
    redis.sadd(REDIS_WORKER_KEYS, *(f"rq:worker:{number}" for number in range(300)))
    assert clear(redis) > 5
    assert redis.exists(*keys) == 0
    assert redis.exists(*kept) == len(kept)
    assert redis.scard(REDIS_WORKER_KEYS) == 0
