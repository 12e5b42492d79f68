"""Many jobs at once while the worker stops or makes way, the database is away, or one has the process for itself."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from django.conf import settings
from django.db import transaction
from redis import Redis
from rq import Worker
from rq.command import send_shutdown_command

from handlers import job_scheduler
from handlers.models import AttemptLog, JobHistory, JobRecord
from handlers.rq_transport.marks import Marks
from handlers.rq_transport.worker import BatchWorker
from tests.app.jobs import AsyncNote, Note, Sleep
from tests.app.many import Forget, Hold, Stay
from tests.faults.conftest import Start
from tests.faults.outages import away, guest_url
from tests.faults.records import Notes, broken_trails, record, states, trail, wait_state
from tests.faults.test_many_at_once import Way, both, counts, many
from tests.processes import PATIENCE_SECONDS, unhurried, wait_for
from tests.running import message

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]


# --- a stop


@both
def test_at_a_stop_what_ends_in_the_grace_is_recorded_and_the_rest_goes_back_uncounted(
    way: Way, start_worker: Start, notes: Notes, child_env: dict[str, str]
) -> None:
    child_env["TEST_JOBS"] = '{"SHUTDOWN_GRACE_SECONDS": 2}'
    jobs = many(
        *(way.stay(f"quick {n}", swallow=True) for n in range(5)),
        *(way.stay(f"back {n}") for n in range(5)),
        way.stay("never", swallow=True),
        Hold("never", swallow=True),  # which is in the main thread, if there are no others
    )
    quick, back, never = jobs[:5], jobs[5:10], jobs[10:]
    worker = start_worker("--processes", "1", *way.options)
    notes.wait("start", times=12)
    worker.process.terminate()
    for n in range(5):
        notes.let_go(f"quick {n}")
    began = time.monotonic()
    assert worker.ended() == 0
    assert time.monotonic() - began < 2 + unhurried(3), "the grace, and what the supervisor may take after it"
    assert counts(jobs) == {(1, 0, 0)}
    assert (states(quick), states([*back, *never])) == ({"succeeded"}, {"enqueued"})
    assert sorted(notes.starting("cancelled back")) == [f"cancelled back {n} stopping" for n in range(5)]
    assert {trail(job_id)[-1][2] for job_id in back} == {"its worker was asked to stop"}
    assert {trail(job_id)[-1][2] for job_id in never} == {"its worker had to stop before it could finish"}
    notes.let_go()
    notes.let_go("never")
    start_worker("--processes", "1", *way.options)
    wait_state("succeeded", *back, *never)
    assert broken_trails(jobs) == []


@both
@pytest.mark.once
def test_a_shutdown_for_good_waits_for_all_of_them(
    way: Way, start_worker: Start, notes: Notes, redis: Redis, child_env: dict[str, str]
) -> None:
    child_env["TEST_JOBS"] = '{"SHUTDOWN_GRACE_SECONDS": 0.5}'
    ids = many(*(way.stay(str(n)) for n in range(10)))
    worker = start_worker("--processes", "1", *way.options)
    notes.wait("start", times=10)
    wait_for("it hears commands", lambda: "Listening on" in worker.log.read_text())
    (listed,) = Worker.all(connection=redis)
    send_shutdown_command(redis, listed.name)
    wait_for("it was asked to stop", lambda: "was told to shut down" in worker.log.read_text())
    (later,) = many(Note("later"))
    asked = time.monotonic()
    wait_for("some graces have passed", lambda: time.monotonic() > asked + 1.5)
    assert notes.starting("cancelled") == []
    notes.let_go()
    assert worker.ended() == 0
    assert states(ids) == {"succeeded"}
    assert counts(ids) == {(1, 0, 0)}
    assert (states([later]), record(later).attempt) == ({"enqueued"}, 0)


@both
@pytest.mark.once
def test_max_jobs_replaces_a_process_and_no_job_notices(way: Way, start_worker: Start, notes: Notes) -> None:
    notes.let_go()
    ids = many(*(way.stay(str(n)) for n in range(45)))
    worker = start_worker("--processes", "1", "--max-jobs", "10", *way.options)
    wait_state("succeeded", *ids)
    assert counts(ids) == {(1, 0, 0)}
    assert not JobHistory.objects.filter(reason="its worker was asked to stop").exists(), "what is claimed may run"
    ran = Counter(line.split()[-1] for line in notes.starting("start"))
    assert len(ran) >= 5
    assert max(ran.values()) <= 10
    assert "ERROR" not in worker.log.read_text()


@both
@pytest.mark.once
@pytest.mark.parametrize("option", [("--max-jobs", "3"), ("--max-memory", "1")], ids=["max-jobs", "max-memory"])
def test_a_process_that_makes_way_lets_its_jobs_end_and_others_go_on_in_its_successor(
    option: tuple[str, str], way: Way, start_worker: Start, notes: Notes
) -> None:
    ids = many(*(way.stay(str(n)) for n in range(3)))
    worker = start_worker("--processes", "1", *option, *way.options)
    notes.wait("start", times=3)
    makes_way = {line.split()[-1] for line in notes.starting("start")}
    wait_for("another is there", lambda: {str(child.pid) for child in worker.children()} > makes_way)
    others = many(*(Sleep(0, f"other {n}") for n in range(5)))
    wait_state("succeeded", *others)
    assert states(ids) == {"processing"}, "nobody waited for them"
    assert not makes_way & {line.split()[-1] for line in notes.starting("start other")}
    notes.let_go()
    wait_state("succeeded", *ids)
    wait_for("the first ones are gone", lambda: not makes_way & {str(child.pid) for child in worker.children()})
    assert counts([*ids, *others]) == {(1, 0, 0)}
    assert notes.starting("cancelled") == []
    assert "ERROR" not in worker.log.read_text()


@both
@pytest.mark.once
def test_rqs_own_commands_show_a_worker_with_many_at_once_and_suspend_and_resume_it(
    way: Way, start_worker: Start, notes: Notes, redis: Redis
) -> None:
    ids = many(*(way.stay(str(n)) for n in range(20)))
    worker = start_worker("--processes", "1", *way.options)
    notes.wait("start", times=20)
    (child,) = worker.children()

    def says(state: str, queued: int) -> bool:
        told = rq("info", "--raw")
        [worker] = [line for line in told if line.startswith("worker ")]
        [queue] = [line for line in told if line.startswith("queue default ")]
        return f" {child.pid}) {state} default" in worker and queue.startswith(f"queue default {queued},")

    wait_for("it is busy", lambda: says("busy", 0))
    rq("suspend")
    wait_for("it is suspended", lambda: says("suspended", 0))
    (later,) = many(way.stay("later"))
    notes.let_go()
    wait_state("succeeded", *ids)
    assert says("suspended", 1)
    assert (states([later]), record(later).attempt) == ({"enqueued"}, 0)
    rq("resume")
    wait_state("succeeded", later)
    wait_for("it is idle", lambda: says("idle", 0))
    assert [each.pid for each in Worker.all(connection=redis)] == [child.pid]
    assert counts([*ids, later]) == {(1, 0, 0)}


def rq(*args: str) -> list[str]:
    """What RQ's own command says."""
    program, (command, *options) = Path(sys.executable).with_name("rq"), args
    url = ["--url", settings.JOBS["REDIS_URL"], "--serializer", "json"]
    return subprocess.run(
        [program, command, *url, *options], check=True, capture_output=True, text=True, timeout=PATIENCE_SECONDS
    ).stdout.splitlines()


