"""RQ's own worker runs our jobs, and ours leaves RQ's own jobs alone."""

from __future__ import annotations

import pytest
from redis import Redis
from rq import Queue, Worker
from rq.serializers import JSONSerializer

from handlers import job_scheduler
from handlers.models import JobHistory
from handlers.rq_transport.names import queue_key
from tests.app.jobs import AsyncNote, Impatient, Note
from tests.faults.conftest import Start
from tests.faults.records import Notes, moves, record, wait_state
from tests.processes import wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]


def test_a_stock_rqworker_runs_and_records_our_jobs(start: Start, notes: Notes) -> None:
    fine, mail, slow = (
        int(job_scheduler.enqueue(Note("fine"))),
        int(job_scheduler.enqueue(AsyncNote("mail"))),
        int(job_scheduler.enqueue(Impatient("slow"))),
    )
    stock = start("rqworker", "default", "mail", "--burst", "--serializer", "json")
    assert stock.ended() == 0
    wait_state("succeeded", fine, mail)
    wait_state("failed", slow)
    assert moves(fine) == ["processing", "succeeded"]
    facts = JobHistory.objects.get(job=fine, to_state="succeeded").data
    assert facts is not None
    assert facts["worker"].endswith(".rqworker")
    assert record(slow).failures == 1
    assert f"handlers.jobs: job {slow} (app.Impatient) failed for good with attempt 1" in stock.log.read_text()
    assert sorted(notes.lines()) == ["cancelled slow timeout", "fine", "mail"]


def test_a_stock_rqworker_honours_a_paused_queue(start: Start, notes: Notes) -> None:
    job = int(job_scheduler.enqueue(Note("paused")))
    job_scheduler.pause_queue("default")
    assert start("rqworker", "default", "--burst", "--serializer", "json").ended() == 0
    assert (record(job).state, record(job).attempt) == ("enqueued", 0)
    assert notes.lines() == []


def test_a_foreign_job_on_a_shared_queue_stays_where_it_is(start_worker: Start, redis: Redis) -> None:
    shared = Queue("default", connection=redis, serializer=JSONSerializer)
    ids = [int(job_scheduler.enqueue(Note("first")))]
    foreign = [shared.enqueue("time.sleep", 0).id]
    ids += [int(i) for i in job_scheduler.enqueue_many([Note(str(n)) for n in range(20)])]
    foreign.append(shared.enqueue("time.sleep", 0).id)
    start_worker()
    wait_state("succeeded", *ids)
    wait_state("succeeded", job_scheduler.enqueue(Note("later")), job_scheduler.enqueue(AsyncNote("elsewhere")))
    assert redis.lrange(queue_key("default"), 0, -1) == [name.encode() for name in foreign]
    assert shared.fetch_job(foreign[0]) is not None


def test_a_foreign_job_that_comes_to_an_idle_worker_stays(start_worker: Start, redis: Redis) -> None:
    start_worker("--processes", "2")
    wait_for("both are idle", lambda: [w.get_state() for w in Worker.all(connection=redis)] == ["idle"] * 2)
    foreign = Queue("default", connection=redis, serializer=JSONSerializer).enqueue("time.sleep", 0).id
    wait_state("succeeded", job_scheduler.enqueue(Note("ours")), job_scheduler.enqueue(AsyncNote("elsewhere")))
    wait_for("it is back", lambda: redis.lrange(queue_key("default"), 0, -1) == [foreign.encode()])
