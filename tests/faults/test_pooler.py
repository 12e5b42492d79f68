"""PgBouncer in transaction mode stands between, and no setting says so: nobody ever gets another client's row."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pytest
from django.core.checks import run_checks
from django.db import connection, connections

from handlers import job_scheduler, lifecycle
from handlers.models import JobRecord, sessions
from handlers.models.sql import fetch
from handlers.rq_transport.database_room import fitting
from tests import pgbouncer
from tests.app.jobs import Note
from tests.app.pooling import Ask
from tests.conftest import database_url
from tests.faults.conftest import Start
from tests.faults.records import Notes, wait_state
from tests.running import LEASE, claim, perform, record

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgresql]

T = TypeVar("T")

CLIENTS = 6
ROUNDS = 40


@pytest.fixture(scope="module")
def program() -> str:
    """PgBouncer's path. Skips the test where there is none; in CI that is a failure."""
    return pgbouncer.find() or pgbouncer.install() or pytest.skip("no PgBouncer: apt install pgbouncer")


@pytest.fixture
def pooler(program: str, transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The settings that lead through a PgBouncer with two connections."""
    monkeypatch.setattr(sessions, "_pooled", set())  # what is found here is forgotten afterwards
    with pgbouncer.running(program, connection.settings_dict, pool=2) as through:
        yield through


def all_at_once(pooler: dict[str, Any], work: Callable[[int], T], clients: int = CLIENTS) -> list[T]:
    """What ``work(number)`` answers in as many threads, each with a connection of its own through the pooler."""
    start = threading.Barrier(clients)
    settings = pooler | {"CONN_MAX_AGE": None}

    def one(number: int) -> T:
        connections["default"] = type(connections["default"])(settings, "default")  # this thread's
        try:
            connection.ensure_connection()
            start.wait(60)
            return work(number)
        finally:
            connection.close()

    with ThreadPoolExecutor(clients) as pool:
        return [future.result(60) for future in [pool.submit(one, number) for number in range(clients)]]


def test_no_client_gets_another_clients_row(pooler: dict[str, Any]) -> None:
    mine, yours = (type(connections["default"])(pooler, "default") for _ in range(2))

    def ask(client: Any, name: str) -> str:
        found: str = fetch(client, f"SELECT '{name}' || %s", ["!"])[0][0]
        return found

    try:
        for client in (mine, yours):  # both server connections are taken: each gets statements of one client
            client.set_autocommit(False)
            for _ in range(2):
                ask(client, "mine" if client is mine else "yours")
        for client in (mine, yours):
            client.commit()
            client.set_autocommit(True)
        assert [(ask(mine, "mine"), ask(yours, "yours")) for _ in range(3)] == [("mine!", "yours!")] * 3
    finally:
        mine.close()
        yours.close()


def test_no_statement_answers_another_clients_row(pooler: dict[str, Any]) -> None:
    def ask(number: int) -> set[int]:
        # Each client has its own statements, in the same order: psycopg would give them the same names.
        statements = [f"SELECT {number} + 0 * %s::int + {part} * 0" for part in range(3)]
        return {fetch(connection, sql, [1])[0][0] for _ in range(ROUNDS) for sql in statements}

    assert all_at_once(pooler, ask) == [{number} for number in range(CLIENTS)]


def test_orm_prepares_nothing_either_whatever_its_settings_ask_for(pooler: dict[str, Any]) -> None:
    def ask(number: int) -> set[int]:
        with connection.cursor() as cursor:
            return {cursor.execute(f"SELECT {number} + 0 * %s::int", [1]).fetchone()[0] for _ in range(ROUNDS)}

    options = {**pooler["OPTIONS"], "server_side_binding": True, "prepare_threshold": 1}
    assert all_at_once(pooler | {"OPTIONS": options}, ask) == [{number} for number in range(CLIENTS)]


def test_no_cursor_leads_to_another_clients_rows(pooler: dict[str, Any]) -> None:
    first = [job_scheduler.enqueue(Note(str(n))) for n in range(CLIENTS)]

    def read(number: int) -> set[int]:
        rows = JobRecord.objects.filter(pk=first[number])
        return {row.pk for _ in range(ROUNDS) for row in rows.iterator(chunk_size=1)}

    assert all_at_once(pooler, read) == [{int(job_id)} for job_id in first]


def test_jobs_are_enqueued_claimed_and_settled_under_load(pooler: dict[str, Any]) -> None:
    def work(number: int) -> list[tuple[str, str]]:
        found = []
        for turn in range(ROUNDS // 4):
            text = f"{number}.{turn}"
            job_id = job_scheduler.enqueue(Note(text))
            (claimed,) = claim(job_id, worker=f"worker-{number}")
            assert (claimed.job_id, claimed.payload) == (job_id, {"text": text})
            move = perform(claimed)
            assert move is not None
            assert lifecycle.renew([f"worker-{number}"], lease=LEASE) == {job_id: f"worker-{number}"}
            assert lifecycle.apply([move], actor=f"worker-{number}").moved == {job_id}
            found.append((record(job_id).state, record(job_id).worker))
        return found

    for number, found in enumerate(all_at_once(pooler, work)):
        assert set(found) == {("succeeded", f"worker-{number}")}


def test_a_pooler_that_gives_enough_limits_nothing(pooler: dict[str, Any]) -> None:
    assert all_at_once(pooler, lambda _: fitting(90, processes=2), clients=1) == [90]


def test_a_worker_whose_pooler_gives_too_few_connections_says_so_and_runs_with_fewer_threads(
    program: str, child_env: dict[str, str], start_worker: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "_pooled", set())
    with pgbouncer.running(program, connection.settings_dict, pool=4, clients=15) as narrow:
        child_env["DATABASE_URL"] = database_url(narrow)
        worker = start_worker("--processes", "2", "--threads", "40")
        wait_state("succeeded", *job_scheduler.enqueue_many([Ask(number, "ask") for number in range(1, 201)]))
        assert worker.terminate() == 0
    assert set(JobRecord.objects.values_list("attempt", "failures", "crashes")) == {(1, 0, 0)}
    log = worker.log.read_text()
    (line,) = [line for line in log.splitlines() if "threads may need" in line]
    assert line.endswith(
        "40 threads may need 44 database connections in each of 2 processes, which can have 7 (its pooler gives 15, and"
        " says: no more connections allowed (max_client_conn)): it runs 3. Raise that limit, or set --threads"
        " (JOBS['THREADS']) or --processes lower"
    )
    assert "Traceback" not in log


def test_check_and_processes_say_that_there_is_a_pooler(
    pooler: dict[str, Any], child_env: dict[str, str], start: Start, notes: Notes
) -> None:
    def check(_: int) -> list[str | None]:
        return [message.id for message in run_checks(tags=["database"], databases=["default"])]

    assert check(0) == []
    assert all_at_once(pooler, check, clients=1) == [["jobs.W001"]]
    child_env["DATABASE_URL"] = database_url(pooler)
    worker, scheduler = start("worker", "--processes", "3"), start("scheduler")
    ids = [int(job_id) for job_id in job_scheduler.enqueue_many([Note(str(n)) for n in range(300)])]
    wait_state("succeeded", *ids)
    assert sorted(notes.lines()) == sorted(str(n) for n in range(300))
    assert set(JobRecord.objects.values_list("attempt", "failures", "crashes")) == {(1, 0, 0)}
    assert worker.terminate() == 0
    assert scheduler.terminate() == 0
    for process in (worker, scheduler):
        assert process.log.read_text().count("through a connection pooler") == 1


def test_statements_are_prepared_on_a_session_of_ones_own_under_a_name_of_its_own(transactional_db: None) -> None:
    connection.close()
    for _ in range(3):
        fetch(connection, "SELECT %s::int AS mine", [1])
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, statement FROM pg_prepared_statements")
        ((name, statement),) = cursor.fetchall()
    assert statement == "SELECT $1::int AS mine"
    assert int(name.removeprefix("_pg3_")) > 1_000_000
    assert not sessions.leads_to_pooler("default")


def test_nothing_is_prepared_where_the_driver_counts_names_in_another_way(transactional_db: None) -> None:
    other = type(connections["default"])(connection.settings_dict, "default")
    try:
        other.ensure_connection()
        raw: Any = other.connection
        delattr(raw, sessions._KEPT)  # as if it were new, and of a psycopg to come
        del raw._prepared._prepared_idx
        raw.prepare_threshold = None
        assert sessions.has_own_session(other)
        assert [fetch(other, "SELECT %s::int AS mine", [n]) for n in range(8)] == [[(n,)] for n in range(8)]
        with other.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_prepared_statements")
            assert cursor.fetchone() == (0,)
    finally:
        other.close()


def test_nothing_is_prepared_where_the_settings_tell_of_a_pooler(transactional_db: None) -> None:
    settings = {"DISABLE_SERVER_SIDE_CURSORS": True, "OPTIONS": {"prepare_threshold": 0}}
    told = type(connections["default"])(connection.settings_dict | settings, "default")
    try:
        for _ in range(3):
            fetch(told, "SELECT %s::int AS mine", [1])
        with told.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_prepared_statements")
            assert cursor.fetchone() == (0,)
    finally:
        told.close()


def test_settings_written_by_hand_need_not_speak_of_poolers(transactional_db: None) -> None:
    """As Django's own documentation has them; what parses a URL may add the name."""
    settings = dict(connection.settings_dict)
    settings.pop("DISABLE_SERVER_SIDE_CURSORS", None)
    plain = type(connections["default"])(settings, "default")
    try:
        plain.ensure_connection()
        assert sessions.has_own_session(plain)
    finally:
        plain.close()
