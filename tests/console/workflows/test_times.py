"""The time line: what each job did when, whatever its columns say."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client

from dashboard.workflows import nodes
from dashboard.workflows.gantt import gantt, parts
from dashboard.workflows.nodes import Row
from handlers import job_scheduler
from handlers.models import JobRecord, WorkflowNode
from handlers.states import State
from tests.console.workflows.conftest import Send, Step, drain, page

NOON = datetime(2031, 3, 28, 12, tzinfo=UTC)


def at(seconds: float | None) -> datetime | None:
    return None if seconds is None else NOON + timedelta(seconds=seconds)


def row(state: str, enqueued: float | None, started: float | None, finished: float | None, pk: int = 7) -> Row:
    job = JobRecord(
        pk=pk, job_type="shop.Step", state=state, created_at=NOON, enqueued_at=at(enqueued), started_at=at(started),
        finished_at=at(finished),
    )  # fmt: skip
    return Row(WorkflowNode(pk=pk), job)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (row(State.SUCCEEDED, 10, 20, 50), [("waits", 0, 10), ("queued", 10, 20), ("ran", 20, 50)]),
        (row(State.FAILED, 0, 20, 50), [("waits", 0, 0), ("queued", 0, 20), ("failed", 20, 50)]),
        (row(State.PROCESSING, 10, 20, None), [("waits", 0, 10), ("queued", 10, 20), ("ran", 20, 60)]),
        (row(State.ENQUEUED, 10, None, None), [("waits", 0, 10), ("queued", 10, 60)]),
        (row(State.ENQUEUED, 30, 10, None), [("waits", 0, 30), ("queued", 30, 60)]),  # it is to run again
        (row(State.AWAITING, None, None, None), [("waits", 0, 60)]),
        (row(State.DELETED, None, None, 40), [("waits", 0, 40)]),
        (row(State.DELETED, 10, None, 40), [("waits", 0, 10), ("queued", 10, 40)]),
        (row(State.SUCCEEDED, 30, 20, 10), [("waits", 0, 30)]),  # clocks that went back
    ],
)
def test_parts_follow_each_other(given: Row, expected: list[tuple[str, int, int]]) -> None:
    assert given.job
    found = parts(given, NOON, NOON + timedelta(seconds=60))
    assert [(part.kind, (part.start - NOON).seconds, (part.end - NOON).seconds) for part in found] == expected


def test_signs_and_words_stand_beside_the_colours() -> None:
    rows = [row(State.FAILED, 1, 2, 3, 1), row(State.SUCCEEDED, 1, 2, 3, 2), row(State.PROCESSING, 1, 2, None, 3)]
    picture = gantt(rows, NOON, NOON + timedelta(seconds=60))
    assert "shop.Step #1: failed; waited for others 1 s, waited on its queue 1 s, failed after 1 s" in picture
    for sign in ("✗", "✓"):
        assert picture.count(f">{sign}</text>") == 1
    assert "When each of 3 jobs waited and ran, over 1 min; 3 of them have run." in picture
    assert gantt([], NOON, NOON) == ""
    assert gantt([row(State.AWAITING, None, None, None)], NOON, NOON)


@pytest.mark.django_db(transaction=True)
def test_page_draws_the_first_ones_and_leads_on(
    superuser: Client, bad: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes, "DRAWN", 5)
    monkeypatch.setattr(nodes, "SIZE", 3)
    with job_scheduler.workflow() as flow:
        steps = flow.enqueue_many([Step("a")] * 7)
        flow.enqueue(Send("b"), after=steps)
    drain()
    html = superuser.get(page(flow.workflow_id)).content.decode()
    assert "The first 5 jobs of it." in html
    link = re.search(r'href="(\?after=\d+)#jobs">Further ones', html)
    assert link
    html = superuser.get(page(flow.workflow_id) + link[1]).content.decode()
    assert "When each of 3 jobs waited and ran" in html
    assert "Further ones" not in html
