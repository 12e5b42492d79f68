"""Workflows with real workers: no scheduler is needed, and nothing is lost with a worker that dies."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from django.db import connection

from handlers import job_scheduler
from handlers.models import WatchedMove, Workflow
from handlers.workflows.flow import Flow, Node
from tests.app.jobs import Note, Nothing, Sleep
from tests.faults.conftest import Start
from tests.faults.records import Notes, broken_trails, wait_state
from tests.processes import wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]


def layers(flow: Flow, *widths: int) -> list[Node]:
    """Jobs in layers, each of which waits for all of the one before."""
    nodes: list[Node] = []
    layer: list[Node] = []
    for number, width in enumerate(widths):
        layer = flow.enqueue_many([Note(f"{number}") for _ in range(width)], after=layer)
        nodes += layer
    return nodes


def test_workers_do_it_all_in_a_burst_and_no_layer_begins_too_early(
    way: str, start_worker: Start, notes: Notes
) -> None:
    with job_scheduler.workflow("layers", on_end=Note("end")) as flow:
        nodes = layers(flow, 1, 30, 1, 12, 1)
    burst = start_worker("--processes", "2", "--burst")
    assert burst.ended() == 0
    wait_state("succeeded", *(node.job_id for node in nodes))
    assert notes.lines() == [*sorted(notes.lines())[: len(nodes)], "end"]
    assert broken_trails([nodes[0].job_id], awaiting=[node.job_id for node in nodes[1:]]) == []
    assert Workflow.objects.get().finished_at
    assert not WatchedMove.objects.exists()


def test_a_worker_that_is_killed_takes_nothing_of_it_with_it(
    start_worker: Start, start_scheduler: Start, notes: Notes
) -> None:
    with job_scheduler.workflow("killed") as flow:
        first = flow.enqueue_many([Sleep(0.05) for _ in range(60)])
        second = flow.enqueue_many([Note("x") for _ in range(20)], after=first)
        last = flow.enqueue(Note("last"), after=second)
    start_scheduler()
    worker = start_worker("--processes", "2")
    wait_for("some of it is done", lambda: Workflow.objects.get().succeeded > 5)
    worker.kill_all()
    start_worker("--processes", "2")
    wait_state("succeeded", last.job_id)
    wait_for("its end", lambda: Workflow.objects.get().finished_at)
    assert Workflow.objects.get().succeeded == 81
    later = [node.job_id for node in (*second, last)]
    assert broken_trails([node.job_id for node in first], awaiting=later) == []
    assert not WatchedMove.objects.exists()


WATCH = {
    "sqlite": [
        "CREATE TRIGGER test_update AFTER UPDATE ON jobs_workflow BEGIN INSERT INTO test_updates VALUES (NEW.id); END",
    ],
    "postgresql": [
        """
        CREATE FUNCTION test_update() RETURNS trigger LANGUAGE plpgsql
            AS $$ BEGIN INSERT INTO test_updates VALUES (NEW.id); RETURN NULL; END $$
        """,
        "CREATE TRIGGER test_update AFTER UPDATE ON jobs_workflow FOR EACH ROW EXECUTE FUNCTION test_update()",
    ],
}
UNWATCH = {
    "sqlite": ["DROP TRIGGER test_update"],
    "postgresql": ["DROP TRIGGER test_update ON jobs_workflow", "DROP FUNCTION test_update"],
}


@pytest.fixture
def updates(transactional_db: None) -> Iterator[Callable[[], int]]:
    """How often a workflow's row was updated since, by whomever."""

    def execute(*statements: str) -> None:
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def count() -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM test_updates")
            return int(cursor.fetchone()[0])

    execute("CREATE TABLE test_updates (id bigint)", *WATCH[connection.vendor])
    yield count
    execute(*UNWATCH[connection.vendor], "DROP TABLE test_updates")


@pytest.mark.usefixtures("quick")
def test_the_row_of_a_workflow_is_written_once_for_many_of_its_jobs(
    start_worker: Start, updates: Callable[[], int], notes: Notes
) -> None:
    with job_scheduler.workflow("many", on_end=Note("end")) as flow:
        for _ in range(2):
            flow.enqueue_many(Nothing() for _ in range(1_000))
    made = updates()
    assert made == 1, "with its sum, however many are added"
    assert start_worker("--processes", "2", "--burst").ended() == 0
    notes.wait("end")
    assert Workflow.objects.get().succeeded == 2_000
    assert updates() - made <= 100, "once a batch"
