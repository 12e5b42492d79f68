"""A queue server that accepts connections and answers nothing: callers go on, workers notice, and all of it heals."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from pathlib import Path
from threading import Barrier

import psutil
import pytest
from django.db import connections as databases
from django.utils import timezone
from redis import Redis
from rq import Worker

from handlers import job_scheduler, lifecycle, recovery
from handlers.exceptions import TransportUnavailable
from handlers.models import JobRecord
from handlers.rq_transport import availability, connections
from handlers.rq_transport.names import queue_key
from handlers.transport import LastWords, get_transport
from tests import servers
from tests.app.jobs import Note, Sleep
from tests.faults.conftest import Start
from tests.faults.records import Notes, record, wait_state
from tests.processes import Managed, unhurried, wait_for
from tests.running import LEASE, message

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.redis,
    pytest.mark.once,  # it is Redis that freezes
]

ANSWER = 3.0  # seconds that a caller waits for an answer
FIRST = ANSWER + 0.5  # that the first one may take
LATER = 0.5  # that the others may
THREADS = 8


@pytest.fixture(autouse=True)
def _a_caller_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "ANSWER_SECONDS", ANSWER)
    monkeypatch.setattr(availability, "HEALTH_TIMEOUT_SECONDS", ANSWER)


@pytest.fixture
def url(private_valkey: Path) -> Iterator[str]:
    """A server of this test's own."""
    with servers.valkey(private_valkey) as url:
        yield url


def timed(act: Callable[[], object]) -> float:
    """How long it takes, in seconds."""
    since = time.monotonic()
    act()
    return time.monotonic() - since


def says(process: Managed, text: str) -> bool:
    return text in process.log.read_text()


def enqueue() -> None:
    job_scheduler.enqueue(Note("x"))


def enqueue_in_a_thread() -> None:
    try:
        enqueue()
    finally:
        databases.close_all()


def test_only_the_first_caller_waits_for_a_frozen_server(url: str) -> None:
    ids = job_scheduler.enqueue_many([Note(str(n)) for n in range(3)])
    with servers.frozen(url):
        first = timed(lambda: job_scheduler.delete(ids[0]))
        assert ANSWER / 2 < first < unhurried(FIRST)
        verbs: list[Callable[[], object]] = [
            *[enqueue] * 50,
            lambda: job_scheduler.enqueue_many([Note("a"), Note("b")]),
            lambda: job_scheduler.enqueue(Note("c"), delay=timedelta(hours=1)),
            lambda: job_scheduler.schedule(Note("d"), timezone.now() + timedelta(hours=1)),
            lambda: job_scheduler.delete(ids[1]),
            lambda: job_scheduler.pause_queue("default"),
            lambda: job_scheduler.resume_queue("default"),
            lambda: job_scheduler.pause_type("app.Note"),
            lambda: job_scheduler.resume_type("app.Note"),
        ]
        assert max(map(timed, verbs)) < unhurried(LATER, below=ANSWER), "none waits for the server"
        with ThreadPoolExecutor(1) as pool:  # has no connection yet
            assert pool.submit(timed, enqueue_in_a_thread).result() < unhurried(LATER, below=ANSWER)
        assert "does not answer" in job_scheduler.transport_trouble()
    wait_for("it is known that the server answers again", lambda: not job_scheduler.transport_trouble())
    with Redis.from_url(url) as client:
        before = client.llen(queue_key("default"))
        enqueue()
        assert client.llen(queue_key("default")) == before + 1


def test_threads_that_meet_a_frozen_server_together_wait_together(url: str) -> None:
    barrier = Barrier(THREADS)

    def first_enqueue() -> float:
        barrier.wait(60)
        return timed(enqueue_in_a_thread)

    with servers.frozen(url), ThreadPoolExecutor(THREADS) as pool:
        waited = [each.result() for each in [pool.submit(first_enqueue) for _ in range(THREADS)]]
    assert max(waited) < unhurried(2 * FIRST, below=(THREADS - 1) * ANSWER), "and not one after another"


def test_recovery_and_supervisors_do_not_wait_again_for_words_of_the_dead(url: str) -> None:
    job_id = int(job_scheduler.enqueue(Note("x")))
    lifecycle.claim([message(job_id)], worker="w", lease=-LEASE)
    with servers.frozen(url):
        enqueue()  # waits, and knows
        enqueue()
        assert timed(recovery.bring_back) < unhurried(LATER, below=ANSWER), (
            "it holds a transaction meanwhile, on SQLite the lock to write"
        )
        with pytest.raises(TransportUnavailable) as raised:
            get_transport().leave_last_words("w", LastWords(frozenset(), frozenset()))
        assert not raised.value.is_news
    assert record(job_id).state == "enqueued"


def test_words_of_the_dead_are_read_from_a_full_server_until_it_freezes(url: str) -> None:
    transport, words = get_transport(), LastWords(frozenset({7}), frozenset({7}))
    transport.leave_last_words("w", words)
    with Redis.from_url(url) as client:
        client.config_set("maxmemory", 1)
    enqueue()
    assert "Redis is full" in job_scheduler.transport_trouble()
    assert transport.last_words(["w"]) == {"w": words}
    with servers.frozen(url):
        wait_for("it is noticed", lambda: "does not answer" in job_scheduler.transport_trouble())
        with pytest.raises(TransportUnavailable) as raised:
            transport.last_words(["w"])
        assert (raised.type, raised.value.is_news) == (TransportUnavailable, False)


def test_workers_and_schedulers_notice_a_frozen_server_and_stop_or_go_on(
    url: str, start_worker: Start, start_scheduler: Start, notes: Notes
) -> None:
    staying, leaving, scheduler = start_worker("--processes", "1"), start_worker("--processes", "1"), start_scheduler()
    with Redis.from_url(url) as client:
        wait_for("both are there", lambda: Worker.count(connection=client) == 2)
    wait_state("succeeded", int(job_scheduler.enqueue(Note("before"))))
    with servers.frozen(url):
        ids = [int(i) for i in job_scheduler.enqueue_many([Note(str(n)) for n in range(20)])]
        for process in (staying, leaving, scheduler):
            wait_for("it is noticed", partial(says, process, "Redis does not answer"))
        assert leaving.terminate() == 0
    wait_state("succeeded", *ids)
    assert set(JobRecord.objects.values_list("attempt", "failures", "crashes")) == {(1, 0, 0)}
    assert "did not stop in time" not in leaving.log.read_text()
    assert (staying.terminate(), scheduler.terminate()) == (0, 0)


def test_supervisor_that_meets_a_frozen_server_starts_no_thread_because_it_forks(
    url: str, start_worker: Start, notes: Notes
) -> None:
    worker = start_worker("--processes", "1")
    job_id = int(job_scheduler.enqueue(Sleep(60, "it")))
    notes.wait("start it")
    with servers.frozen(url):
        (child,) = worker.children()
        child.kill()
        wait_for("it could not publish", partial(says, worker, "recorded but not yet published"))
        assert psutil.Process(worker.pid).num_threads() == 1
        assert (record(job_id).state, record(job_id).crashes) == ("enqueued", 1)
        assert worker.terminate() == 0
