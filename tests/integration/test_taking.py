"""How a worker takes messages, and gives back those that it may not run."""

from __future__ import annotations

from datetime import timedelta

import pytest

from handlers import job_scheduler, lifecycle
from handlers.rq_transport.marks import Marks
from handlers.rq_transport.taking import Taking
from tests.app.jobs import Note

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]
WORKER = "host.1.taking"


def test_message_that_a_pause_refused_is_back_where_the_pause_has_ended_since_but_only_once() -> None:
    job = int(job_scheduler.enqueue(Note("a")))
    taking = Taking(["default"], worker=WORKER, marks=Marks(8), weights=None)
    messages = taking.pop(8)
    job_scheduler.pause_queue("default")
    assert lifecycle.claim(messages, worker=WORKER, lease=timedelta(minutes=1)) == []
    job_scheduler.resume_queue("default")
    taking.refused(messages, set(), company=False)
    again = taking.pop(8)
    assert [message.job_id for message in again] == [job]
    taking.refused(again, set(), company=False)  # as where somebody holds the row: recovery sees to what that takes
    assert taking.pop(8) == []
