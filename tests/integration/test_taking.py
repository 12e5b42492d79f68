"""How a worker takes messages, and gives back those that it may not run."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from handlers import job_scheduler, lifecycle, tracing
from handlers.rq_transport.marks import Marks
from handlers.rq_transport.taking import Taking
from handlers.transport import Message
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


@pytest.mark.parametrize("taken", [lambda taking: taking.pop(8), lambda taking: taking.wait(5)], ids=["pop", "wait"])
def test_message_that_is_taken_is_told_to_tracing_whether_it_was_there_or_waited_for(
    taken: Callable[[Taking], list[Message]], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []
    monkeypatch.setattr(tracing, "is_on", lambda: True)
    monkeypatch.setattr(tracing, "received", lambda messages, began: told.extend(each.job_id for each in messages))
    with monkeypatch.context() as untraced:
        untraced.setattr(tracing, "is_on", lambda: False)
        job = int(job_scheduler.enqueue(Note("a")))
    taking = Taking(["default"], worker=WORKER, marks=Marks(8), weights=None)
    assert [message.job_id for message in taken(taking)] == told == [job]
