"""Workflows with real workers: no scheduler is needed, and nothing is lost with a worker that dies."""

from __future__ import annotations

import pytest

from handlers import job_scheduler
from handlers.models import WatchedMove, Workflow
from handlers.workflows.flow import Flow, Node
from tests.app.jobs import Note, Sleep
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