# --- beside each other


@pytest.mark.parametrize("long", ["main thread", "threads"])
def test_a_long_sync_job_holds_up_neither_outcomes_nor_starts_of_async_ones(
    long: str, start_worker: Start, notes: Notes
) -> None:
    ids = many(*(Stay(str(n)) for n in range(20)))
    start_worker("--processes", "1", *(("--threads", "2") if long == "threads" else ()))
    notes.wait("start", times=20)
    held = many(*(Hold(f"held {n}", swallow=True) for n in range(2 if long == "threads" else 1)))
    notes.wait("start held", times=len(held))
    notes.let_go()
    wait_state("succeeded", *ids)
    wait_state("succeeded", *many(*(AsyncNote(f"later {n}") for n in range(5))))
    (behind,) = many(Note("behind"))
    wait_state("succeeded", *many(AsyncNote("last")))
    assert set(JobRecord.objects.filter(state="processing").values_list("pk", flat=True)) == set(held)
    assert (states([behind]), record(behind).attempt) == ({"enqueued"}, 0), "nothing claimed waits behind them"
    for n in range(len(held)):
        notes.let_go(f"held {n}")
    wait_state("succeeded", *held, behind)
    assert counts([*ids, *held]) == {(1, 0, 0)}


@both
def test_one_that_must_run_alone_does_among_many(way: Way, start_worker: Start, notes: Notes) -> None:
    ids = many(*(way.stay("alone" if n in {10, 20} else str(n)) for n in range(30)))
    JobRecord.objects.filter(pk__in=[ids[10], ids[20]]).update(alone=True)
    start_worker("--processes", "1", *way.options)
    notes.wait("start", times=5)
    with transaction.atomic():  # and one that comes by itself
        ids += (single := many(way.stay("alone")))
        JobRecord.objects.filter(pk__in=single).update(alone=True)
    notes.let_go()
    wait_state("succeeded", *ids)
    running, is_alone = 0, False
    for line in notes.lines():
        what, name, *_ = line.split()
        if what == "start":
            assert not is_alone, "it had company"
            assert name != "alone" or not running, "it came into company"
        running += 1 if what == "start" else -1
        is_alone = name == "alone" and what == "start"
    assert notes.lines().count("end alone") == 3
    assert counts(ids) == {(1, 0, 0)}


