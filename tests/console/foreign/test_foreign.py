"""The page of RQ's own jobs: what waits where, what RQ does not say of it, and that nothing is unpickled for it."""

from __future__ import annotations

import pickle
import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from redis import Redis
from rq import Callback, Queue, Retry
from rq.job import Job
from rq.registry import FailedJobRegistry

from tests.app import rq_calls

pytestmark = [pytest.mark.django_db, pytest.mark.redis, pytest.mark.once]


@pytest.fixture
def queue(settings: Any, redis_server: str) -> Queue:
    settings.RQ_QUEUES = {"default": {"URL": redis_server}}
    return Queue("default", connection=Redis.from_url(redis_server))


def page(client: Client, **query: Any) -> str:
    response = client.get("/admin/foreign/", query)
    assert response.status_code == 200
    return re.sub(r"\s+", " ", response.content.decode())


def test_page_lists_what_is_queued_and_leads_to_the_rest(superuser: Client, queue: Queue) -> None:
    for number in range(120):
        queue.enqueue(rq_calls.add, number)
    first = page(superuser)
    assert "tests.app.rq_calls.add(0)" in first
    assert ">120</a>" in first
    assert "tests.app.rq_calls.add(50)" not in first
    assert "offset=50" in first
    last = page(superuser, offset=100)
    assert "tests.app.rq_calls.add(119)" in last
    assert "offset=150" not in last
    assert 'href="/admin/foreign/"' in first, "the bar leads there"


def test_page_says_what_rq_does_not(superuser: Client, queue: Queue) -> None:
    parent = queue.enqueue(rq_calls.add, 1)
    queue.enqueue(rq_calls.add, 2, depends_on=parent)
    parent.delete()
    assert f"It waits for what is gone ({parent.id})" in page(superuser, kind="deferred")
    failed = queue.enqueue(
        rq_calls.add, 3, retry=Retry(max=1, interval=[5, 9]), failure_ttl=-1, on_failure=Callback(rq_calls.sorry)
    )
    failed.retries_left = 0
    failed.save()
    FailedJobRegistry(queue=queue).add(failed, 60)
    said = page(superuser, kind="failed")
    for truth in ("it would have one run", "keeps no error", "its error stands in the place", "A TTL of -1"):
        assert truth in said
    queue.enqueue_in(timedelta(hours=1), rq_calls.add, 4)
    assert "tests.app.rq_calls.add(4)" in page(superuser, kind="scheduled")


class Bomb:
    def __reduce__(self) -> Any:
        return pytest.fail, ("it was unpickled",)


def test_page_unpickles_nothing_and_shows_hostile_text_as_text(superuser: Client, queue: Queue) -> None:
    job = queue.enqueue(rq_calls.add, 1, description="<script>alert(1)</script>")
    queue.connection.hset(Job.key_for(job.id), "data", pickle.dumps(Bomb()))
    queue.connection.hset(Job.key_for(job.id), "meta", pickle.dumps(Bomb()))
    said = page(superuser)
    assert "<script>alert(1)" not in said
    assert "&lt;script&gt;alert(1)" in said
    queue.connection.hdel(Job.key_for(job.id), "description")
    assert "(a pickle without a description)" in page(superuser)


def test_page_of_an_empty_redis_does_not_say_that_all_is_well(superuser: Client, queue: Queue) -> None:
    said = page(superuser)
    assert "RQ has no jobs in this Redis" in said
    assert "those that it had are lost then" in said
    queue.enqueue_in(timedelta(hours=1), rq_calls.add, 4)
    assert "RQ has no jobs" not in page(superuser)


def test_page_survives_garbage_and_a_redis_that_is_away(superuser: Client, queue: Queue, settings: Any) -> None:
    assert "Nothing here" in page(superuser, kind="nonsense", queue="x" * 500, offset="-1")
    settings.RQ_QUEUES = {"default": {"URL": "redis://127.0.0.1:1/0"}}
    assert "Redis does not answer" in page(superuser)


def test_page_survives_times_that_no_calendar_has_and_any_number_of_retries(superuser: Client, queue: Queue) -> None:
    never = queue.enqueue_in(timedelta(hours=1), rq_calls.add, 1, retry=Retry(max=100_000, interval=[5, 9]))
    for score in (1e15, 1e300, float("inf")):
        queue.connection.zadd("rq:scheduled:default", {never.id: score})
        said = page(superuser, kind="scheduled")
        assert "tests.app.rq_calls.add(1)" in said
        assert len(said) < 100_000


def test_page_is_not_on_the_bar_of_a_site_without_rqs_own_queues(superuser: Client) -> None:
    assert "/admin/foreign/" not in superuser.get("/admin/queues/").content.decode()
