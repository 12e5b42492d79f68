"""The live stack of a job that a real worker runs, whatever way it runs it."""

from __future__ import annotations

import pytest

from handlers import job_scheduler
from handlers.models import LiveStack
from tests.app.jobs import Busy
from tests.app.standing import Stand, StandAsync
from tests.faults.conftest import Start
from tests.faults.records import Notes, record, wait_state
from tests.processes import wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]


def told(job_id: int) -> LiveStack:
    """Ask, and wait for the answer."""
    assert job_scheduler.show_stack(job_id, by="ann", expect=record(job_id).token) is True
    wait_for("a stack is told", lambda: LiveStack.objects.filter(pk=job_id, taken_at__isnull=False).exists())
    return LiveStack.objects.get(pk=job_id)


@pytest.mark.parametrize("threads", [1, 3])
def test_stack_of_each_run_shows_where_its_own_handler_is(start_worker: Start, notes: Notes, threads: int) -> None:
    sync = [int(job_scheduler.enqueue(Stand(f"sync {number}"))) for number in range(threads)]
    others = [int(job_scheduler.enqueue(StandAsync(f"async {number}"))) for number in range(2)]
    start_worker("--processes", "1", "--threads", str(threads))
    notes.wait("stands", times=threads + 2)
    for job_id in sync:
        text = told(job_id).text
        first, *_ = text.splitlines()
        assert "tests/app/standing.py" in first, "neither the engine nor what started it"
        assert first.endswith("in stand")
        assert 'made["stand_sync"](token)' in text
        assert "in stand_sync" in text
        assert "s3cret" not in text
    for job_id in others:
        text = told(job_id).text
        assert text.splitlines()[0].endswith("in stand_async"), text
        assert 'await made["stand_async"](token)' in text
        assert "handlers/cancellation.py" in text, "to the innermost coroutine"
        assert "which it has started:" in text
        assert "in stand_aside" in text
        assert "s3cret" not in text
    earlier = LiveStack.objects.get(pk=sync[0])
    assert told(sync[0]).taken_at != earlier.taken_at, "asked again, told again"


@pytest.mark.once
def test_no_stack_comes_while_a_process_lets_nothing_else_run_and_none_of_a_run_that_is_over(
    start_worker: Start, notes: Notes
) -> None:
    job_id = int(job_scheduler.enqueue(Busy(25)))
    start_worker("--processes", "1")
    wait_state("processing", job_id)
    assert job_scheduler.show_stack(job_id, by="ann") is True
    wait_state("succeeded", job_id)
    row = LiveStack.objects.get(pk=job_id)
    assert row.token == record(job_id).token
    assert (row.taken_at, row.text) == (None, "")
    assert job_scheduler.show_stack(job_id, by="ann") is False
