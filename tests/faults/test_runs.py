"""Long work in real workers: told while it goes on, killed, stopped, and gone on with."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group

from handlers import job_scheduler
from handlers.models import AttemptLog, JobStep, RunState
from tests.app.runs import Import, Watch
from tests.faults.conftest import Start
from tests.faults.records import Notes, moves, record, wait_state
from tests.processes import wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]


@pytest.fixture(autouse=True)
def groups() -> list[str]:
    Group.objects.all().delete()
    names = [f"group {number:02}" for number in range(1, 41)]
    Group.objects.bulk_create(Group(name=name) for name in names)
    return names


def rows(notes: Notes) -> list[str]:
    return [line.removeprefix("row ") for line in notes.starting("row ")]


@pytest.mark.parametrize("options", [(), ("--threads", "4")], ids=["batched", "threads"])
def test_what_a_run_tells_can_be_read_while_it_goes_on(
    options: tuple[str, ...], start_worker: Start, notes: Notes
) -> None:
    job_id = int(job_scheduler.enqueue(Import()))
    start_worker("--processes", "1", *options)
    notes.wait("half")
    wait_for("it is told", lambda: RunState.objects.filter(pk=job_id, done=20, total=40, message="at group 20"))
    wait_for("its log is", lambda: "half of it is done" in str(RunState.objects.get(pk=job_id).lines))
    assert not AttemptLog.objects.exists()
    assert [(step.name, step.rows, bool(step.finished_at)) for step in JobStep.objects.all()][:1] == [
        ("load", None, True)
    ]
    notes.let_go()
    wait_state("succeeded", job_id)
    wait_for("its last words are", lambda: RunState.objects.filter(pk=job_id, done=40))
    assert RunState.objects.get().lines is None
    assert AttemptLog.objects.get().lines[0][3] == "half of it is done"


def test_a_coroutine_tells_it_as_well(start_worker: Start, notes: Notes) -> None:
    job_id = int(job_scheduler.enqueue(Watch()))
    start_worker("--processes", "1")
    wait_for("it is told", lambda: RunState.objects.filter(pk=job_id, done__gt=1, total=None, message="on a loop"))
    state = RunState.objects.get()
    assert "it begins" in str(state.lines)
    wait_for("and again", lambda: RunState.objects.filter(pk=job_id, done__gt=state.done))
    notes.let_go()
    wait_state("succeeded", job_id)


def test_one_that_is_killed_goes_on_at_its_step_and_at_its_row(
    start_worker: Start, notes: Notes, groups: list[str]
) -> None:
    job_id = int(job_scheduler.enqueue(Import()))
    worker = start_worker("--processes", "1")
    notes.wait("half")
    wait_for("its place is kept", lambda: JobStep.objects.filter(rows=19))
    (child,) = worker.children()
    child.kill()
    notes.let_go()
    wait_state("succeeded", job_id)
    assert notes.lines().count("load") == notes.lines().count("tell") == 1
    assert rows(notes) == [*groups[:20], *groups[19:]], "the row that it was at comes again, and no other"
    assert record(job_id).attempt == 2


def test_one_that_is_stopped_ends_between_two_rows_and_goes_on_there(
    start_worker: Start, notes: Notes, groups: list[str]
) -> None:
    job_id = int(job_scheduler.enqueue(Import()))
    worker = start_worker("--processes", "1")
    notes.wait("half")
    assert worker.terminate() == 0
    assert rows(notes) == groups[:20]
    assert moves(job_id) == ["processing", "enqueued"]
    assert JobStep.objects.get(name="each auth.group").rows == 20
    start_worker("--processes", "1")
    wait_state("succeeded", job_id)
    assert rows(notes) == groups
    assert record(job_id).failures == 0
