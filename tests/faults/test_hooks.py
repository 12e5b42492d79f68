"""Hooks that go wrong in real processes: people see it, also when these processes have ended."""

from __future__ import annotations

import json

import pytest

from handlers import job_scheduler
from handlers.models import AttemptLog, HookTrouble
from tests.app.jobs import Note
from tests.faults.conftest import Start
from tests.faults.records import Notes, record, wait_state
from tests.processes import wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]


NAME = "tests.app.hooks.Raises"


@pytest.fixture
def ids(child_env: dict[str, str]) -> list[int]:
    """Two jobs, for workers with middleware that raises."""
    child_env["TEST_JOBS"] = json.dumps({"MIDDLEWARE": [NAME]})
    return list(map(int, job_scheduler.enqueue_many([Note("a"), Note("b")])))


def told(process: str = "") -> list[int]:
    return list(HookTrouble.objects.filter(process=process, name=NAME, hook="run").values_list("count", flat=True))


def test_what_goes_wrong_in_a_worker_is_on_record_when_that_has_ended(
    ids: list[int], start_worker: Start, notes: Notes
) -> None:
    worker = start_worker("--processes", "1")
    wait_state("succeeded", *ids)
    assert sorted(notes.lines()) == ["a", "b"]
    wait_for("it is on record", lambda: told() == [2])
    worker.terminate()
    assert told(record(ids[0]).worker) == [2]


def test_what_goes_wrong_in_a_stock_rqworker_is_on_record(ids: list[int], start: Start) -> None:
    """Whose processes end with each job, and wait a moment for it."""
    start("rqworker", "default", "--serializer", "json")
    wait_state("succeeded", *ids)
    wait_for("it is on record", told)


@pytest.mark.parametrize("options", [(), ("--threads", "4")], ids=["batched", "threads"])
def test_one_that_hangs_in_a_worker_is_broken_off_and_its_job_runs(
    options: tuple[str, ...], child_env: dict[str, str], start_worker: Start, notes: Notes
) -> None:
    name = "tests.app.hooks.Hangs"
    child_env["TEST_JOBS"] = json.dumps({"MIDDLEWARE": [name], "MIDDLEWARE_SECONDS": 0.2})
    ids = list(map(int, job_scheduler.enqueue_many([Note("a"), Note("b")])))
    start_worker("--processes", "1", *options)
    wait_state("succeeded", *ids)
    assert sorted(notes.lines()) == ["a", "b", "hangs", "hangs"]
    shown = HookTrouble.objects.filter(process="", name=name, hook="run", went="broken off")
    wait_for("it is on record", lambda: shown.filter(count=2).exists())
    assert all("was broken off" in str(log.lines) for log in AttemptLog.objects.filter(job__in=ids))
