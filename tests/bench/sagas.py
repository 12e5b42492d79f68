"""Events that sagas take: many for many sagas, and many at once for one."""

from __future__ import annotations

import time
from datetime import datetime

from django.db.models import Max, Min

from handlers import event_bus
from handlers.models import Delivery, DeliveryState, JobHistory, JobRecord, SagaRecord
from handlers.states import State
from tests.app.sagas import Counted, Opened
from tests.bench import workforce
from tests.bench.places import Figures
from tests.bench.workforce import running
from tests.processes import wait_for

CHUNK = 1_000


def events(*, sagas: int, each: int, tells: bool = False) -> Figures:
    """Events a second that two processes bring to ``sagas``, which have begun; with a job for each, or without."""
    _publish([Opened(number) for number in range(sagas)])
    began = _drained(0)
    first = JobRecord.objects.latest("pk").pk
    written = time.perf_counter()
    # Each saga has some on the queue at a time, as when many orders go on at once.
    _publish([Counted(number, which, tells) for which in range(each) for number in range(sagas)])
    written = time.perf_counter() - written
    took = _drained(first)
    assert SagaRecord.objects.filter(turns=each + 1).count() == sagas
    name = "saga events with a job each" if tells else "saga events"
    return {
        f"{name}, published at once, events/s": sagas * each / written,
        f"{name}, {sagas:,} sagas, events/s": sagas * each / took,
        "sagas started, events/s": sagas / began,
    }


def hot(*, count: int) -> Figures:
    """Seconds that ``count`` events take that come to one saga at once."""
    event_bus.publish(Opened(1))
    _publish([Counted(1, which) for which in range(count)])
    took = _drained(0)
    saga = SagaRecord.objects.get()
    assert (saga.turns, saga.data) == (count + 1, {"events": count, "last": count - 1})
    assert not JobHistory.objects.filter(to_state=State.FAILED).exists()
    return {f"one saga, {count:,} events at once, s": took}


def _publish(those: list[Opened] | list[Counted] | list[Opened | Counted]) -> None:
    for start in range(0, len(those), CHUNK):
        event_bus.publish_many(those[start : start + CHUNK])


def _drained(after: int) -> float:
    """Seconds from the first start to the last record; the workers start with all of it waiting."""
    ours = JobRecord.objects.filter(pk__gt=after)
    with running(*workforce.worker()):
        waiting = Delivery.objects.filter(state=DeliveryState.WAITING)
        wait_for("all events", lambda: not waiting.exists(), seconds=workforce.LONG)
        wait_for("all jobs", lambda: not ours.exclude(state=State.SUCCEEDED).exists(), seconds=workforce.LONG)
    moves = JobHistory.objects.filter(job_id__gt=after)
    began: datetime = moves.filter(to_state=State.PROCESSING).aggregate(at=Min("at"))["at"]
    ended: datetime = moves.filter(to_state=State.SUCCEEDED).aggregate(at=Max("at"))["at"]
    return (ended - began).total_seconds()
