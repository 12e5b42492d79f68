"""RQ's words, and the durable jobs that they make."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone
from redis import Redis
from rq import Callback, Queue, Repeat, Retry
from rq.job import Dependency
from rq.serializers import JSONSerializer

from handlers import fleet, job_scheduler
from handlers.adoption import DurableJob, DurableQueue, DurableScheduler
from handlers.adoption.enqueueing import _warned
from handlers.models import JobRecord, KnownTypes, RecurringJob, WorkerProcess
from tests import running
from tests.app import rq_calls
from tests.app.rq_calls import seen

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]


@pytest.fixture
def redis(redis_server: str) -> Iterator[Redis]:
    seen.clear()
    with Redis.from_url(redis_server) as client:
        yield client


@pytest.fixture
def queue(redis: Redis) -> Any:
    return DurableQueue("default", connection=redis, serializer=JSONSerializer)


@pytest.fixture
def scheduler(redis: Redis, queue: Any) -> Any:
    return DurableScheduler(queue_name="default", queue=queue, connection=redis)


def record(job: Any) -> JobRecord:
    return running.record(job.record_id)


def test_a_handle_tells_what_becomes_of_its_job(queue: Any, redis: Redis) -> None:
    job = queue.enqueue(rq_calls.add, 1, b=2)
    assert (job.get_status(), job.is_queued, job.return_value()) == ("queued", True, None)
    running.drain()
    assert (job.is_finished, job.return_value(), job.latest_result().return_value) == (True, 3, 3)
    for found in (queue.fetch_job(job.id), DurableJob.fetch(job.id, connection=redis)):
        assert found is not None
        assert (found.func_name, found.args, found.kwargs) == ("tests.app.rq_calls.add", [1], {"b": 2})
    job.requeue()
    assert job.is_queued
    job.cancel()
    assert job.is_canceled
    assert redis.keys("rq:job:[0-9a-f]*-[0-9a-f]*-[0-9a-f]*-*") == [], "nothing of RQ's own"


def test_a_function_that_workers_find_is_not_said_to_wait_for_nobody(queue: Any) -> None:
    queue.enqueue(rq_calls.add, 1)
    now = timezone.now()
    row = WorkerProcess(name="w", kind="worker", host="h", pid=1, queues=["default"], started_at=now, heartbeat_at=now)
    row.types = "0" * 16
    fleet.beat([row], KnownTypes(digest="0" * 16, names={}))
    lacking = fleet.unservable_types()
    assert "app.Note" in lacking
    assert "rq.tests.app.rq_calls.add" not in lacking


def test_an_id_that_the_caller_chose_leads_to_the_last_job_of_that_name(queue: Any, redis: Redis) -> None:
    first = queue.enqueue(rq_calls.add, 1, job_id="sum_of-7")
    second = queue.enqueue(rq_calls.add, 2, job_id="sum_of-7")
    assert first.id == second.id == "sum_of-7"
    found: Any = queue.fetch_job("sum_of-7")
    assert found.record_id == second.record_id
    assert queue.fetch_job("another") is None
    assert len(running.drain()) == 2, "as in RQ both run"


def test_a_name_that_is_a_number_is_no_other_jobs_id(queue: Any, redis: Redis) -> None:
    other = queue.enqueue(rq_calls.add, 1)
    named = queue.enqueue(rq_calls.add, 2, job_id=other.id)
    found: Any
    for found in (DurableJob.fetch(named.id, connection=redis), queue.fetch_job(named.id)):
        assert (found.record_id, found.args) == (named.record_id, [2])
    waits = queue.enqueue(rq_calls.add, 3, depends_on=named.id)
    found.cancel()
    assert [record(job).state for job in (other, named, waits)] == ["enqueued", "deleted", "deleted"]
    last = queue.enqueue(rq_calls.add, 4)
    assert DurableJob.fetch(last.id, connection=redis).args == [4]
    # One of RQ's own of that name: RQ's worker gets it, and nothing else.
    Queue("default", connection=redis, serializer=JSONSerializer).enqueue(rq_calls.add, 5, job_id=last.id)
    for found in (
        DurableJob.fetch(last.id, connection=redis, serializer=JSONSerializer),
        queue.fetch_job(last.id),
    ):
        assert (found.record_id, found.args) == (None, [5])


@pytest.mark.parametrize(
    "options",
    [{"job_id": "x" * 301}, {"ttl": 10**15}, {"ttl": 10**9}, {"job_timeout": 10**15}],
    ids=lambda each: next(iter(each)),
)
def test_what_no_record_holds_stays_rqs_own(queue: Any, options: Any) -> None:
    assert queue.enqueue(rq_calls.add, 1, **options).record_id is None
    assert not JobRecord.objects.exists()


def test_a_rolled_back_transaction_takes_its_jobs_along(queue: Any, scheduler: Any) -> None:
    with transaction.atomic():
        queue.enqueue(rq_calls.add, 1)
        queue.enqueue_in(timedelta(hours=1), rq_calls.add, 1)
        queue.enqueue_many([Queue.prepare_data(rq_calls.add, (1,)), Queue.prepare_data(rq_calls.add, (2,))])
        scheduler.enqueue_in(timedelta(hours=1), rq_calls.add, 1)
        scheduler.cron("0 6 * * *", rq_calls.add, args=[1])
        transaction.set_rollback(True)
    assert not JobRecord.objects.exists()
    assert not RecurringJob.objects.exists()


def test_many_are_enqueued_in_their_order(queue: Any) -> None:
    jobs = queue.enqueue_many([Queue.prepare_data(rq_calls.add, (number,), job_id=f"n{number}") for number in range(5)])
    assert [job.id for job in jobs] == ["n0", "n1", "n2", "n3", "n4"]
    running.drain()
    assert seen == [("add", number, 0) for number in range(5)]


def test_retries_wait_as_the_call_says_and_no_longer_than_that(queue: Any) -> None:
    job = queue.enqueue(rq_calls.fail, "no", retry=Retry(max=3, interval=[10, 60]))
    waits = []
    for _ in range(4):
        running.run(job.record_id)
        history: Any = record(job).history.filter(to_state="scheduled").order_by("-pk").first()
        if record(job).state == "scheduled":
            waits.append(history.data["delay_seconds"])
            running.make_due(job.record_id)
    assert waits == [10, 60, 60]
    assert record(job).state == "failed"
    assert "ValueError: no" in job.exc_info
    assert record(queue.enqueue(rq_calls.fail, "once")).state == "enqueued"
    running.drain()
    assert JobRecord.objects.filter(state="failed").count() == 2, "without Retry there is none"


def test_a_retry_that_the_function_returns_is_one(queue: Any) -> None:
    job = queue.enqueue(rq_calls.again, 2)
    for _ in range(2):
        running.run(job.record_id)
        assert record(job).state == "scheduled"
        running.make_due(job.record_id)
    running.run(job.record_id)
    assert record(job).state == "failed"
    assert len(seen) == 3


def test_callbacks_are_called_and_their_errors_take_nobody_elses_place(queue: Any) -> None:
    job = queue.enqueue(
        rq_calls.fail, "no", retry=Retry(max=1), on_failure=Callback(rq_calls.sorry), on_success=rq_calls.told
    )
    running.run(job.record_id)
    running.make_due(job.record_id)
    running.run(job.record_id)
    assert seen == [("fail", "no"), ("sorry", "ValueError", "no")] * 2
    assert record(job).error == "ValueError: no"
    fine = queue.enqueue(rq_calls.add, 1, on_success=Callback("tests.app.rq_calls.told"))
    broken = queue.enqueue(rq_calls.add, 2, on_success="tests.app.rq_calls.sorry")
    running.drain()
    assert ("told", fine.id, 1) in seen
    assert broken.is_finished, "it has run, and its callback's error is on its log"


def test_dependents_wait_for_all_and_for_the_end_that_they_ask_for(queue: Any) -> None:
    good, bad = queue.enqueue(rq_calls.add, 1), queue.enqueue(rq_calls.fail, "no")
    after_both = queue.enqueue(rq_calls.add, 2, depends_on=[good, bad])
    whatever = queue.enqueue(rq_calls.add, 3, depends_on=Dependency([good.id, bad], allow_failure=True))
    assert (after_both.get_status(), whatever.get_status()) == ("deferred", "deferred")
    running.drain()
    assert (after_both.get_status(), whatever.get_status()) == ("deferred", "finished"), "a failed one may be retried"
    job_scheduler.delete(bad.record_id)
    assert after_both.is_canceled
    assert queue.enqueue(rq_calls.add, 4, depends_on=good).get_status(refresh=True) == "queued", "it has ended before"


def test_a_series_goes_on_after_each_success_and_ends_with_a_failure(queue: Any) -> None:
    first = queue.enqueue(rq_calls.add, 1, repeat=Repeat(times=2, interval=[5, 7]))
    running.drain()
    (second,) = JobRecord.objects.filter(state="scheduled")
    assert (second.pk, JobRecord.objects.filter(state="awaiting").count()) != (first.record_id, 0)
    running.make_due(second.pk)
    running.drain()
    (third,) = JobRecord.objects.filter(state="scheduled")
    running.make_due(third.pk)
    running.drain()
    assert seen == [("add", 1, 0)] * 3
    queue.enqueue(rq_calls.fail, "no", repeat=Repeat(times=1))
    running.drain()
    assert len(seen) == 4


def test_the_current_job_has_its_meta_and_saves_it(queue: Any) -> None:
    job = queue.enqueue(rq_calls.whoami, meta={"tenant": 7})
    running.drain()
    assert job.return_value() == ["tests.app.rq_calls.whoami", {"tenant": 7, "seen": 1}]
    assert job.get_meta() == {"tenant": 7, "seen": 1}


@pytest.mark.parametrize(("function", "args", "result"), [
    (rq_calls.vague, (), None),
    (rq_calls.wait, (), "tests.app.rq_calls.wait waited"),
    (rq_calls.Shop.close, ("books",), "closed books"),
    ("tests.app.rq_calls.Shop.close", ("books",), "closed books"),
    ("tests.app.rq_calls.add", (4,), 4),
])  # fmt: skip
def test_functions_of_each_kind_run(queue: Any, function: Any, args: Any, result: Any) -> None:
    job = queue.enqueue(function, *args)
    running.drain()
    assert (job.get_status(), job.return_value()) == ("finished", result)


PLAIN: dict[str, Any] = {
    "a pickle": lambda queue: queue.enqueue(rq_calls.add, Decimal("1.5")),
    "a tuple in it": lambda queue: queue.enqueue(rq_calls.add, [(1, 2)]),
    "a method of an instance": lambda queue: queue.enqueue(rq_calls.Shop().open),
    "a module that is not here": lambda queue: queue.enqueue("nowhere.at.all", 1),
    "a queue of another name": lambda queue: DurableQueue("Mail.Out", connection=queue.connection).enqueue(
        rq_calls.add, 1
    ),
    "unique": lambda queue: queue.enqueue(rq_calls.add, 1, job_id="x", unique=True),
    "on_stopped": lambda queue: queue.enqueue(rq_calls.add, 1, on_stopped=Callback(rq_calls.told)),
}


@pytest.mark.once
@pytest.mark.parametrize("how", PLAIN)
def test_what_can_be_no_durable_job_stays_rqs_own_and_the_log_says_why(
    redis: Redis, how: str, caplog: pytest.LogCaptureFixture, settings: Any
) -> None:
    settings.RQ_QUEUES = settings.RQ_QUEUES | {"Mail.Out": settings.RQ_QUEUES["default"]}
    _warned.cache_clear()
    with caplog.at_level(logging.WARNING, "handlers.adoption"):
        job = PLAIN[how](DurableQueue("default", connection=redis))
    assert not JobRecord.objects.exists()
    assert (job.get_status(), job.record_id) == ("queued", None)
    assert "stays RQ's own job: " in caplog.text


def test_nothing_waits_for_a_durable_job_and_rqs_own(queue: Any) -> None:
    durable, plain = queue.enqueue(rq_calls.add, 1), queue.enqueue(rq_calls.add, 1, on_stopped=Callback(rq_calls.told))
    with pytest.raises(ValueError, match="nothing can wait for both"):
        queue.enqueue(rq_calls.add, 2, depends_on=[durable, plain])
    with pytest.raises(ValueError, match="depends on a durable job, and can be none itself"):
        queue.enqueue(rq_calls.add, Decimal(2), depends_on=durable)


def test_times_are_meant_as_each_library_means_them(queue: Any, scheduler: Any) -> None:
    at = timezone.now().replace(microsecond=0) + timedelta(hours=2)
    for job in (
        queue.enqueue_at(at, rq_calls.add, 1),
        queue.enqueue_at(at.astimezone().replace(tzinfo=None), rq_calls.add, 1),
        scheduler.enqueue_at(at.astimezone(UTC).replace(tzinfo=None), rq_calls.add, 1),
        scheduler.schedule(at, rq_calls.add, [1]),
    ):
        assert record(job).run_at == at
        assert job in scheduler


def test_cron_lines_are_kept_once_and_can_be_cancelled(scheduler: Any) -> None:
    for _ in range(2):
        nightly = scheduler.cron("0 6 * * *", rq_calls.add, args=[1], use_local_timezone=True)
    hourly = scheduler.schedule(datetime.now(UTC), rq_calls.add, args=[2], interval=3600, id="hourly")
    later = scheduler.enqueue_in(timedelta(days=1), rq_calls.add, 3)
    assert RecurringJob.objects.count() == 2
    assert RecurringJob.objects.get(name="hourly").every_seconds == 3600
    assert (nightly in scheduler, "hourly" in scheduler, scheduler.count()) == (True, True, 3)
    assert {job.id for job in scheduler.get_jobs()} == {nightly.id, "hourly", later.id}
    assert all(at.tzinfo is None for _, at in scheduler.get_jobs(with_times=True))
    for job in scheduler.get_jobs():  # as many sites do at their start
        scheduler.cancel(job)
    assert (RecurringJob.objects.count(), later.get_status(), hourly in scheduler) == (0, "canceled", False)


def test_a_repeated_schedule_runs_so_many_times_in_all(scheduler: Any) -> None:
    scheduler.schedule(datetime.now(UTC), rq_calls.fail, args=["no"], interval=60, repeat=3)
    for _ in range(3):
        (job,) = JobRecord.objects.filter(state="scheduled")
        running.make_due(job.pk)
        running.drain()
    assert seen == [("fail", "no")] * 3
    assert not JobRecord.objects.filter(state__in=["scheduled", "awaiting"]).exists()


def test_people_edit_and_retry_such_a_job_as_any(queue: Any) -> None:
    job = queue.enqueue(rq_calls.fail, "no")
    running.drain()
    assert job_scheduler.retry(
        job.record_id, {"args": ["yes"], "kwargs": {}, "options": {"retry": {"max": 1, "intervals": []}}}
    )
    running.drain()
    assert seen[-1] == ("fail", "yes")
    assert record(job).state == "scheduled"
    with pytest.raises(Exception, match=r"options\.nonsense"):
        job_scheduler.retry(job.record_id, {"args": [], "kwargs": {}, "options": {"nonsense": 1}})


def test_jobs_of_rqs_own_are_found_beside_durable_ones(queue: Any, redis: Redis) -> None:
    plain = Queue("default", connection=redis, serializer=JSONSerializer).enqueue(rq_calls.add, 1)
    found: Any = queue.fetch_job(plain.id)
    assert (type(found), found.record_id, found.get_status(), found.args) == (DurableJob, None, "queued", [1])
