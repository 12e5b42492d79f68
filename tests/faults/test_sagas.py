"""Sagas in real workers, one of which dies in the middle of a turn."""

from __future__ import annotations

from collections import Counter

import pytest

from handlers import event_bus
from handlers.models import JobRecord, SagaRecord, WorkerProcess
from tests.app.sagas import Counted, Heard, Opened
from tests.faults.conftest import Start
from tests.faults.records import Notes, wait_state
from tests.processes import wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]


def test_each_event_is_applied_and_each_command_sent_once_whoever_dies(start_worker: Start, notes: Notes) -> None:
    sagas, events = range(4), range(12)
    event_bus.publish_many([Opened(number) for number in sagas])
    event_bus.publish_many(
        Counted(number, which, tells=True, kill=(number, which) == (2, 5)) for which in events for number in sagas
    )
    start_worker("--processes", "1")
    wait_state("succeeded", *JobRecord.objects.values_list("pk", flat=True))
    wait_state("succeeded", *JobRecord.objects.filter(job_type__endswith="Tell").values_list("pk", flat=True))
    assert notes.path.with_name(f"{notes.path.name}.killed").exists()
    assert [saga.data for saga in SagaRecord.objects.order_by("pk")] == [{"events": 12, "last": 11}] * 4
    assert Counter(notes.lines()) == {f"{number} {which}": 1 for number in sagas for which in events}


@pytest.mark.usefixtures("quick")
def test_a_function_hears_each_correlation_in_its_order_whichever_worker_calls_it(
    start_worker: Start, start_scheduler: Start, notes: Notes
) -> None:
    whom, events = "abcdef", range(15)
    for which in events:
        for who in whom:
            fails, held = who in "ab" and which == 4, (who, which) == ("c", 0)
            event_bus.publish(Heard(who, which, fails=fails, held=held), correlation=who)
    start_scheduler()
    for _ in range(2):
        start_worker("--processes", "1")
    (holds,) = notes.wait("held")
    holder = WorkerProcess.objects.filter(pid=int(holds.split()[1]))
    wait_for("it is known who", holder.exists)
    by_the_other = JobRecord.objects.filter(state="succeeded").exclude(worker=holder.get().name)
    wait_for("the other has run some", by_the_other.exists)
    notes.let_go()
    wait_state("succeeded", *JobRecord.objects.values_list("pk", flat=True))
    assert len({job.worker for job in JobRecord.objects.all()}) == 2
    for who in whom:
        assert notes.starting(who) == [f"{who} {which}" for which in events]
    assert JobRecord.objects.filter(failures=1).count() == 2
