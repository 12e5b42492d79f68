"""A queue server that is full and evicts nothing: workers live and drain it, and one refusal holds up no other."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone
from redis import Redis

from handlers import job_scheduler
from handlers.models import JobRecord, WorkerProcess
from handlers.rq_transport.names import queue_key
from tests import servers
from tests.app.jobs import Note
from tests.faults.conftest import Start
from tests.faults.records import states, wait_state
from tests.processes import wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis, pytest.mark.once]  # it is Redis that is full

FULL, ROOM = 1, 0  # bytes of maxmemory; 0 is no limit
FOREIGN = b"another program's job"


@pytest.fixture
def client(private_valkey: Path) -> Iterator[Redis]:
    """A client of a server of this test's own."""
    with servers.valkey(private_valkey) as url, Redis.from_url(url) as client:
        yield client


@pytest.mark.usefixtures("quick")  # what is given back needs room, as what is published anew
def test_full_server_is_drained_and_what_it_refused_runs_once_it_has_room(
    client: Redis, start_worker: Start, start_scheduler: Start
) -> None:
    published = [int(i) for i in job_scheduler.enqueue_many([Note(str(n)) for n in range(300)])]
    due = int(job_scheduler.schedule(Note("due"), timezone.now() + timedelta(seconds=1)))
    client.config_set("maxmemory", FULL)
    refused = int(job_scheduler.enqueue(Note("refused")))
    assert "Redis is full" in job_scheduler.transport_trouble()
    worker, scheduler = start_worker("--processes", "2"), start_scheduler()
    wait_state("succeeded", *published)
    wait_for("the scheduler says what it cannot do", lambda: "Redis is full" in str(troubles()))
    assert states([refused]) == {"enqueued"}
    assert len(worker.children()) == 2
    assert "ended with" not in worker.log.read_text()
    client.config_set("maxmemory", ROOM)
    with client.pipeline() as pipe:  # a worker waits for it, and has to give it back to a full server
        pipe.rpush(queue_key("default"), FOREIGN)
        pipe.config_set("maxmemory", FULL)
        pipe.execute()
    wait_for("it is back", lambda: client.lrange(queue_key("default"), 0, -1) == [FOREIGN])
    client.config_set("maxmemory", ROOM)
    wait_state("succeeded", *published, refused, due)
    assert set(JobRecord.objects.values_list("attempt", "failures", "crashes")) == {(1, 0, 0)}
    assert (worker.terminate(), scheduler.terminate()) == (0, 0)
    assert client.lrange(queue_key("default"), 0, -1) == [FOREIGN]


def troubles() -> list[object]:
    """What schedulers say."""
    return list(WorkerProcess.objects.filter(kind="scheduler").values_list("troubles", flat=True))
