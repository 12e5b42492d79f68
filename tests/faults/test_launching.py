"""The processes that a job starts go with it, or else with its worker."""

from __future__ import annotations

import psutil
import pytest

from handlers import job_scheduler
from tests.app.jobs import Note
from tests.app.launching import AsyncLaunch, Launch, QuickLaunch
from tests.faults.conftest import Start
from tests.faults.records import Notes, moves, record, wait_state
from tests.processes import lives, wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis, pytest.mark.once]


@pytest.fixture(autouse=True)
def _short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_JOBS", '{"SHUTDOWN_GRACE_SECONDS": 0.5, "TIMEOUT_GRACE_SECONDS": 0.5}')


def launched(notes: Notes, key: str) -> list[psutil.Process]:
    """What the job of this key started: all of it lives, or lived a moment ago."""
    (line,) = notes.wait(key)
    processes = []
    for pid in line.split()[1:]:
        try:
            processes.append(psutil.Process(int(pid)))
        except psutil.NoSuchProcess:
            continue
    return processes


def gone(processes: list[psutil.Process]) -> None:
    wait_for(f"{processes} are gone", lambda: not any(map(lives, processes)))


def test_what_a_job_started_goes_with_it_unless_it_succeeded(start_worker: Start, notes: Notes) -> None:
    worker = start_worker("--processes", "1")
    wait_state("succeeded", job_scheduler.enqueue(Launch("left", "return")))
    left = launched(notes, "left")
    assert len(left) == 2
    wait_state("failed", job_scheduler.enqueue(Launch("failed", "fail", apart=True)))
    gone(launched(notes, "failed"))
    soft = job_scheduler.enqueue(QuickLaunch("soft", "ask", apart=True))
    wait_state("failed", soft)
    gone(launched(notes, "soft"))
    assert all(map(lives, left)), "what a job that succeeded left running is not for a later one to end"
    hard = job_scheduler.enqueue(QuickLaunch("hard", "wait", apart=True))
    blocked = launched(notes, "hard")
    wait_state("failed", hard)
    gone(blocked + left)  # the latter with their worker, which had to be killed
    dying = job_scheduler.enqueue(Launch("dying", "die"))
    wait_state("failed", dying)
    assert record(int(dying)).crashes == 3
    for line in notes.starting("dying"):
        gone([psutil.Process(int(pid)) for pid in line.split()[1:] if psutil.pid_exists(int(pid))])
    wait_state("succeeded", job_scheduler.enqueue(Launch("last", "return")))
    last = launched(notes, "last")
    assert all(map(lives, last))
    assert worker.terminate() == 0
    gone(last)


def test_what_an_async_job_has_started_is_not_for_a_failed_one_beside_it_to_end(
    start_worker: Start, notes: Notes
) -> None:
    start_worker("--processes", "1")
    slow = job_scheduler.enqueue(QuickLaunch("slow", "ask"))  # it began before, and holds the main thread
    notes.wait("slow")
    waits = job_scheduler.enqueue(AsyncLaunch("beside"))
    [program] = launched(notes, "beside")
    wait_state("failed", slow)
    failed = job_scheduler.enqueue(Launch("failed", "fail"))  # it begins later
    wait_state("failed", failed)
    assert lives(program)
    program.terminate()
    wait_state("succeeded", waits)
    assert notes.lines()[-1] == "ended with -15"


def test_a_deleted_job_that_does_not_stop_is_killed_with_what_it_started(start_worker: Start, notes: Notes) -> None:
    job = int(job_scheduler.enqueue(Launch("it", "wait", apart=True)))
    start_worker("--processes", "1")
    started = launched(notes, "it")
    assert job_scheduler.delete(job)
    gone(started)
    wait_state("succeeded", job_scheduler.enqueue(Note("next")))
    assert moves(job) == ["processing", "deleted"]


@pytest.mark.parametrize("kill", [False, True], ids=["stopped", "killed"])
def test_what_a_job_started_goes_when_its_worker_stops_or_loses_its_supervisor(
    start_worker: Start, notes: Notes, kill: bool
) -> None:
    job = int(job_scheduler.enqueue(Launch("it", "wait", apart=not kill)))
    worker = start_worker("--processes", "1")
    started, children = launched(notes, "it"), worker.children()
    if kill:
        worker.process.kill()
        worker.process.wait()
    else:
        assert worker.terminate() == 0
        assert moves(job) == ["processing", "enqueued"]
    gone(started + children)