@both
def test_a_database_that_is_away_costs_none_of_many(
    way: Way, start_worker: Start, notes: Notes, child_env: dict[str, str]
) -> None:
    ids = many(*(way.stay(str(n)) for n in range(20)))
    with guest_url() as child_env["DATABASE_URL"]:
        worker = start_worker("--processes", "1", *way.options)
        notes.wait("start", times=20)
        with away():
            notes.let_go()
            notes.wait("end", times=20)
            wait_for("the worker finds it away", lambda: "cannot re" in worker.log.read_text())
        wait_state("succeeded", *ids)
        wait_state("succeeded", *many(*(way.stay(f"later {n}") for n in range(20)), Note("afterwards")))
        assert counts(ids) == {(1, 0, 0)}
        assert len(notes.starting("start")) == 40
        assert broken_trails(ids) == []
        assert worker.log.read_text().count("started, PID") == 1
        worker.end()


@pytest.mark.once
def test_what_a_handler_forgets_is_ended_and_named_in_its_log(start_worker: Start, notes: Notes) -> None:
    stays = many(*(Stay(str(n)) for n in range(5)))
    start_worker("--processes", "1")
    notes.wait("start", times=5)
    ids = dict(zip("abc", many(*(Forget(name) for name in "abc")), strict=True))
    wait_state("succeeded", *ids.values())
    notes.wait("left behind", times=3)
    notes.let_go()
    wait_state("succeeded", *stays)
    logs = {log.job_id: [line[3].partition(" (")[0] for line in log.lines] for log in AttemptLog.objects.all()}
    assert logs == {
        job_id: [
            "coroutine '_never_awaited' was never awaited",
            f"the handler left 1 tasks behind, which are cancelled: task of {name}",
        ]
        for name, job_id in ids.items()
    }


@pytest.mark.once  # its threads, which live as long as this process, keep their connections
def test_a_process_holds_nothing_once_all_have_ended() -> None:
    """Else its supervisor would take it for one that gets nowhere."""
    marks = Marks(8, max_async=4, threads=4)
    worker = BatchWorker(["default"], name="host.1.ends", marks=marks, weights=None)
    worker.register_birth()
    worker._runs.begin()
    job = int(job_scheduler.enqueue(Sleep(0.3, "it")))
    worker.execute_job([message(job)], None)
    assert (states([job]), marks.holding) == ({"processing"}, True)
    wait_state("succeeded", job)
    wait_for("it looks for more, and holds nothing", lambda: not worker._look() and not marks.holding)
