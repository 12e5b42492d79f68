"""Atomic runs in real workers, which are killed in the middle of them."""

from __future__ import annotations

from collections import Counter

import pytest
from django.contrib.auth.models import Group

from handlers import job_scheduler
from handlers.models import JobRecord
from tests.app.atomic import Book
from tests.faults.conftest import Start
from tests.faults.records import Notes, wait_state

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("options", [(), ("--threads", "4")], ids=["batched", "threads"])
def test_each_effect_is_there_once_whoever_dies(
    options: tuple[str, ...], start_worker: Start, start_scheduler: Start, notes: Notes
) -> None:
    start_scheduler()  # it sends what was committed by a process that was killed before it sent it
    numbers = range(30)
    ids = job_scheduler.enqueue_many(Book(number) for number in numbers)
    worker = start_worker("--processes", "1", *options)
    notes.wait("waits")
    (child,) = worker.children()
    child.kill()
    notes.let_go()
    wait_state("succeeded", *ids)
    ran = Counter(notes.starting("ran"))
    assert set(ran) == {f"ran {number}" for number in numbers}
    assert ran["ran 1"] == 2
    assert bool(notes.starting("shares")) is not bool(options), "runs of the main thread can share a commit"
    names = Group.objects.filter(name__startswith="booked").values_list("name", flat=True)
    assert sorted(names) == sorted(f"booked {number}" for number in numbers)
    follow_up = JobRecord.objects.filter(job_type__endswith="Note").values_list("pk", flat=True)
    assert len(follow_up) == len(numbers)
    wait_state("succeeded", *follow_up)
    # Of these one may have run in the process that was killed, and not be recorded yet: it runs again.
    assert set(notes.starting("booked")) == {f"booked {number}" for number in numbers}
