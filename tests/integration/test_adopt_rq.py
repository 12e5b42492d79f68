"""``adopt_rq``: what waits in RQ moves into the database, once, whenever it is interrupted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from redis import Redis
from rq import Callback, Queue, Repeat, Retry
from rq.job import Job
from rq.serializers import JSONSerializer
from rq_scheduler import Scheduler

from handlers import job_scheduler
from handlers.adoption import DurableJob, moving, standing
from handlers.models import JobRecord, RecurringJob, RQOrigin
from tests import running
from tests.app import rq_calls
from tests.app.jobs import Note

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]


@pytest.fixture(autouse=True)
def _declared(settings: Any, redis_server: str) -> None:
    place = {"URL": redis_server}
    settings.RQ_QUEUES = {"default": place, "mail": place | {"SERIALIZER": "json"}, "nobodys": place}


@pytest.fixture
def redis(redis_server: str) -> Iterator[Redis]:
    with Redis.from_url(redis_server) as client:
        yield client


@pytest.fixture
def pickles(redis: Redis) -> Queue:
    return Queue("default", connection=redis)


@pytest.fixture
def mail(redis: Redis) -> Queue:
    return Queue("mail", connection=redis, serializer=JSONSerializer)


@pytest.fixture
def scheduler(redis: Redis) -> Any:
    return Scheduler("default", connection=redis)


def adopt(*arguments: str) -> dict[str, dict[str, Any]]:
    out = StringIO()
    call_command("adopt_rq", "--json", *arguments, stdout=out)
    return {told["place"]: told for told in map(json.loads, out.getvalue().splitlines())}


def moved(*arguments: str) -> dict[str, int]:
    return {place: told["moved"] for place, told in adopt(*arguments).items() if told["moved"]}


def left(*arguments: str) -> dict[str, Any]:
    return {place: told["left"] for place, told in adopt(*arguments).items() if told["left"]}


def contents(redis: Redis) -> dict[bytes, Any]:
    """Everything, by keys; a dump says the same in another order each time."""
    reads: dict[bytes, Any] = {
        b"hash": redis.hgetall,
        b"list": lambda key: redis.lrange(key, 0, -1),
        b"set": redis.smembers,
        b"zset": lambda key: redis.zrange(key, 0, -1, withscores=True),
    }
    return {key: reads[redis.type(key)](key) for key in redis.scan_iter()}  # type: ignore[index]


def args() -> list[Any]:
    return [record.payload["args"][0] for record in JobRecord.objects.order_by("pk")]


def test_what_waits_becomes_durable_with_all_that_it_brought(redis: Redis, mail: Queue) -> None:
    later = datetime.now(UTC) + timedelta(hours=3)
    jobs = [mail.enqueue(rq_calls.add, number, job_id=f"n{number}") for number in range(3)]
    rich = mail.enqueue(
        rq_calls.fail, "no", retry=Retry(max=2, interval=[5, 9]), on_failure=Callback(rq_calls.sorry),
        meta={"tenant": 7}, job_timeout=50, at_front=True,
    )  # fmt: skip
    mail.enqueue_at(later, rq_calls.add, 9, repeat=Repeat(times=2, interval=3))
    assert moved("--dry-run") == {"queue mail": 4, "scheduled mail": 1}
    assert not JobRecord.objects.exists()
    assert moved() == {"queue mail": 4, "scheduled mail": 1}
    assert moved() == {}
    assert args() == ["no", 0, 1, 2, 9, 9, 9]
    scheduled = JobRecord.objects.get(state="scheduled")
    assert scheduled.run_at is not None
    assert abs(scheduled.run_at - later) < timedelta(seconds=1)
    assert JobRecord.objects.filter(state="awaiting").count() == 2
    found: Any = DurableJob.fetch(rich.id, connection=redis)
    assert (found.meta, found.timeout, running.record(found.record_id).queue) == ({"tenant": 7}, 50, "mail")
    running.run(found.record_id)
    assert running.moves_of(found.record_id)[-1] == ("failed", "scheduled")
    running.drain()
    assert all(DurableJob.fetch(job.id, connection=redis).is_finished for job in jobs)
    assert not any(redis.exists(Job.key_for(job.id)) for job in (*jobs, rich))
    assert not RQOrigin.objects.filter(in_redis=True).exists()
    assert not [*redis.scan_iter("jobs:adopting:*")]


def test_pickles_are_read_if_the_operator_trusts_them_and_never_run(redis: Redis, pickles: Queue) -> None:
    pickles.enqueue(rq_calls.add, 1)
    pickles.enqueue(rq_calls.add, Decimal(2))
    before = contents(redis)
    assert left() == {"queue default": {"it is a pickle": 2}}
    assert contents(redis) == before
    told = adopt("--trust-pickle")["queue default"]
    assert (told["moved"], told["left"]) == (1, {"its arguments hold objects, which are no JSON": 1})
    assert pickles.count == 1
    assert args() == [1]


def test_what_cannot_move_stays_where_it_is_and_is_told_why(redis: Redis, mail: Queue) -> None:
    parent = mail.enqueue(rq_calls.add, 1)
    mail.enqueue(rq_calls.add, 2, depends_on=parent)
    mail.enqueue("nowhere.at.all", 1)
    mail.enqueue(rq_calls.add, 3, on_stopped=Callback(rq_calls.told))
    redis.rpush(mail.key, "a-job-that-is-gone")
    Queue("nobodys", connection=redis, serializer=JSONSerializer).enqueue(rq_calls.add, 4)
    before = contents(redis)
    assert left() == {
        "queue mail": {
            "others wait for it": 1,
            "its function cannot be imported here: nowhere.at.all": 1,
            "it has an on_stopped callback": 1,
            "it is gone, only its id is left": 1,
        },
        "queue nobodys": {"its queue, nobodys, is none of JOBS['QUEUES']": 1},
    }
    assert contents(redis) == before
    assert not JobRecord.objects.exists()


@pytest.mark.filterwarnings("ignore:Version 0.22.0+:FutureWarning")  # of crontab, which rq-scheduler asks
def test_jobs_of_rq_scheduler_become_scheduled_and_recurring_ones(redis: Redis, scheduler: Any) -> None:
    at = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    scheduler.enqueue_at(at, rq_calls.add, 1)
    scheduler.cron("0 6 * * 1", rq_calls.add, args=[2], id="weekly", queue_name="mail")
    scheduler.schedule(at, rq_calls.add, args=[3], interval=600, id="often")
    scheduler.schedule(at, rq_calls.add, args=[4], interval=600, repeat=3)
    scheduler.cron("0 6 * * *", rq_calls.add, args=[5], repeat=2)
    # An occurrence of the first of them waits on its queue: both are one RQ job.
    occurrence: Any = Job.fetch("weekly", connection=redis)
    Queue("mail", connection=redis).enqueue_job(occurrence)
    assert left("--dry-run", "--trust-pickle") == {"rq-scheduler": {"its cron line ends after so many times": 1}}
    assert moved("--trust-pickle") == {"queue mail": 1, "rq-scheduler": 4}
    assert sorted(args()) == [1, 2, 4, 4, 4]
    assert JobRecord.objects.filter(run_at=at).count() == 2
    found = RecurringJob.objects.order_by("name").values_list("name", "cron", "every_seconds", "queue", "zone")
    assert list(found) == [("often", "", 600, "default", "UTC"), ("weekly", "0 6 * * 1", None, "mail", "UTC")]
    assert redis.zcard(Scheduler.scheduled_jobs_key) == 1
    assert moved("--trust-pickle") == {}


class Killed(BaseException):
    """This process ends here."""


def kill_at(monkeypatch: pytest.MonkeyPatch, name: str, *, after: bool) -> None:
    module = moving if hasattr(moving, name) else standing
    whole = getattr(module, name)

    def break_off(*given: Any) -> Any:
        if after:
            whole(*given)
        raise Killed

    monkeypatch.setattr(module, name, break_off)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", ["_TAKE_LISTED", "_TAKE_SCORED", "_write", "_DROP"])
def test_whoever_is_killed_loses_nothing_and_the_next_run_doubles_nothing(
    redis: Redis, mail: Queue, monkeypatch: pytest.MonkeyPatch, step: str, after: bool
) -> None:
    monkeypatch.setattr(standing, "CHUNK", 4)
    for number in range(10):
        mail.enqueue(rq_calls.add, number)
        mail.enqueue_in(timedelta(hours=1), rq_calls.add, 100 + number)
    with monkeypatch.context() as patch:
        patch.setattr(moving, "_undo", lambda *_: None)  # as SIGKILL leaves no time for it
        kill_at(patch, step, after=after)
        with pytest.raises(Killed):
            adopt()
    assert sum(moved("--dry-run").values()) >= 20 - 10 - 4, "of ten of the queue, and four that are under way"
    adopt()
    assert sorted(args()) == [*range(10), *range(100, 110)]
    assert mail.count == len(JobRecord.objects.filter(state="enqueued")), "of ours alone"
    assert not [*redis.scan_iter("jobs:adopting:*")]
    assert not RQOrigin.objects.filter(in_redis=True).exists()


def test_a_database_that_fails_gives_everything_back(
    redis: Redis, mail: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [mail.enqueue(rq_calls.add, number).id for number in range(5)]

    def fail(*_: Any) -> int:
        raise OperationalError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(moving, "_write", fail)
        with pytest.raises(CommandError, match=r"the database failed: the disk is full: .* run this again"):
            adopt()
    assert mail.get_job_ids() == ids
    assert not [*redis.scan_iter("jobs:adopting:*")]
    assert moved() == {"queue mail": 5}


def test_what_a_worker_takes_meanwhile_is_its_own(redis: Redis, mail: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [mail.enqueue(rq_calls.add, number).id for number in range(6)]
    whole = standing.Place.take
    taken: list[Any] = []

    def take(*given: Any) -> Any:
        if not taken:
            taken.append(mail.pop_job_id())
        return whole(*given)

    monkeypatch.setattr(standing.Place, "take", take)
    assert moved() == {"queue mail": 5}
    assert taken == [ids[0]]
    assert args() == [1, 2, 3, 4, 5]
    assert redis.exists(Job.key_for(ids[0]))


def test_some_queues_alone_move_if_they_are_named(redis: Redis, mail: Queue, scheduler: Any) -> None:
    mail.enqueue(rq_calls.add, 1)
    scheduler.enqueue_at(datetime.now(UTC) + timedelta(hours=1), rq_calls.add, 2)
    assert moved("--queues", "default", "--trust-pickle") == {"rq-scheduler": 1}
    assert moved("--queues", "mail") == {"queue mail": 1}
    with pytest.raises(CommandError, match="nonsense is not in RQ_QUEUES"):
        adopt("--queues", "nonsense")


def test_the_table_is_for_people(mail: Queue) -> None:
    mail.enqueue("nowhere.at.all", 1)
    out = StringIO()
    call_command("adopt_rq", "--dry-run", stdout=out)
    assert "queue mail" in out.getvalue()
    assert "1 left: its function cannot be imported here: nowhere.at.all" in out.getvalue()


def test_what_was_written_is_not_given_back_by_a_run_that_cannot_read_it(
    redis: Redis, pickles: Queue, scheduler: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pickles.enqueue(rq_calls.add, 1)
    pickles.enqueue(rq_calls.add, 2)
    with monkeypatch.context() as patch:
        patch.setattr(moving, "_undo", lambda *_: None)
        kill_at(patch, "_DROP", after=False)
        with pytest.raises(Killed):
            adopt("--trust-pickle")
    assert args() == [1, 2]
    adopt()
    assert pickles.job_ids == []
    assert not [*redis.scan_iter("jobs:adopting:*")]
    assert adopt("--trust-pickle")["queue default"]["moved"] == 0
    assert args() == [1, 2]


def test_what_two_runs_give_back_is_there_once(redis: Redis, pickles: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [pickles.enqueue(rq_calls.add, number).id for number in range(3)]
    pickles.enqueue_in(timedelta(hours=1), rq_calls.add, 4)
    with monkeypatch.context() as patch:
        patch.setattr(moving, "_undo", lambda *_: None)
        kill_at(patch, "_write", after=False)
        for place in ("queue default", "scheduled default"):
            with pytest.raises(Killed):
                moving.Mover(trust_pickle=True).move(next(each for each in standing.places() if each.name == place))
    whole = standing._GIVE_BACK
    monkeypatch.setattr(
        standing, "_GIVE_BACK", lambda *given: [whole(*given), whole(*given)]
    )  # the other's comes second
    adopt()
    assert pickles.job_ids == ids
    assert redis.zcard("rq:scheduled:default") == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"timeout": 10**15},
        {"ttl": 10**12},
        {"ttl": 10**20},
        {"retries_left": 2, "retry_intervals": '["soon"]'},
        {"repeats_left": 2, "repeat_intervals": '["soon"]'},
        {"repeats_left": 2, "repeat_intervals": "[99999999999]"},
    ],
    ids=str,
)
def test_one_that_says_what_no_job_can_have_stops_no_other(redis: Redis, mail: Queue, fields: Any) -> None:
    stays = mail.enqueue(rq_calls.add, 1)
    mail.enqueue(rq_calls.add, 2)
    redis.hset(stays.key, mapping=fields)
    dry, told = adopt("--dry-run")["queue mail"], adopt()["queue mail"]
    assert (dry["moved"], told["moved"], sum(told["left"].values())) == (1, 1, 1)
    assert args() == [2]
    assert mail.job_ids.count(stays.id) == 1


def test_one_whose_id_is_too_long_stops_no_other(mail: Queue) -> None:
    for job_id in ("x" * 300, "x" * 301):
        mail.enqueue(rq_calls.add, len(job_id), job_id=job_id)
    assert moved() == {"queue mail": 1}
    assert args() == [300]


@pytest.mark.parametrize("score", [1e300, 1e15, float("inf")])
def test_one_whose_time_no_calendar_has_stops_no_other(redis: Redis, mail: Queue, score: float) -> None:
    never = mail.enqueue_in(timedelta(hours=1), rq_calls.add, 1)
    mail.enqueue_in(timedelta(hours=1), rq_calls.add, 2)
    redis.zadd("rq:scheduled:mail", {never.id: score})
    assert moved() == {"scheduled mail": 1}
    assert redis.zscore("rq:scheduled:mail", never.id) == score


@pytest.mark.parametrize(
    ("meta", "name"),
    [
        ({"interval": "soon"}, "a"),
        ({"interval": 0.5}, "a"),
        ({"interval": 10**12}, "a"),
        ({"interval": 3, "repeat": "often"}, "a"),
        ({"cron_string": 5}, "a"),
        ({"cron_string": "0 0 30 2 *"}, "a"),
        ({"cron_string": "0 6 * * *"}, "a" * 300),
        ({"cron_string": "0 6 * * *"}, "taken"),
    ],
    ids=str,
)
def test_a_recurring_one_that_cannot_be_stops_no_other(
    redis: Redis, scheduler: Any, meta: dict[str, Any], name: str
) -> None:
    job_scheduler.add_or_update_recurring("taken", Note("another's"), "0 7 * * *")
    at = datetime.now(UTC) + timedelta(days=1)
    stays = scheduler.enqueue_at(at, rq_calls.add, 1, job_id=name)
    stays.meta = meta
    stays.save_meta()
    scheduler.enqueue_at(at, rq_calls.add, 2)
    told = adopt("--trust-pickle")["rq-scheduler"]
    assert (told["moved"], sum(told["left"].values())) == (1, 1)
    assert args() == [2]
    assert RecurringJob.objects.get().job_type == "app.Note"
    assert redis.zcard(Scheduler.scheduled_jobs_key) == 1


@pytest.mark.once  # SQLite alone, as Django's own settings have it
def test_it_waits_for_other_writers(mail: Queue, late_locks: None) -> None:
    mail.enqueue(rq_calls.add, 1)
    with CaptureQueriesContext(connection) as asked:
        assert moved()
    assert {sql for query in asked if (sql := query["sql"]).startswith("BEGIN")} == {"BEGIN IMMEDIATE"}
