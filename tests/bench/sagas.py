"""Events that sagas take: many for many sagas, and many at once for one."""

from __future__ import annotations

import time
from datetime import datetime

from django.db import connection
from django.db.models import Max, Min

from handlers import event_bus
from handlers.models import Delivery, DeliveryState, JobHistory, JobRecord, SagaRecord
from handlers.models.sql import database_now
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
    # Each event was applied once, the last one last, and each command sent once.
    applied = {"events": each, "last": each - 1}
    assert SagaRecord.objects.filter(turns=each + 1, data=applied).count() == SagaRecord.objects.count() == sagas
    assert JobRecord.objects.filter(job_type__endswith="Tell").count() == sagas * each * tells
    name = "saga events with a job each" if tells else "saga events"
    return {
        f"{name}, published at once, events/s": sagas * each / written,
        f"{name}, {sagas:,} sagas, events/s": sagas * each / took,
        "sagas started, events/s": sagas / began,
    }


def hot(*, count: int) -> Figures:
    """Seconds that ``count`` events take that come to one saga at once: from before they are published, in one
    transaction, with workers that wait for them, to the record of the last one that was applied."""
    with running(*workforce.worker()):
        event_bus.publish(Opened(1))
        wait_for("the saga", lambda: SagaRecord.objects.filter(turns=1).exists(), seconds=workforce.LONG)
        began = database_now(connection)
        event_bus.publish_many([Counted(1, which) for which in range(count)])
        ended = _over(0)
    saga = SagaRecord.objects.get()
    assert (saga.turns, saga.data) == (count + 1, {"events": count, "last": count - 1})
    assert saga.timeline.filter(error="").values("event_id").distinct().count() == saga.timeline.count() == count + 1
    assert not JobHistory.objects.filter(to_state=State.FAILED).exists()
    assert not JobRecord.objects.filter(failures__gt=0).exists()
    return {f"one saga, {count:,} events at once, from publish to the last applied, s": (ended - began).total_seconds()}


def _publish(those: list[Opened] | list[Counted] | list[Opened | Counted]) -> None:
    for start in range(0, len(those), CHUNK):
        event_bus.publish_many(those[start : start + CHUNK])


def _drained(after: int) -> float:
    """Seconds from the first start to the last record; the workers start with all of it waiting."""
    with running(*workforce.worker()):
        ended = _over(after)
    moves = JobHistory.objects.filter(job_id__gt=after)
    began: datetime = moves.filter(to_state=State.PROCESSING).aggregate(at=Min("at"))["at"]
    return (ended - began).total_seconds()


def _over(after: int) -> datetime:
    """When the last of the jobs after this one was recorded, once all have been."""
    ours = JobRecord.objects.filter(pk__gt=after)
    waiting = Delivery.objects.filter(state=DeliveryState.WAITING)
    wait_for("all events", lambda: not waiting.exists(), seconds=workforce.LONG)
    wait_for("all jobs", lambda: not ours.exclude(state=State.SUCCEEDED).exists(), seconds=workforce.LONG)
    moves = JobHistory.objects.filter(job_id__gt=after, to_state=State.SUCCEEDED)
    ended: datetime = moves.aggregate(at=Max("at"))["at"]
    return ended
