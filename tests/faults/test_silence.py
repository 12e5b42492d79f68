"""The database takes what it is sent and says nothing: every process stops when told to, and goes on when it speaks."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection, connections, transaction
from django.test import Client
from redis import Redis
from rq import Worker

from dashboard.jobs import export
from dashboard.kit import waiting
from handlers import job_scheduler, limits
from handlers.models import JobRecord, WorkerProcess
from handlers.models.sql import is_postgresql
from tests import relay as relays
from tests.app.jobs import Note, Sleep
from tests.app.many import Hold, Stay
from tests.app.silence import Hang, LongQuery
from tests.faults.conftest import Start
from tests.faults.records import Notes, moves, record, trail, wait_state
from tests.faults.test_many_at_once import counts, many
from tests.processes import Managed, lives, unhurried, wait_for
from tests.relay import Relay
from tests.servers import free_port

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]

GRACE = 1.0
LEASE = 2.0
MOST = 2.0  # what a stop may take after its grace


@pytest.fixture(scope="module")
def port() -> int:
    """One for all, so that the processes of all have one environment, which is set up once."""
    return free_port()


@pytest.fixture
def relay(child_env: dict[str, str], port: int) -> Iterator[Relay]:
    """Stands between the database and the processes that the test starts; not the test itself."""
    with relays.running(connection.settings_dict, port) as relay:
        child_env["DATABASE_URL"] = relay.url
        yield relay


@pytest.fixture(autouse=True)
def _brief(child_env: dict[str, str]) -> None:
    child_env["TEST_JOBS"] = json.dumps({"SHUTDOWN_GRACE_SECONDS": GRACE, "LEASE_SECONDS": LEASE})


def stop(process: Managed, told: psutil.Process | None = None) -> None:
    """It, or ``told``, ends in order within the grace and a little; nothing of it is left."""
    children = process.children()
    told = told or psutil.Process(process.pid)
    began = time.monotonic()
    told.terminate()
    if told.pid == process.pid:
        assert process.ended() == 0
    else:
        wait_for("it has ended", lambda: not lives(told))
        children = []
    assert time.monotonic() - began <= GRACE + unhurried(MOST)
    assert not any(map(lives, children))


def fall_silent(relay: Relay, connections: str) -> None:
    """Until somebody waits for an answer on a connection that was open, or to be let in."""
    if connections == "open":
        relay.silence()
        wait_for("somebody asks in vain", lambda: relay.held)
    else:
        relay.silence(of_open=False)
        relay.hang_up()
        wait_for("somebody is not let in", lambda: relay.kept_waiting)


both = pytest.mark.parametrize("connections", ["open", "new"])


# --- told to stop


@pytest.mark.postgresql
@both
def test_a_worker_with_idle_processes_stops_in_time(start_worker: Start, relay: Relay, connections: str) -> None:
    worker = start_worker("--processes", "2")
    wait_for("both are shown", lambda: WorkerProcess.objects.count() == 2)
    fall_silent(relay, connections)
    stop(worker)


@pytest.mark.postgresql
@both
def test_a_worker_with_a_running_job_stops_in_time(
    start_worker: Start, start_scheduler: Start, notes: Notes, relay: Relay, connections: str
) -> None:
    job = int(job_scheduler.enqueue(Sleep(60, "it")))
    worker = start_worker("--processes", "2")
    notes.wait("start it")
    wait_for("both are shown", lambda: WorkerProcess.objects.count() == 2)
    fall_silent(relay, connections)
    stop(worker)
    relay.speak()
    start_scheduler()
    wait_state("enqueued", job)
    assert (record(job).attempt, record(job).failures, record(job).crashes) == (1, 0, 0)


@pytest.mark.postgresql
@both
def test_a_worker_that_runs_many_at_once_stops_in_time(
    start_worker: Start, start_scheduler: Start, notes: Notes, relay: Relay, connections: str
) -> None:
    ids = many(*(Stay(str(n)) for n in range(20)))
    worker = start_worker("--processes", "2")
    notes.wait("start", times=20)
    wait_for("both are shown", lambda: WorkerProcess.objects.count() == 2)
    fall_silent(relay, connections)
    stop(worker)
    relay.speak()
    start_scheduler()
    wait_state("enqueued", *ids)
    assert counts(ids) == {(1, 0, 0)}


@pytest.mark.postgresql
@both
def test_many_that_end_in_the_silence_are_recorded_after_it(
    start_worker: Start, notes: Notes, relay: Relay, connections: str
) -> None:
    ids = many(*(Stay(str(n)) for n in range(20)))
    worker = start_worker("--processes", "1")
    notes.wait("start", times=20)
    wait_for("it is shown", lambda: WorkerProcess.objects.count() == 1)
    fall_silent(relay, connections)
    notes.let_go()
    notes.wait("end", times=20)
    wait_for("the worker finds it silent", lambda: "cannot re" in worker.log.read_text())
    relay.speak()
    wait_state("succeeded", *ids, *many(Stay("afterwards")))
    assert counts(ids) == {(1, 0, 0)}
    assert len(notes.starting("start")) == 21


@pytest.mark.postgresql
@both
def test_a_worker_that_records_an_outcome_stops_in_time(
    start_worker: Start, start_scheduler: Start, notes: Notes, relay: Relay, connections: str
) -> None:
    job = int(job_scheduler.enqueue(Sleep(1, "it")))
    worker = start_worker("--processes", "1")
    notes.wait("start it")
    fall_silent(relay, connections)
    notes.wait("end it")
    stop(worker)
    relay.speak()
    start_scheduler()
    wait_for("it was recorded after all, or comes back", lambda: record(job).state != "processing")
    assert (record(job).attempt, record(job).failures, record(job).crashes) == (1, 0, 0)
    assert moves(job)[-1] == record(job).state
    if record(job).state == "enqueued":
        assert trail(job)[-1][2] == "its worker was lost before the outcome was recorded"


@pytest.mark.postgresql
@both
def test_one_process_of_a_worker_stops_in_time_and_is_replaced(
    start_worker: Start, notes: Notes, relay: Relay, connections: str
) -> None:
    job = int(job_scheduler.enqueue(Sleep(1, "it")))
    worker = start_worker("--processes", "1")
    (started,) = notes.wait("start it")
    fall_silent(relay, connections)
    notes.wait("end it")
    stop(worker, psutil.Process(int(started.split()[-1])))
    relay.speak()
    wait_state("succeeded", job, int(job_scheduler.enqueue(Note("next"))))
    assert (record(job).failures, record(job).crashes) == (0, 0)


@pytest.mark.postgresql
@both
def test_a_lone_scheduler_stops_in_time(start_scheduler: Start, relay: Relay, connections: str) -> None:
    scheduler = start_scheduler()
    wait_for("it is shown", WorkerProcess.objects.count)
    fall_silent(relay, connections)
    stop(scheduler)


@pytest.mark.postgresql
@pytest.mark.parametrize("command", ["worker", "scheduler"])
def test_what_starts_in_silence_stops_in_time(start: Start, relay: Relay, command: str) -> None:
    relay.silence()
    process = start(command)
    said = {"worker": "waiting for the database", "scheduler": " starts"}[command]
    wait_for("it is not let in", lambda: relay.kept_waiting and said in process.log.read_text())
    stop(process)


def test_a_scheduler_stops_in_time_while_the_database_is_locked(start_scheduler: Start) -> None:
    scheduler = start_scheduler()
    wait_for("it is shown", WorkerProcess.objects.count)
    with transaction.atomic():
        # On PostgreSQL its row is locked, on SQLite the whole database.
        WorkerProcess.objects.select_for_update().get()
        wait_for("it waits for that", lambda: is_waiting(scheduler))
        stop(scheduler)


def is_waiting(scheduler: Managed) -> bool:
    """Whether it waits for a lock; or, on SQLite, has waited."""
    if not is_postgresql(connection):
        return "database is locked" in scheduler.log.read_text()
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted)")
        return bool(cursor.fetchone()[0])


@pytest.mark.postgresql
@pytest.mark.parametrize("address", ["/admin/", "/admin/jobs/jobrecord/", "/admin/workers/", "/admin/jobs/export/"])
def test_a_page_of_the_console_lets_go_of_its_thread(
    monkeypatch: pytest.MonkeyPatch, transactional_db: None, address: str
) -> None:
    monkeypatch.setattr(waiting, "ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(limits, "SILENT_SECONDS", 0.5)
    monkeypatch.setattr(export, "CHUNK_SECONDS", 0.5)
    client = Client()
    client.force_login(User.objects.create_superuser("ann"))

    def ask(relay: Relay) -> None:
        through = {"HOST": "127.0.0.1", "PORT": relay.port, "CONN_MAX_AGE": None}
        connections["default"] = type(connections["default"])(connection.settings_dict | through, "default")
        try:
            response = client.get(address)
            assert response.status_code == 200
            assert b"".join(response)  # to its end, else it is closed as it is collected, in the middle of a statement
            relay.silence()
            with pytest.raises(OperationalError, match="has not answered"):
                client.get(address)
        finally:
            connection.close()

    with relays.running(connection.settings_dict, free_port()) as relay, ThreadPoolExecutor(1) as pool:
        try:
            pool.submit(ask, relay).result(120)
        finally:
            relay.close()


# --- going on


@pytest.mark.postgresql
def test_an_outcome_is_recorded_though_the_connection_is_dead(start_worker: Start, notes: Notes, relay: Relay) -> None:
    job = int(job_scheduler.enqueue(Sleep(1, "it")))
    worker = start_worker("--processes", "1")
    notes.wait("start it")
    relay.silence(of_new=False)
    wait_state("succeeded", job)
    assert moves(job) == ["processing", "succeeded"]
    assert "cannot record 1 outcomes" in worker.log.read_text()
    wait_state("succeeded", int(job_scheduler.enqueue(Note("next"))))


@pytest.mark.postgresql
def test_a_claim_that_comes_late_is_given_back(start_worker: Start, notes: Notes, relay: Relay, redis: Redis) -> None:
    worker = start_worker("--processes", "1")
    wait_for("it has nothing to do", lambda: [w.get_state() for w in Worker.all(connection=redis)] == ["idle"])
    relay.silence()
    job = int(job_scheduler.enqueue(Note("it")))
    wait_for("its claim was not answered", lambda: "waiting for the database" in worker.log.read_text())
    relay.speak()
    wait_state("succeeded", job)
    assert notes.lines() == ["it"]
    assert (record(job).attempt, record(job).failures, record(job).crashes) == (1, 0, 0)
    assert not JobRecord.objects.filter(state="processing").exists()


@pytest.mark.postgresql
def test_a_scheduler_goes_on_though_its_connection_is_dead(start_scheduler: Start, relay: Relay) -> None:
    scheduler = start_scheduler()
    wait_for("it is shown", WorkerProcess.objects.count)
    before = WorkerProcess.objects.get().heartbeat_at
    relay.silence(of_new=False)
    wait_for("it is seen again", lambda: WorkerProcess.objects.filter(heartbeat_at__gt=before).exists())
    wait_for("it says so", lambda: "given up" in scheduler.log.read_text())


@pytest.mark.postgresql
def test_a_handlers_query_takes_as_long_as_it_takes(start_worker: Start, notes: Notes) -> None:
    job = int(job_scheduler.enqueue(LongQuery(1.5 * LEASE)))
    start_worker("--processes", "1")
    wait_state("succeeded", job)
    assert (notes.lines(), moves(job)) == (["asked"], ["processing", "succeeded"])


@pytest.mark.postgresql
def test_what_is_held_up_in_a_server_that_lives_is_waited_for_and_left_behind_nowhere(
    start_worker: Start, notes: Notes
) -> None:
    job = int(job_scheduler.enqueue(Hold("it", swallow=True)))
    worker = start_worker("--processes", "1")
    notes.wait("start it")
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {JobRecord._meta.db_table} IN ACCESS EXCLUSIVE MODE")
        notes.let_go("it")
        wait_for("it tries again and again", lambda: worker.log.read_text().count("cannot record 1 outcomes") >= 2)
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        assert cursor.fetchone()[0] <= 2, "one of the worker process, one of its supervisor"
    wait_state("succeeded", job)
    assert moves(job) == ["processing", "succeeded"]


def test_a_process_that_holds_jobs_and_gets_nowhere_is_replaced(
    start_worker: Start, notes: Notes, child_env: dict[str, str]
) -> None:
    child_env["TEST_JOBS"] = json.dumps({"LEASE_SECONDS": 1})
    job = int(job_scheduler.enqueue(Hang()))
    worker = start_worker("--processes", "1")
    notes.wait("hangs")
    wait_state("succeeded", job)
    assert notes.starting("start") == ["start 1", "start 2"]
    assert (record(job).attempt, record(job).failures, record(job).crashes) == (2, 0, 0)
    assert moves(job) == ["processing", "enqueued", "processing", "succeeded"]
    assert trail(job)[1][2] == "its worker was lost before the outcome was recorded"
    assert "has got nowhere for" in worker.log.read_text()
