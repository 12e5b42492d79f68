"""A call that blocks the event loop of many async handlers is seen and told, and the worker lives on."""

from __future__ import annotations

import pytest

from handlers import job_scheduler
from handlers.models import BlockingCall
from tests.app.coroutines import Block, Wait
from tests.app.many import Stay
from tests.faults.conftest import Start
from tests.faults.records import Notes, moves, record, wait_state
from tests.processes import wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]


def test_a_blocking_call_is_told_once_with_its_stack(start_worker: Start, notes: Notes) -> None:
    worker = start_worker("--processes", "1")
    waiting = [int(job_id) for job_id in job_scheduler.enqueue_many([Stay("it")] * 5)]
    wait_state("processing", *waiting)
    first, second = (int(job_scheduler.enqueue(Block(1.5))) for _ in range(2))
    told = wait_for("it is told", lambda: list(BlockingCall.objects.all()))[0]
    assert (told.job_type, told.worker) == ("app.Block", record(waiting[0]).worker)
    assert told.job_id in {first, second}
    assert told.seconds >= 1
    assert told.others >= 5
    assert told.stack.count("File ") == 1, "of the handler alone"
    assert "time.sleep(job.seconds)" in told.stack
    notes.let_go()
    wait_state("succeeded", first, second, *waiting)
    said = worker.log.read_text()
    assert said.count("has blocked the event loop") == 1
    assert f"job {told.job_id} (app.Block) has blocked the event loop for {told.seconds:.1f} s" in said
    assert BlockingCall.objects.count() == 1


def test_while_the_event_loop_is_blocked_nothing_more_is_claimed_for_it(start_worker: Start) -> None:
    start_worker("--processes", "1")
    blocks = int(job_scheduler.enqueue(Block(4)))
    wait_state("processing", blocks)
    waiting = [int(job_id) for job_id in job_scheduler.enqueue_many([Wait(0.01)] * 5)]
    told = wait_for("it is told", lambda: list(BlockingCall.objects.all()))[0]
    assert told.job_id == blocks
    assert 1 <= told.others <= 5
    wait_state("succeeded", blocks, *waiting)
    for job_id in waiting:  # it takes a moment to see that nothing comes of it: else they would be ten in each second
        assert moves(job_id).count("processing") < 10, "claimed and given back, again and again"


def test_one_that_runs_alone_holds_up_nobody(start_worker: Start) -> None:
    worker = start_worker("--processes", "1")
    wait_state("succeeded", int(job_scheduler.enqueue(Block(1.5))))
    assert not BlockingCall.objects.exists()
    assert "blocked" not in worker.log.read_text()
