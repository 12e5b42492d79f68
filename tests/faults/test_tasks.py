"""Tasks of Django in real workers, without a scheduler where nothing has to be due."""

from __future__ import annotations

import os
import signal
from importlib import import_module
from typing import Any

import pytest

from handlers.tasks.families import native
from tests.faults.conftest import Start
from tests.faults.records import Notes, moves, wait_state
from tests.processes import wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]

examples: Any = import_module("tests.app.tasks")  # of what tasks take here, Django's hints know nothing
STATUS = native().status


def test_workers_run_tasks_of_each_kind_and_of_queues_that_nobody_named(start_worker: Start, notes: Notes) -> None:
    asked = [
        examples.write.enqueue("sync"),
        examples.write_async.enqueue("async"),
        examples.look_around.enqueue("context"),
        examples.renamed.enqueue(),
    ]
    start_worker()
    wait_state("succeeded", *(int(result.id) for result in asked))
    assert sorted(notes.lines()) == ["async", "sync"]
    for result in asked:
        result.refresh()
        assert (result.status, result.attempts, moves(int(result.id))[-1]) == (STATUS.SUCCESSFUL, 1, "succeeded")
    assert [result.return_value for result in asked[1::2]] == ["async", "found"]
    later = examples.write.using(queue_name="made-up-later").enqueue("elsewhere")
    wait_state("succeeded", int(later.id))


def test_a_task_whose_worker_is_killed_runs_again(start_worker: Start, notes: Notes) -> None:
    result = examples.once_killed.enqueue()
    start_worker()
    [line] = notes.wait("runs in")
    os.kill(int(line.rpartition(" ")[2]), signal.SIGKILL)
    notes.wait("runs in", times=2)
    wait_state("succeeded", int(result.id))
    result.refresh()
    assert (result.status, result.attempts, len(set(result.worker_ids)), result.errors) == (STATUS.SUCCESSFUL, 2, 2, [])


def test_a_task_that_hangs_is_ended_and_told(
    start_worker: Start, start_scheduler: Start, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_JOBS", '{"TIMEOUT_GRACE_SECONDS": 0.3}')
    declared, own = examples.hang.enqueue(), examples.hang.using(max_attempts=1).enqueue()
    start_scheduler()
    start_worker()
    wait_state("failed", int(declared.id), int(own.id))
    for result, attempts in ((declared, 2), (own, 1)):
        result.refresh()
        assert (result.status, result.attempts) == (STATUS.FAILED, attempts)
        assert [error.exception_class.__name__ for error in result.errors] == ["JobTimeout"] * attempts
    assert wait_for("each attempt", lambda: len(notes.starting("hangs in")) == 3)
