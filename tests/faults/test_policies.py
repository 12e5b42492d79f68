"""A retry policy changed while a real worker runs holds from that worker's next failure on."""

from __future__ import annotations

import pytest

from handlers import job_scheduler
from handlers.models import JobHistory
from handlers.policy_edits import assign, save_policy
from tests.app.jobs import Fail
from tests.faults.conftest import Start
from tests.faults.records import moves, wait_state

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]


def test_running_worker_follows_a_changed_policy_at_its_next_failure(start_worker: Start) -> None:
    policy = save_policy(None, {"name": "hourly", "backoff": "fixed", "delay_seconds": 3600, "jitter": 0}, by="test")
    assign("app.Fail", policy, by="test")
    first = job_scheduler.enqueue(Fail(9, "first"))
    worker = start_worker()
    wait_state("scheduled", first)
    assert JobHistory.objects.filter(job=first).order_by("-pk")[0].reason.endswith("in 1 h, by policy hourly")

    save_policy(policy.pk, {"max_attempts": 1, "on_exhausted": "delete"}, by="test")
    second = job_scheduler.enqueue(Fail(9, "second"))
    wait_state("deleted", second)
    assert moves(second)[-2:] == ["failed", "deleted"]

    assign("app.Fail", None, by="test")  # the code's: three attempts, 0.2 s apart
    third = job_scheduler.enqueue(Fail(9, "third"))
    wait_state("scheduled", third)
    assert JobHistory.objects.filter(job=third).order_by("-pk")[0].reason.endswith("retry 1 of 2 in 0.2 s")
    assert worker.process.poll() is None  # all the while the same process
